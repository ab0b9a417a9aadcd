"""Leaves what it may: files in ~ and /tmp, setuid, variables, changed built-ins."""

import builtins
import os
import shutil
import site
import sys
import threading

os.environ.update({"LD_PRELOAD": "/tmp/x.so", "LD_LIBRARY_PATH": "/tmp", "PYTHONPATH": "/tmp"})
for folder in (os.environ["HOME"], "/tmp", "/dev/shm", "/var/tmp", os.getcwd()):
    for name in ("sitecustomize.py", "json.py", "no_libpython.py", ".profile", "x.so"):
        try:
            with open(f"{folder}/{name}", "w") as stream:
                stream.write("raise ImportError('left there')")
        except OSError:
            continue
try:
    shutil.copy(os.path.realpath("/bin/sh"), "/tmp/shell")
    os.chmod("/tmp/shell", 0o6777)
except OSError:
    pass
os.makedirs("/tmp/.local/lib/python3.13/site-packages", exist_ok=True)
os.mkfifo("/tmp/fifo")
builtins.__import__ = None
builtins.len = lambda _: 0
sys.path.insert(0, "/tmp")
sys.meta_path.clear()
site.ENABLE_USER_SITE = True
os.umask(0o777)
threading.stack_size(1 << 20)
