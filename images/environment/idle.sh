#!/bin/sh
# The first process of every container. It ends, and the container with it, when nothing else has
# run for $1 seconds, or after $2 seconds whatever runs. So no container outlives a harness that
# was killed, and nobody has to be alive to remove it.
quiet=0
age=0
while [ "$quiet" -lt "$1" ] && [ "$age" -lt "$2" ]; do
    sleep 5
    age=$((age + 5))
    set -- "$1" "$2" /proc/[0-9]*
    # This shell is one process; anything more is somebody's import.
    if [ "$#" -gt 3 ]; then quiet=0; else quiet=$((quiet + 5)); fi
    set -- "$1" "$2"
done
