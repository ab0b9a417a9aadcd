"""Tries to change what the next question would find: code, loader, environment, home."""

import os
import site
import sys
from functools import partial

from acts import attempt, read, tell, write

packages = site.getsitepackages()[0]
paths = [
    f"{packages}/sitecustomize.py",
    f"{packages}/x.pth",
    f"{packages}/_virtualenv.py",
    f"{sys.prefix}/bin/python",
    f"{sys.prefix}/pyvenv.cfg",
    f"{sys.base_prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/os.py",
    f"{sys.base_prefix}/lib/libpython3.13.so.1.0",
    sys.base_prefix + "/lib/x.so",
    "/opt/pbs-matrix/probe.py",
    "/opt/pbs-matrix/agent.py",
    "/opt/pbs-matrix/__pycache__/x.pyc",
    "/opt/x",
    "/etc/ld.so.preload",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf.d/x.conf",
    "/etc/passwd",
    "/etc/environment",
    "/usr/lib/x.so",
    "/usr/local/bin/uv",
    "/usr/local/lib/libpython3.13.so.1.0",
    "/lib/x.so",
    "/root/.profile",
    "/x",
    "/run/x",
    "/var/x",
    "/home/x",
]
for path in paths:
    attempt(f"write {path}", partial(write, path))
attempt("remove the venv", partial(os.rename, sys.prefix, "/tmp/venv"))
attempt("link over the venv", partial(os.symlink, "/tmp", sys.prefix + "/lib/x"))
attempt("change modes", partial(os.chmod, packages, 0o777))
attempt("change times", partial(os.utime, packages, (0, 0)))
attempt("write /root", lambda: os.listdir("/root"))
attempt("read /etc/shadow", partial(read, "/etc/shadow"))
tell()
