"""Does ``list += x`` take an instance of any iterable class, a subclass of str or tuple included?

20250517 and 20250521 raised ``TypeError: must be str, not list``. BOLT had folded two functions of
CPython into one, because their code is the same; CPython tells them apart by their addresses. So
subclasses of sequences got a number's ``+``, which is asked before the list's own ``+=``.

https://github.com/astral-sh/uv/issues/13610
https://github.com/astral-sh/python-build-standalone/pull/622
"""

from __future__ import annotations

from typing import Any, Callable

import evidence

TIMES = 200
"""Often enough that the specialising interpreter gets at it."""

MODULE = """
result = []
result += value
"""


def operands() -> dict[str, Any]:
    """A value of each kind to add, by the name of its class."""

    class Str(str):
        pass

    class Tuple(tuple):  # type: ignore[type-arg]
        pass

    class List(list):  # type: ignore[type-arg]
        pass

    class Bytes(bytes):
        pass

    class ByteArray(bytearray):
        pass

    class Dict(dict):  # type: ignore[type-arg]
        pass

    return {
        "subclass of str": Str("ab"),
        "subclass of tuple": Tuple((1, 2)),
        "subclass of list": List([1, 2]),
        "subclass of bytes": Bytes(b"ab"),
        "subclass of bytearray": ByteArray(b"ab"),
        "subclass of dict": Dict(a=1, b=2),
        "str": "ab",
        "tuple": (1, 2),
        "list": [1, 2],
        "range": range(2),
        "bytes": b"ab",
    }


def in_module(value: Any) -> Any:
    """By names of a module, as in the report."""
    names = {"value": value}
    exec(MODULE, names)
    return names["result"]


def in_function(value: Any) -> Any:
    """By names of a function, which the interpreter specialises on."""
    result: list[Any] = []
    for _ in range(TIMES):
        result = []
        result += value
    return result


def to_item(value: Any) -> Any:
    """To an item of something else."""
    holder: dict[str, list[Any]] = {"item": []}
    holder["item"] += value
    return holder["item"]


WAYS: dict[str, Callable[[Any], Any]] = {
    "in a module": in_module,
    "in a function": in_function,
    "to an item": to_item,
}


def check(cell: dict[str, str]) -> dict[str, Any]:
    """The kinds and ways that were tried."""
    return verify(operands())


def verify(values: dict[str, Any]) -> dict[str, Any]:
    """The same for any values, by what they are."""
    problems = []
    for kind, value in values.items():
        for way, add in WAYS.items():
            try:
                result = add(value)
            except Exception as error:
                problems.append(f"{kind}, {way}: {type(error).__name__}: {error}")
            else:
                if result != list(value):
                    problems.append(f"{kind}, {way}: made {result!r}")
    findings = {"kinds": list(values), "ways": list(WAYS), "problems": problems}
    if problems:
        raise evidence.unhealthy("list += x goes wrong for x of " + "; ".join(problems), findings)
    return findings
