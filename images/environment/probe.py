"""Import one module in a fresh interpreter, and report what happened.

Runs inside a container, on every Python under test, with nothing but the standard library:

    python -I probe.py '{"nonce": "…", "site": "/opt/extensions/x", "module": "x",
                         "remedy": "none"}'

It writes two lines of JSON to standard output: ``{"event": "started", …}`` before it touches the
extension, and ``{"event": "finished", …}`` after the import ended, however it ended. Whatever the
extension prints goes to standard error. With ``{}`` it imports what it needs itself, and ends.
"""

import importlib
import json
import os
import re
import site
import sys
import time

MAX_MESSAGE = 4000
MAX_MODULES = 500

REMEDIES = ("none", "preload", "preload-by-path")

MISSING_LIBRARY = re.compile(r"^(?P<name>[^:\s]+): cannot open shared object file")


def oom_kills():
    """How many processes of this container the kernel killed for want of memory, or None."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            with open(path) as stream:
                for line in stream:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        except OSError:
            continue
    return None


def mapped_libpythons():
    """Paths of the libpython files in this process's memory."""
    found = set()
    with open("/proc/self/maps", errors="replace") as stream:
        for line in stream:
            path = line.rstrip("\n").partition("/")[2]
            if os.path.basename(path).startswith("libpython"):
                found.add("/" + path)
    return sorted(found)


def libpython_name():
    """File name of the running CPython's shared library."""
    return "libpython{}.{}.so.1.0".format(*sys.version_info[:2])


def apply_remedy(remedy):
    """Do what a user would do before the import; raises what that raises."""
    if remedy == "none":
        return
    # Only here: what a remedy needs is no part of a plain import.
    import ctypes
    import sysconfig

    if remedy == "preload":
        ctypes.CDLL(libpython_name())
    else:
        library = sysconfig.get_config_var("LIBDIR") or ""
        candidates = [os.path.join(sys.base_prefix, "lib"), library]
        paths = [os.path.join(folder, libpython_name()) for folder in candidates]
        ctypes.CDLL(next(filter(os.path.exists, paths), paths[0]))


def exception_chain(error):
    """The error and what it was raised from: the loader's own words may be further down."""
    chain = []
    while error is not None and not any(error is known for known in chain):
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def text_of(thing):
    """Its text; what an extension raises or defines may object even to being looked at."""
    try:
        return str(thing)
    except BaseException as error:
        return f"<{type(thing).__name__} has no text: {type(error).__name__}>"


def loaded_modules(before):
    """The file of each module that was loaded since, by name; None where it has none."""
    files = {}
    for name in list(sys.modules):
        if name not in before and len(files) < MAX_MODULES:
            try:
                file = getattr(sys.modules[name], "__file__", None)
            except BaseException:
                file = None
            files[text_of(name)] = None if file is None else text_of(file)
    return files


def describe(error):
    """Exception type and message, and the library that the loader did not find, if that was it."""
    missing = None
    for link in exception_chain(error):
        if isinstance(link, (ImportError, OSError)):
            match = MISSING_LIBRARY.match(text_of(link))
            if match:
                missing, error = match.group("name"), link
                break
    return {
        "exception": type(error).__name__,
        "message": text_of(error)[:MAX_MESSAGE],
        "missing_library": missing,
    }


def main():
    """Report the start, import, report the end."""
    request = json.loads(sys.argv[1])
    # The report keeps standard output for itself, whatever the extension prints.
    channel = os.dup(1)
    os.dup2(2, 1)

    def send(event, **content):
        line = json.dumps({"event": event, "nonce": request.get("nonce"), **content})
        os.write(channel, b"\n" + line.encode() + b"\n")

    send(
        "started",
        python=sys.version.split()[0],
        machine=os.uname().machine,
        base_prefix=sys.base_prefix,
        leaked=sorted(k for k in os.environ if k.startswith(("LD_", "PYTHON", "UV_"))),
        oom_kills=oom_kills(),
    )
    if "module" not in request:
        apply_remedy("preload-by-path")
        return
    if request["remedy"] not in REMEDIES:
        send("finished", outcome="not-installed", message="unknown remedy " + request["remedy"])
        return
    if not os.path.isdir(request["site"]):
        send("finished", outcome="not-installed", message=request["site"] + " is not there")
        return
    site.addsitedir(request["site"])
    before = set(sys.modules)
    start = time.perf_counter()
    try:
        apply_remedy(request["remedy"])
        importlib.import_module(request["module"])
        result = {"outcome": "imported"}
    except BaseException as error:  # an import may raise anything, SystemExit included
        result = {"outcome": "raised", **describe(error)}
    seconds = time.perf_counter() - start
    send(
        "finished",
        seconds=round(seconds, 4),
        mapped_libpythons=mapped_libpythons(),
        modules=loaded_modules(before),
        **result,
    )
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # the extension may have closed or replaced it
            continue
    # Threads that the extension started, or its exit handlers, are no part of the question.
    os._exit(0)


main()
