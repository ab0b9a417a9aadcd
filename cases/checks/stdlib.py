"""Do the parts of the standard library that rest on compiled code do what they should?

That an interpreter starts and imports says little: builds of it were miscompiled (uv 13610), wrote
over their own stack (python-build-standalone 1186), or lacked what a bundled library should give.
Each part is named on standard error before it is tried, so that a crash shows where it was.

https://github.com/astral-sh/python-build-standalone/issues/1186
"""

from __future__ import annotations

import ctypes
import datetime
import decimal
import importlib
import os
import sys
import unicodedata
from typing import Any, Callable
from xml.etree import ElementTree

import evidence
import hashing


def compression() -> Any:
    """Each format of compression."""
    return importlib.import_module("packing").check_compression()


def tls() -> Any:
    """A TLS connection of this process with itself."""
    return importlib.import_module("tls").check_tls()


def sqlite() -> Any:
    """A transaction that is rolled back, and full-text search where it is compiled in."""
    import sqlite3

    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE release (tag TEXT PRIMARY KEY, good INTEGER)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO release VALUES ('20250409', 1)")
    connection.execute("COMMIT")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO release VALUES ('20250517', 0)")
    connection.execute("ROLLBACK")
    rows = connection.execute("SELECT tag, good FROM release").fetchall()
    assert rows == [("20250409", 1)], f"after a rollback there is {rows}"
    options = {row[0] for row in connection.execute("PRAGMA compile_options")}
    has_search = "ENABLE_FTS5" in options
    if has_search:
        connection.execute("CREATE VIRTUAL TABLE word USING fts5(text)")
        connection.execute("INSERT INTO word VALUES ('an interpreter'), ('an extension')")
        found = connection.execute("SELECT text FROM word WHERE word MATCH 'inter*'").fetchall()
        assert found == [("an interpreter",)], f"full-text search found {found}"
    connection.close()
    return {"version": sqlite3.sqlite_version, "fts5": has_search}


def subinterpreters() -> Any:
    """One is made, runs code, and is destroyed, by whichever module this CPython has for it."""
    reading, writing = os.pipe()
    code = f"import os; os.write({writing}, b'from within')"
    if sys.version_info >= (3, 14):
        module: Any = importlib.import_module("concurrent.interpreters")
        made = module.create()
        made.exec(code)
        made.close()
        left = [each for each in module.list_all() if each == made]
    elif sys.version_info >= (3, 13):
        module = importlib.import_module("_interpreters")
        made = module.create()
        problem = module.exec(made, code)
        assert problem is None, f"a subinterpreter said: {problem}"
        module.destroy(made)
        left = [each[0] for each in module.list_all() if each[0] == made]
    else:
        module = importlib.import_module("_xxsubinterpreters")
        made = module.create()
        module.run_string(made, code)
        number = int(made)
        module.destroy(made)
        left = [each for each in module.list_all() if int(each) == number]
    os.close(writing)
    said = os.read(reading, 100)
    os.close(reading)
    assert said == b"from within", f"a subinterpreter said {said!r}"
    assert not left, "a destroyed subinterpreter is still there"
    return module.__name__


def callback() -> Any:
    """The C library sorts by a function of Python's."""
    numbers = (ctypes.c_int * 9)(5, 3, 9, 1, 7, 2, 8, 6, 4)
    pointer = ctypes.POINTER(ctypes.c_int)
    compare = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)(lambda a, b: a[0] - b[0])
    ctypes.CDLL(None).qsort(numbers, ctypes.c_size_t(9), ctypes.c_size_t(4), compare)
    assert list(numbers) == list(range(1, 10)), f"qsort made {list(numbers)}"
    return None


def processes() -> Any:
    """The interpreter starts itself, by fork and exec and by posix_spawn."""
    command = [sys.executable, "-I", "-S", "-c", "print(6 * 7, flush=True)"]

    def fork(writing: int) -> int:
        child = os.fork()
        if child == 0:
            try:
                os.dup2(writing, 1)
                os.execv(command[0], command)
            finally:
                os._exit(127)
        return child

    def spawn(writing: int) -> int:
        actions = [(os.POSIX_SPAWN_DUP2, writing, 1)]
        return os.posix_spawn(command[0], command, os.environ, file_actions=actions)

    for start in (fork, spawn):
        reading, writing = os.pipe()
        child = start(writing)
        os.close(writing)
        said = os.read(reading, 100)
        os.close(reading)
        status = os.waitpid(child, 0)[1]
        assert (said, status) == (b"42\n", 0), (
            f"by {start.__name__}: it said {said!r}, status {status}"
        )
    return None


def decimals() -> Any:
    """libmpdec: the first fifty digits of the square root of two, and exactness."""
    with decimal.localcontext() as context:
        context.prec = 50
        root = str(decimal.Decimal(2).sqrt())
    assert root == "1.4142135623730950488016887242096980785696718753769", root
    total = sum([decimal.Decimal("0.1")] * 10)
    assert total == 1, f"ten times 0.1 is {total}"
    return getattr(decimal, "__libmpdec_version__", None)


def unicode_data() -> Any:
    """Names, numbers and normal forms."""
    assert unicodedata.lookup("GREEK SMALL LETTER PI") == "\u03c0"
    assert unicodedata.name("\u4e00") == "CJK UNIFIED IDEOGRAPH-4E00"
    assert unicodedata.normalize("NFD", "\u00e9") == "e\u0301"
    assert unicodedata.numeric("\u00bd") == 0.5
    return unicodedata.unidata_version


def date_and_time() -> Any:
    """Offsets and leap years, without any data of time zones."""
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=45))
    moment = datetime.datetime(2024, 2, 29, 1, 2, 3, 456789, zone)
    text = moment.isoformat()
    assert text == "2024-02-29T01:02:03.456789+05:45", text
    assert datetime.datetime.fromisoformat(text) == moment
    utc = moment.astimezone(datetime.timezone.utc)
    assert utc.isoformat() == "2024-02-28T19:17:03.456789+00:00", utc
    assert (utc + datetime.timedelta(days=366)).strftime("%Y-%j") == "2025-059"
    return None


def xml() -> Any:
    """expat reads entities and a foreign encoding."""
    tree = ElementTree.fromstring(b"<?xml version='1.0' encoding='latin-1'?><a b='&lt;'>\xe9</a>")
    found = (tree.get("b"), tree.text)
    assert found == ("<", "\u00e9"), found
    return importlib.import_module("pyexpat").EXPAT_VERSION


def terminal() -> Any:
    """What needs a terminal is imported, and used as far as one can without."""
    readline: Any = importlib.import_module("readline")
    readline.add_history("a line")
    assert readline.get_current_history_length() == 1, "the history has another length"
    for name in ("curses", "_curses_panel"):
        importlib.import_module(name)
    return getattr(readline, "backend", None)


PARTS: dict[str, Callable[[], Any]] = {
    "hashing": hashing.check_digests,
    "hashing in threads": hashing.check_threads,
    "hashing under signals": hashing.check_signals,
    "compression": compression,
    "tls": tls,
    "sqlite": sqlite,
    "subinterpreters": subinterpreters,
    "ctypes callback": callback,
    "processes": processes,
    "decimal": decimals,
    "unicodedata": unicode_data,
    "datetime": date_and_time,
    "xml": xml,
    "terminal": terminal,
}


def check(cell: dict[str, str]) -> dict[str, Any]:
    """Every part by its name, with what it says of itself, such as a library's version."""
    return verify(PARTS)


def verify(parts: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """The same for any parts. All are tried, whichever fail."""
    findings: dict[str, Any] = {}
    problems = []
    for name, part in parts.items():
        print("stdlib:", name, file=sys.stderr, flush=True)
        try:
            findings[name] = part()
        except Exception as error:
            findings[name] = f"{type(error).__name__}: {error}"
            problems.append(f"{name}: {findings[name]}")
    if problems:
        raise evidence.unhealthy("; ".join(problems), findings)
    return findings
