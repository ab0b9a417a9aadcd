"""Makes a file of 1 TB, and writes one of 700 MB."""

import errno
import json
import os

found = {}
for place in ("/tmp", "/dev/shm"):
    path = place + "/huge"
    try:
        with open(path, "wb") as stream:
            os.truncate(stream.fileno(), 1 << 40)
        found[place + " sparse"] = "got 1 TB"
    except OSError as error:
        found[place + " sparse"] = errno.errorcode[error.errno or 0]
    try:
        with open(path, "wb") as stream:
            for _ in range(700):
                os.write(stream.fileno(), bytes(1 << 20))
        found[place] = "got 700 MB"
    except OSError as error:
        found[place] = errno.errorcode[error.errno or 0]
    finally:
        os.unlink(path)
raise ImportError(json.dumps(found))
