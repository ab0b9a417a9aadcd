"""Uses of the C API through a handle of ctypes, and whether they do what they should.

Each is tried as code that has loaded libpython would, in a forked child, and the answer is compared
with what the running interpreter itself says. The interpreter's lock is held meanwhile
(``ctypes.PyDLL``), so that what goes wrong is the copy's doing and not that of a missing lock.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any, Callable, NamedTuple

import children

MANY = 2000
"""Objects or blocks that one use makes: enough that their allocator has to ask for more memory."""

MAX_WHY = 80
"""Characters of a dying process's own words."""

KINDS = ("works", "silently wrong", "raises", "crashes", "hangs", "ends the process", "missing")
"""How what came of a use begins."""


class Use(NamedTuple):
    """A use of the C API: what it is, the symbols that it needs, and the right answer."""

    name: str
    symbols: tuple[str, ...]
    attempt: Callable[[ctypes.PyDLL], Any]
    right: Any


def uses() -> list[Use]:
    """Every use, with the answer that the running interpreter's own copy gives."""
    called, raised, set_ = "it was called", "it was raised", "the interpreter has it"
    own = "the interpreter's own"
    numbers, lists = sum(range(10**6, 10**6 + MANY)), [sum(range(MANY)), "collected"]
    return [
        Use("Py_GetVersion()", ("Py_GetVersion",), _version, sys.version),
        Use("Py_IsInitialized()", ("Py_IsInitialized",), _is_initialized, 1),
        Use("Py_GetProgramFullPath()", ("Py_GetProgramFullPath",), _program, sys.executable),
        Use('PySys_GetObject("executable")', ("PySys_GetObject",), _sys_object, own),
        Use("PyLong_FromLong(42)", ("PyLong_FromLong",), _small_number, own),
        Use("PyLong_FromLong(1000000)", ("PyLong_FromLong",), _numbers, numbers),
        Use("PyList_New(0)", ("PyList_New",), _lists, lists),
        Use("PyObject_GC_IsTracked()", ("PyObject_GC_IsTracked",), _is_tracked, [1, 0]),
        Use("PyErr_Occurred()", ("PyErr_Occurred",), _error_occurred, None),
        Use("PyErr_SetString()", ("PyErr_SetString",), _set_error, raised),
        Use("PyGILState_Check()", ("PyGILState_Check",), _lock_check, 1),
        Use("PyGILState_Ensure()", ("PyGILState_Ensure", "PyGILState_Release"), _lock, 0),
        Use("PyThreadState_Get()", ("PyThreadState_Get",), _thread_state, own),
        Use('PyImport_ImportModule("sys")', ("PyImport_ImportModule",), _import, own),
        Use("PyRun_SimpleString()", ("PyRun_SimpleString",), _run_string, [0, "it was run"]),
        Use("Py_AddPendingCall()", ("Py_AddPendingCall",), _pending_call, [0, called]),
        Use("PyMem_Malloc(), PyMem_Free()", ("PyMem_Malloc", "PyMem_Free"), _memory, MANY),
        Use("PyMem_Malloc(), freed by the interpreter", ("PyMem_Malloc",), _mixed_memory, MANY),
        Use("reading Py_IsolatedFlag", ("Py_IsolatedFlag",), _flag, int(sys.flags.isolated)),
        Use("setting PyOS_InputHook", ("PyOS_InputHook",), _hook, set_),
    ]


def verdicts(handle: ctypes.CDLL) -> dict[str, str]:
    """What came of each use through a handle, by its name.

    What this CPython does not have at all is left out.
    """
    api = ctypes.PyDLL(handle._name, handle=handle._handle)
    found = {}
    for use in uses():
        if not all(exports(ctypes.pythonapi, symbol) for symbol in use.symbols):
            continue
        missing = [symbol for symbol in use.symbols if not exports(api, symbol)]
        if missing:
            found[use.name] = f"missing: {missing[0]}"
        else:
            ending = children.run(lambda attempt=use.attempt: attempt(api))  # type: ignore[misc]
            found[use.name] = verdict(ending, use.right)
    return found


def by_verdict(found: dict[str, str]) -> dict[str, list[str]]:
    """The names of the uses, by the kind of what came of them."""
    groups: dict[str, list[str]] = {}
    for name, said in found.items():
        kind = next(kind for kind in KINDS if said.startswith(kind))
        groups.setdefault(kind, []).append(name)
    return groups


def exports(handle: ctypes.CDLL, symbol: str) -> bool:
    """Whether a symbol is found through a handle."""
    try:
        ctypes.c_char.in_dll(handle, symbol)
    except ValueError:
        return False
    return True


def verdict(ending: children.Ending, right: Any) -> str:
    """An ending in words; ``works`` only where the answer is the right one."""
    if ending.how == "answered":
        if ending.answer == right:
            return "works"
        return f"silently wrong: {ending.answer!r} instead of {right!r}"
    if ending.how == "raised":
        return f"raises {ending.text}"
    if ending.how == "crashed":
        # "Fatal Python error: PyThreadState_Get: the function must be called …"
        why = ": ".join(ending.said.split(": ")[:2])[:MAX_WHY]
        return f"crashes ({ending.text}{', ' + why if why and ending.text == 'SIGABRT' else ''})"
    if ending.how == "hung":
        return "hangs"
    return f"ends the process (exit code {ending.text})"


def _function(api: ctypes.PyDLL, name: str, result: Any, *arguments: Any) -> Any:
    # By index and not as an attribute: those are kept, with the types that somebody else has set.
    function = api[name]
    function.restype, function.argtypes = result, list(arguments)
    return function


def _version(api: ctypes.PyDLL) -> Any:
    return _function(api, "Py_GetVersion", ctypes.c_char_p)().decode()


def _is_initialized(api: ctypes.PyDLL) -> Any:
    return _function(api, "Py_IsInitialized", ctypes.c_int)()


def _program(api: ctypes.PyDLL) -> Any:
    return _function(api, "Py_GetProgramFullPath", ctypes.c_wchar_p)()


def _sys_object(api: ctypes.PyDLL) -> Any:
    get = _function(api, "PySys_GetObject", ctypes.c_void_p, ctypes.c_char_p)
    return _whose(get(b"executable"), id(sys.executable))


def _small_number(api: ctypes.PyDLL) -> Any:
    # The interpreter has one object for each small number.
    make = _function(api, "PyLong_FromLong", ctypes.py_object, ctypes.c_long)
    return _whose(id(make(42)), id(42))


def _numbers(api: ctypes.PyDLL) -> Any:
    make = _function(api, "PyLong_FromLong", ctypes.py_object, ctypes.c_long)
    # The interpreter frees what this copy has allocated.
    return sum([make(10**6 + number) for number in range(MANY)])


def _lists(api: ctypes.PyDLL) -> Any:
    make = _function(api, "PyList_New", ctypes.py_object, ctypes.c_ssize_t)
    gc.disable()
    total = 0
    for number in range(MANY):
        made = make(0)
        # It grows, and only the interpreter's garbage collector can free it.
        made += [number, made]
        total += made[0]
    del made
    return [total, "collected" if gc.collect() >= MANY else "not collected"]


def _is_tracked(api: ctypes.PyDLL) -> Any:
    ask = _function(api, "PyObject_GC_IsTracked", ctypes.c_int, ctypes.py_object)
    return [ask([]), ask(42)]


def _error_occurred(api: ctypes.PyDLL) -> Any:
    return _function(api, "PyErr_Occurred", ctypes.c_void_p)()


def _set_error(api: ctypes.PyDLL) -> Any:
    put = _function(api, "PyErr_SetString", None, ctypes.py_object, ctypes.c_char_p)
    try:
        put(LookupError, b"from C")
    except LookupError:
        return "it was raised"
    return "it was not raised"


def _lock_check(api: ctypes.PyDLL) -> Any:
    return _function(api, "PyGILState_Check", ctypes.c_int)()


def _lock(api: ctypes.PyDLL) -> Any:
    state = _function(api, "PyGILState_Ensure", ctypes.c_int)()
    _function(api, "PyGILState_Release", None, ctypes.c_int)(state)
    return state


def _thread_state(api: ctypes.PyDLL) -> Any:
    own = _function(ctypes.pythonapi, "PyThreadState_Get", ctypes.c_void_p)()
    return _whose(_function(api, "PyThreadState_Get", ctypes.c_void_p)(), own)


def _import(api: ctypes.PyDLL) -> Any:
    load = _function(api, "PyImport_ImportModule", ctypes.py_object, ctypes.c_char_p)
    return _whose(id(load(b"sys")), id(sys))


def _run_string(api: ctypes.PyDLL) -> Any:
    run = _function(api, "PyRun_SimpleString", ctypes.c_int, ctypes.c_char_p)
    code = run(b"import sys; sys._pbs_matrix_was_here = True")
    return [code, "it was run" if hasattr(sys, "_pbs_matrix_was_here") else "it was not run"]


def _pending_call(api: ctypes.PyDLL) -> Any:
    calls = []
    prototype = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)

    def call(_: Any) -> int:
        calls.append(True)
        return 0

    callback = prototype(call)

    add = _function(api, "Py_AddPendingCall", ctypes.c_int, prototype, ctypes.c_void_p)
    code = add(callback, None)
    for _ in range(MANY):
        len(calls)
    return [code, "it was called" if calls else "it was never called"]


def _memory(api: ctypes.PyDLL) -> Any:
    return _allocate(api, free_through=api)


def _mixed_memory(api: ctypes.PyDLL) -> Any:
    return _allocate(api, free_through=ctypes.pythonapi)


def _allocate(api: ctypes.PyDLL, free_through: ctypes.PyDLL) -> int:
    allocate = _function(api, "PyMem_Malloc", ctypes.c_void_p, ctypes.c_size_t)
    free = _function(free_through, "PyMem_Free", None, ctypes.c_void_p)
    blocks = [allocate(100) for _ in range(MANY)]
    for block in blocks:
        ctypes.memset(block, 0x55, 100)
    for block in blocks:
        free(block)
    return len(set(blocks))


def _flag(api: ctypes.PyDLL) -> Any:
    return ctypes.c_int.in_dll(api, "Py_IsolatedFlag").value


def _hook(api: ctypes.PyDLL) -> Any:
    ctypes.c_void_p.in_dll(api, "PyOS_InputHook").value = 4096
    seen = ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyOS_InputHook").value
    return "the interpreter has it" if seen == 4096 else "the interpreter has none"


def _whose(address: int | None, own: int) -> str:
    if address is None:
        return "nothing"
    return "the interpreter's own" if address == own else "another object"
