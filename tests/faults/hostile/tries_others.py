"""Tries the files and processes of other samples: those of one that runs, and unpacked ones."""

import os
import signal
import time
from functools import partial

from acts import attempt, read, tell, write

end = time.monotonic() + 20
while not os.path.exists("/tmp/kept-folder") and time.monotonic() < end:
    time.sleep(0.01)
user = os.stat("/tmp/kept").st_uid
others = []
for name in os.listdir("/proc"):
    try:
        if name.isdigit():
            with open(f"/proc/{name}/status") as stream:
                if f"Uid:\t{user}" in stream.read():
                    others.append(int(name))
    except OSError:
        continue
other = others[0]
trees = sorted(os.listdir("/opt/extensions"))
theirs = next(name for name in trees if name == "keeps_files")

attempt("unpacked: read", lambda: os.listdir(f"/opt/extensions/{theirs}"))
attempt("unpacked: write", partial(write, f"/opt/extensions/{theirs}/site/keeps_files.py"))
attempt("unpacked: a new file", partial(write, f"/opt/extensions/{theirs}/site/sitecustomize.py"))
attempt("unpacked: remove", partial(os.unlink, f"/opt/extensions/{theirs}/site/keeps_files.py"))
attempt("unpacked: rename", partial(os.rename, f"/opt/extensions/{theirs}", "/opt/extensions/x"))
attempt("unpacked: another folder", partial(os.mkdir, "/opt/extensions/new"))
attempt("unpacked: its own", partial(write, "/opt/extensions/tries_others/site/tries_others.py"))
attempt("/tmp: read what all may read", partial(read, "/tmp/kept"))
attempt("/tmp: read what only its owner may", partial(read, "/tmp/kept-secret"))
attempt("/tmp: write", partial(write, "/tmp/kept"))
attempt("/tmp: remove", partial(os.unlink, "/tmp/kept"))
attempt("/tmp: rename", partial(os.rename, "/tmp/kept-secret", "/tmp/mine"))
attempt("/tmp: write into its folder", partial(write, "/tmp/kept-folder/x"))
attempt("/tmp: replace its folder", partial(os.rmdir, "/tmp/kept-folder"))
attempt("/tmp: a hard link to its file", partial(os.link, "/tmp/kept-secret", "/tmp/linked"))
attempt("process: SIGKILL", partial(os.kill, other, signal.SIGKILL))
attempt("process: SIGSTOP", partial(os.kill, other, signal.SIGSTOP))
attempt("process: memory", partial(read, f"/proc/{other}/mem"))
attempt("process: environment", partial(read, f"/proc/{other}/environ"))
attempt("process: descriptors", lambda: os.listdir(f"/proc/{other}/fd"))
attempt("process: write its report", lambda: [write(f"/proc/{other}/fd/{n}") for n in range(3, 9)])
attempt("process: priority", partial(os.setpriority, os.PRIO_PROCESS, other, 19))
tell()
