"""Has nothing in UTF-8: output, a message with lone surrogates, names of modules and of files."""

import os
import sys
import types

os.write(1, bytes(range(256)) * 100)
os.write(2, b"\xff\xfe\xc3\x28\xed\xa0\x80" * 100)
with open(b"/tmp/\xff\xfe\n", "wb") as stream:
    stream.write(b"\xff")
for name in ("\udcff\udc80", "line\nbreak\x1b[31m", "\x00"):
    module = types.ModuleType(name)
    module.__file__ = "/\udcff\n\x1b[2J"
    sys.modules[name] = module
raise ImportError("\udcff\udcfe\ud800 and \udfff")
