"""Imports, and leaves a daemon: two forks, a session of its own, its outputs kept open."""

import os
import signal
import time

child = os.fork()
if child == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(1000)
    os._exit(0)
os.waitpid(child, 0)
