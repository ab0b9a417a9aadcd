"""Ask one question in a fresh interpreter, and report what happened.

Runs inside a container, on every Python under test, with nothing but the standard library:

    python -I probe.py '{"nonce": "…", "tree": "/opt/extensions/x", "module": "x",
                         "remedy": "none"}'

imports the module x from /opt/extensions/x/site. With "check", a dictionary, its function
``check`` is called with that. Two lines of JSON go to standard output: ``{"event": "started", …}``
before anything of the sample is touched, and ``{"event": "finished", …}`` after the question was
answered, however it was. Whatever the sample prints goes to standard error. With ``{}`` the probe
imports what it needs itself, and ends.
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

MAX_NAMES = 50
MAX_FINDINGS = 100_000

HERE = ("none", "preload", "preload-by-path", "ld-library-path")
ELSEWHERE = ("patchelf", "upgrade-only", "reinstall")
"""Remedies that this program applies, and those that the files or the image already have."""

RESTARTED = "PBS_MATRIX_RESTARTED"
"""Set in the environment of an interpreter that the probe has started again."""

INHERITED = 9
"""The file descriptor through which that interpreter reports."""

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


def mapped_files():
    """What files lie in this process's memory: a list of (start, end, path)."""
    found = []
    with open("/proc/self/maps", errors="replace") as stream:
        for line in stream:
            fields = line.rstrip("\n").split(None, 5)
            start, end = (int(text, 16) for text in fields[0].split("-"))
            if len(fields) == 6 and fields[5].startswith("/"):
                found.append((start, end, fields[5]))
            elif len(fields) == 5 and found and found[-1][1] == start:
                # Nameless, right after a file: that file's variables without a value (.bss).
                found.append((start, end, found[-1][2]))
    return found


def file_at(address, mapped):
    """The file that an address lies in, or None."""
    for start, end, path in mapped:
        if start <= address < end:
            return path
    return None


def loaded_objects(mapped):
    """Where each shared object of this process was loaded (its bias), by its real path."""
    import ctypes

    class Information(ctypes.Structure):
        _fields_ = [
            ("bias", ctypes.c_size_t),
            ("name", ctypes.c_char_p),
            ("headers", ctypes.c_size_t),
        ]

    found = {}

    def note(information, size, data):
        # Not by its name, which may be relative to a directory of the past.
        path = file_at(information.contents.headers, mapped)
        if path:
            found[path] = information.contents.bias
        return 0

    pointer = ctypes.POINTER(Information)
    kind = ctypes.CFUNCTYPE(ctypes.c_int, pointer, ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(kind(note), None)
    return found


def bindings(tree):
    """To which file each name of the C API is bound, in every loaded file of an extension.

    ``home`` is the file whose C API the interpreter runs; ``counts`` the number of names by file,
    counted once for each file of the extension that uses them; ``copies`` the names that are
    bound to another copy of libpython than that.
    """
    # Only here: what looking takes is no part of the import.
    import ctypes

    with open(tree + "/symbols.json") as stream:
        noted = json.load(stream)
    mapped = mapped_files()
    loaded = loaded_objects(mapped)
    home = file_at(id(int), mapped)  # the address of PyLong_Type
    copies = {os.path.realpath(tree + "/site/" + f) for f in noted if noted[f]["provides_c_api"]}
    counts, split = {}, {}
    for file, entry in noted.items():
        path = os.path.realpath(tree + "/site/" + file)
        if path not in loaded:
            continue
        for name, slot in entry["slots"].items():
            place = loaded[path] + slot
            if file_at(place, mapped) != path:
                raise ValueError(f"{file} keeps {name} outside of itself")
            address = ctypes.c_size_t.from_address(place).value
            if address == 0:
                continue  # a weak name that nobody defines
            found = file_at(address, mapped) or "elsewhere"
            counts[found] = counts.get(found, 0) + 1
            is_copy = found in copies or os.path.basename(found).startswith("libpython")
            if is_copy and found != home and len(split.setdefault(found, [])) < MAX_NAMES:
                split[found].append(name)
    return {"home": home, "counts": counts, "copies": split}


def mapped_libpythons():
    """Paths of the libpython files in this process's memory."""
    files = {path for _, _, path in mapped_files()}
    return sorted(path for path in files if os.path.basename(path).startswith("libpython"))


def libpython_name():
    """File name of the running CPython's shared library."""
    return "libpython{}.{}{}.so.1.0".format(*sys.version_info[:2], sys.abiflags)


def library_folder():
    """Where the running CPython's shared library is, as a user would find it."""
    import sysconfig

    candidates = [os.path.join(sys.base_prefix, "lib"), sysconfig.get_config_var("LIBDIR") or ""]
    there = [f for f in candidates if os.path.exists(os.path.join(f, libpython_name()))]
    return (there or candidates)[0]


def apply_remedy(remedy):
    """Do what a user would do before the import; raises what that raises."""
    # Only here: what a remedy needs is no part of a plain import.
    if remedy == "preload":
        import ctypes

        ctypes.CDLL(libpython_name())
    elif remedy == "preload-by-path":
        import ctypes

        ctypes.CDLL(os.path.join(library_folder(), libpython_name()))


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


def plain(findings):
    """A check's findings as JSON can hold them, and no more than the report has room for."""
    try:
        text = json.dumps(findings, default=text_of)
    except BaseException as error:
        return {"unreadable": type(error).__name__}
    return json.loads(text) if len(text) <= MAX_FINDINGS else {"cut": text[:MAX_FINDINGS]}


def findings_of(error):
    """What a failed check hands over beside its sentence, as a part of the report."""
    try:
        return {"findings": plain(error.findings)} if hasattr(error, "findings") else {}
    except BaseException as other:
        return {"findings": {"unreadable": type(other).__name__}}


def ask(request):
    """Import the module, and call its check if that is asked; what the report says of it."""
    apply_remedy(request["remedy"])
    module = importlib.import_module(request["module"])
    if "check" in request:
        if not hasattr(module, "check"):
            return {"outcome": "not-installed", "message": request["module"] + " has no check"}
        return {"outcome": "passed", "findings": plain(module.check(request["check"]))}
    return {"outcome": "imported"}


def main():
    """Report the start, ask, report the end."""
    request = json.loads(sys.argv[1])
    restarted = os.environ.pop(RESTARTED, None) is not None
    channel = INHERITED if restarted else os.dup(1)
    # The report keeps standard output for itself, whatever the sample prints.
    os.dup2(2, 1)

    def send(event, **content):
        line = json.dumps({"event": event, "nonce": request.get("nonce"), **content})
        os.write(channel, b"\n" + line.encode() + b"\n")

    if not restarted:
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
    if request["remedy"] == "ld-library-path" and not restarted:
        # The loader reads the variable when a process starts, so another one has to.
        os.dup2(channel, INHERITED, inheritable=True)
        environment = {**os.environ, "LD_LIBRARY_PATH": library_folder(), RESTARTED: "1"}
        os.execve(sys.executable, [sys.executable, "-I", "-B", *sys.argv], environment)
    if request["remedy"] not in HERE + ELSEWHERE:
        send("finished", outcome="not-installed", message="unknown remedy " + request["remedy"])
        return
    folder = request["tree"] + "/site"
    if not os.path.isdir(folder):
        send("finished", outcome="not-installed", message=folder + " is not there")
        return
    site.addsitedir(folder)
    before = set(sys.modules)
    start = time.perf_counter()
    try:
        result = ask(request)
    except BaseException as error:  # an import may raise anything, SystemExit included
        if "check" in request and type(error).__name__ == "NotApplicable":
            result = {"outcome": "not-applicable", "message": text_of(error)[:MAX_MESSAGE]}
        else:
            result = {"outcome": "raised", **describe(error)}
            if "check" in request:
                result.update(findings_of(error))
    seconds = time.perf_counter() - start
    mapped = mapped_libpythons()
    modules = loaded_modules(before)
    if result["outcome"] == "imported":
        try:
            result["bindings"] = bindings(request["tree"])
        except Exception as error:
            result["bindings"] = {"problem": type(error).__name__ + ": " + text_of(error)}
    send("finished", seconds=round(seconds, 4), mapped_libpythons=mapped, modules=modules, **result)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # the extension may have closed or replaced it
            continue
    # Threads that the extension started, or its exit handlers, are no part of the question.
    os._exit(0)


main()
