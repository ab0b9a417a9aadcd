"""Ask one question in this interpreter, and report what happened.

Runs inside a container, on every Python under test, with nothing but the standard library. The
request is a dictionary:

    {"nonce": "…", "tree": "/opt/extensions/x", "module": "x", "remedy": "none", "given": []}

imports the module x from /opt/extensions/x/site; ``given`` names the environment variables that
are meant to be set. With "check", a dictionary, its function ``check`` is called with that. Two
lines of JSON are reported: ``{"event": "started", …}`` before anything of the sample is touched,
and ``{"event": "finished", …}`` after the question was answered, however it was.

``agent.py`` asks in a child that it has forked, or in a fresh interpreter, which runs this file
with the request and the file descriptor of the reports.
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

FOREIGN = ("LD_", "PYTHON", "UV_")
"""What the names of variables begin with that would change the answer."""

MISSING_LIBRARY = re.compile(r"^(?P<name>[^:\s]+): cannot open shared object file")


def mapped_files():
    """What files lie in this process's memory: a list of (start, end, path, if it is code)."""
    found = []
    with open("/proc/self/maps", errors="replace") as stream:
        for line in stream:
            fields = line.rstrip("\n").split(None, 5)
            start, end = fields[0].split("-")
            start, end = int(start, 16), int(end, 16)
            if len(fields) == 6 and fields[5].startswith("/"):
                found.append((start, end, fields[5], "x" in fields[1]))
            elif len(fields) == 5 and found and found[-1][1] == start:
                # Nameless, right after a file: that file's variables without a value (.bss).
                found.append((start, end, found[-1][2], False))
    return found


class Mapped:
    """The same, to look addresses up in."""

    def __init__(self, found):
        self.found = found
        self.code = {}
        """The lowest address of each file's code, by its path; none of what is only read."""
        for start, _, path, is_code in found:
            if is_code:
                self.code[path] = min(start, self.code.get(path, start))
        self.known = {}

    def file_at(self, address):
        """The file that an address lies in, or None."""
        page = address >> 12  # no page is smaller, and none has two files
        if page not in self.known:
            here = (path for start, end, path, _ in self.found if start <= address < end)
            self.known[page] = next(here, None)
        return self.known[page]


class Memory:
    """This process's memory, as the kernel shows it: without ctypes, which would load libffi.

    ``descriptor`` is that of /proc/self/mem, opened by whoever may.
    """

    PROOF = b"pbs-matrix reads its own memory"

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def word(self, address):
        """The 8 bytes at an address, as a number."""
        return int.from_bytes(os.pread(self.descriptor, 8, address), sys.byteorder)

    def prove(self):
        """Raise :class:`OSError` where the kernel's addresses are not this program's.

        An emulator might lay a program elsewhere than the program believes.
        """
        place = id(self.PROOF) + bytes.__basicsize__ - 1
        if os.pread(self.descriptor, len(self.PROOF), place) != self.PROOF:
            raise OSError("/proc/self/mem has something else where a known value lies")


def bindings(tree, memory, found):
    """To which file each name of the C API is bound, in every loaded file of an extension.

    ``home`` is the file whose C API the interpreter runs; ``counts`` the number of names by file,
    counted once for each file of the extension that uses them; ``copies`` the names that are
    bound to another copy of libpython than that. ``memory`` is :class:`Memory`, ``found`` what
    :func:`mapped_files` says.
    """
    with open(tree + "/symbols.json") as stream:
        noted = json.load(stream)
    memory.prove()
    mapped = Mapped(found)
    page = os.sysconf("SC_PAGE_SIZE")
    home = mapped.file_at(id(int))  # the address of PyLong_Type
    copies = {os.path.realpath(tree + "/site/" + f) for f in noted if noted[f]["provides_c_api"]}
    counts, split = {}, {}
    for file, entry in noted.items():
        path = os.path.realpath(tree + "/site/" + file)
        if path not in mapped.code:
            continue
        # By how much the loader has moved it.
        bias = mapped.code[path] - entry["code_address"] // page * page
        for name, slot in entry["slots"].items():
            if mapped.file_at(bias + slot) != path:
                raise ValueError(f"{file} keeps {name} outside of itself")
            address = memory.word(bias + slot)
            if address == 0:
                continue  # a weak name that nobody defines
            found = mapped.file_at(address) or "elsewhere"
            counts[found] = counts.get(found, 0) + 1
            is_copy = found in copies or os.path.basename(found).startswith("libpython")
            if is_copy and found != home and len(split.setdefault(found, [])) < MAX_NAMES:
                split[found].append(name)
    return {"home": home, "counts": counts, "copies": split}


def libpythons(found):
    """Paths of the libpython files among what is in memory."""
    files = {path for _, _, path, _ in found}
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


def answer(request, channel, memory):
    """Report the start, ask, report the end, and end this process.

    ``channel`` is the file descriptor that reports go to, ``memory`` that of /proc/self/mem.
    """

    def send(event, **content):
        line = json.dumps({"event": event, "nonce": request["nonce"], **content})
        os.write(channel, b"\n" + line.encode() + b"\n")

    send(
        "started",
        python=sys.version.split()[0],
        machine=os.uname().machine,
        base_prefix=sys.base_prefix,
        leaked=sorted(k for k in os.environ if k.startswith(FOREIGN) and k not in request["given"]),
    )
    if request["remedy"] not in HERE + ELSEWHERE:
        send("finished", outcome="not-installed", message="unknown remedy " + request["remedy"])
        os._exit(0)
    folder = request["tree"] + "/site"
    if not os.path.isdir(folder):
        send("finished", outcome="not-installed", message=folder + " is not there")
        os._exit(0)
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
    modules = loaded_modules(before)
    found = mapped_files()
    if result["outcome"] == "imported":
        try:
            result["bindings"] = bindings(request["tree"], Memory(memory), found)
        except Exception as error:
            result["bindings"] = {"problem": type(error).__name__ + ": " + text_of(error)}
    mapped = libpythons(found)
    send("finished", seconds=round(seconds, 4), mapped_libpythons=mapped, modules=modules, **result)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # the extension may have closed or replaced it
            continue
    # Threads that the extension started, or its exit handlers, are no part of the question.
    os._exit(0)


if __name__ == "__main__":
    answer(json.loads(sys.argv[1]), int(sys.argv[2]), os.open("/proc/self/mem", os.O_RDONLY))
