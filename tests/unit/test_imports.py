"""Imports: which extension modules a package's own code loads, told from its text."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.imports import reached
from tests.unit.effort import effort


def reach(texts: dict[str, str], extensions: str, *starts: str) -> list[str]:
    """What some modules with these texts reach; ``p`` where no other start is given."""
    sources = {name: text.encode for name, text in texts.items()}
    return [*reached(starts or ("p",), sources, extensions.split())]


def of(text: str, extensions: str = "p.x p.y x y") -> list[str]:
    """What a package with a text of its own reaches."""
    return [*reached(["p"], {"p.__init__": text.encode}, extensions.split())]


@pytest.mark.parametrize(
    "text",
    [
        "from . import x",
        "from .x import *",
        "from . x import name as other",
        "from.x import name",
        "from.import x",
        "import p.x",
        "import os, p.x as short",
        "from p import x",
        "from p.x import name",
        "from . import a, x, b",
        "from . import (a, x)",
        "from . import (\n    a,  # of another\n    x,\n)",
        "from . import (a\n, x\n)",
        "from . import a, \\\n    x",
        "from . \\\n    import x",
        "import os; from . import x",
        "if os.name: from . import x",
        "if os.name:\n    from . import x",
        "if os.name:\n    pass\nelif True:\n    from . import x",
        "if os.name:\n    pass\nelse:\n\tfrom . import x",
        "if (os.name and\n    os.path):\n    from . import x",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from . import x",
        "with a as b, c as (\n    d, e):\n    from . import x",
        "for a in b:\n    if a:\n        while a:\n            from . import x",
        '"""Words\nimport nothing\n"""\nfrom . import x',
        "name = 'it''s'  # isn't \"\"\"\nfrom . import x",
        'name = \'"""\'\nfrom . import x\nother = \'"""\'',
        'a = r"\\\\"; b = """\\"""" ; from . import x',
        "def f():\n    pass\nfrom . import x",
        "class A:\n    def f(self): pass\n\nfrom . import x",
        "try:\n    pass\nexcept A:\n    pass\nfrom . import x",
        "\r\nif a:\r\n    from . import x\r\n",
        "from . import x  # noqa",
        "\ufefffrom os import path\nfrom . import x",
    ],
)
def test_an_import_at_the_top_level_counts(text: str) -> None:
    assert of(text) == ["p.x"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# from . import x",
        "'from . import x'",
        '"""\nfrom . import x\n"""',
        "'''\nfrom . import x\n'''",
        'a = """\nimport p.x\n""".strip()\n',
        'a = b"""\\"""\nimport p.x\n"""',
        "def f():\n    from . import x",
        "async def f():\n    from . import x",
        "def f(a,\n      b):\n    from . import x",
        "def f():\n    a = '''\nnothing\n'''\n    from . import x",
        "class A:\n    from . import x",
        "try:\n    from . import x\nexcept ImportError:\n    pass",
        "try: from . import x\nexcept ImportError: pass",
        "try:\n    pass\nexcept ImportError:\n    from . import x",
        "try:\n    pass\nexcept A: pass\nelse:\n    from . import x\nfinally:\n    from . import y",
        "if TYPE_CHECKING:\n    from . import x",
        "if typing.TYPE_CHECKING:\n    from . import x",
        "if __name__ == '__main__':\n    from . import x",
        "if True:\n    def f():\n        from . import x",
        "if True:\n    try:\n        from . import x\n    except E:\n        pass",
        "from .. import x",
        "from .q import x",
        "from . import xx",
        "import q.x",
        "important = 1\nfrom_ = x",
        "yield from x",
        "from x",
        "import",
        "from . import (",
        "raise ImportError from x",
        "print('a'); 'from . import x'",
    ],
)
def test_what_may_not_be_run_and_what_only_looks_like_an_import_is_left_out(text: str) -> None:
    assert of(text, "p.x p.y") == []


def test_modules_are_reached_through_others_in_the_order_of_import() -> None:
    texts = {
        "p.__init__": "from . import b, a\nfrom .c import d",
        "p.a": "import p._a",
        "p.b": "from p import _b",
        "p.c.__init__": "from .. import _c",
        "p.c.d": "from ._d import name",
    }
    found = reach(texts, "p._a p._b p._c p.c._d p.unused")
    assert found == ["p._b", "p._a", "p._c", "p.c._d"]


def test_a_package_is_imported_before_what_is_in_it() -> None:
    texts = {"p.__init__": "from . import _p", "p.q.__init__": "from . import _q"}
    found = reach(texts, "p._p p.q._q p.q.r", "p.q.r")
    assert found == ["p._p", "p.q._q", "p.q.r"]


def test_an_extension_goes_before_a_source_of_its_name_and_a_package_before_both() -> None:
    """In the order of CPython's own finders; what the extension imports cannot be seen."""
    texts = {"p.__init__": "from . import a, b", "p.a": "from . import hidden"}
    assert reach(texts, "p.a p.b p.b.__init__ p.hidden") == ["p.a", "p.b.__init__"]


def test_a_relative_import_starts_at_the_modules_own_package() -> None:
    text = "from . import x\nfrom .. import y\nfrom ... import z\nfrom .... import w"
    assert reach({"p.a.b": text}, "p.a.x p.y z w p.a.b.x", "p.a.b") == ["p.a.x", "p.y"]


def test_modules_that_import_each_other_are_read_once() -> None:
    counts: list[str] = []

    def read(name: str, text: bytes) -> Callable[[], bytes]:
        return lambda: counts.append(name) or text  # type: ignore[func-returns-value]

    sources = {
        "p.__init__": read("p", b"from . import a, b"),
        "p.a": read("a", b"from . import b, x"),
        "p.b": read("b", b"import p.a, p"),
    }
    assert reached(["p", "p.a"], sources, {"p.x"}) == ("p.x",)
    assert sorted(counts) == ["a", "b", "p"]


def test_a_chain_of_modules_may_be_longer_than_pythons_own_stack() -> None:
    texts = {f"m{n}": f"import m{n + 1}".encode() for n in range(5000)}
    sources = {name: partial(bytes, text) for name, text in texts.items()}
    assert reached(["m0"], sources, {"m5000"}) == ("m5000",)


def test_a_large_generated_module_is_read_in_a_moment() -> None:
    """A parser takes a third of a second for as much; all of a check may take less."""
    methods = "".join(
        f'class C{n}:\n    def f(self):\n        r"""import of\n\n    from it"""\n'
        f"        return _x.call_of_the_library_behind_it_{n}(self)\n\n"
        for n in range(10_000)
    )
    text = f"from . import x\n{methods}".encode()
    assert len(text) > 600_000
    assert reached(["p"], {"p.__init__": lambda: text}, {"p.x"}) == ("p.x",)
    assert effort(lambda: reached(["p"], {"p.__init__": lambda: text}, {"p.x"})) < 20


@pytest.mark.parametrize(
    "text",
    [
        b"import " * 200_000,
        b"from . import (" * 100_000,
        b"if a:\n" * 200_000,
        b"".join(b" " * n + b"if a:\n" for n in range(1500)) + b" " * 1500 + b"import x",
        b'"""' * 300_000 + b"\nimport x",
        b"'\\" * 400_000 + b"\nimport x",
        b"\\\n" * 400_000 + b"import x",
        b"(" * 500_000 + b"\nimport x",
        b"x" * 1_000_000 + b"\nimport x",
        b"import x;" * 100_000,
        b"import " + b"a." * 400_000 + b"a",
        b"from " + b"." * 900_000 + b" import x",
        b"\n" * 900_000 + b"import x",
        b"import a as " + b"," * 500_000,
        b'"' * 900_001 + b"\nimport x",
        b"#" * 900_000 + b"\nimport x",
        b" " * 900_000 + b"import x",
        b"else:\n import x\n" * 60_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_hostile_source_takes_no_longer_than_a_plain_one_of_its_size(text: bytes) -> None:
    """Or not by much; what is quadratic would take a thousand times as long."""

    def of(source: bytes) -> float:
        return effort(lambda: reached(["p"], {"p.__init__": lambda: source}, {"p.y"}))

    assert of(text) < 20 * of(b"import x\n" * 110_000)


TOKENS = (
    *("import", "from", ".", "..", "x", "a,", "(", ")", ":", ";", "#", "'", '"', "'''", '"""'),
    *("\\", "\n", "\n\n", "\n    ", "def", "try:", "if", "else:", "class", "as", "\t"),
)


@settings(max_examples=300, deadline=None)
@given(words=st.lists(st.sampled_from(TOKENS), max_size=30))
def test_any_text_is_read_without_an_error(words: list[str]) -> None:
    of(" ".join(words))


SAMPLES = ("yaml", "numpy", "charset_normalizer", "pydantic_core", "psutil", "matplotlib", "PIL")


@pytest.mark.parametrize("package", SAMPLES)
def test_what_is_reached_is_what_a_real_import_loads(package: str) -> None:
    """Of packages that happen to be here: nothing too much, and what they show in their code."""
    module = pytest.importorskip(package)
    root = Path(str(module.__file__)).parent
    sources: dict[str, Callable[[], bytes]] = {}
    extensions = set()
    for path in root.rglob("*"):
        name = path.relative_to(root.parent).as_posix().partition(".")[0]
        if path.suffix == ".py":
            sources[name.replace("/", ".")] = path.read_bytes
        elif path.suffix == ".so":
            extensions.add(name.replace("/", "."))
    program = (
        f"import sys, {package}; "
        "files = {n: str(getattr(m, '__file__', '')) for n, m in sys.modules.items()}; "
        "print(*(name for name, file in files.items() if file.endswith('.so')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
    )
    loaded = extensions.intersection(done.stdout.split())
    found = reached([package], sources, extensions)
    assert set(found) <= loaded
    if package in ("numpy", "psutil", "pydantic_core"):
        assert set(found) == loaded
        assert loaded
    assert importlib.import_module(package)
