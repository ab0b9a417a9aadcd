"""Why imports fail, for people: once for all cells that fail for the same reason."""

from __future__ import annotations

from harness import explanation
from harness.results import Result
from tests.unit.test_results import result

ACCOUNT = (
    "`_x.so` needs `libpython3.13.so.1.0`. It has no search path of its own, so the interpreter's "
    "DT_RPATH would be used, but this interpreter (20250517) has none. Not in "
    "/lib/x86_64-linux-gnu."
)
TRACE = ["file=libpython3.13.so.1.0 [0];  needed by /x.so [0]", "search cache=/etc/ld.so.cache"]


def explained(name: str, account: str = ACCOUNT, extension: str = "sample") -> Result:
    why = {"account": account, "trace": TRACE}
    return result(id=name, extension=extension, evidence={explanation.EXPLANATION: why})


def test_the_account_comes_before_the_loaders_own() -> None:
    lines = explanation.lines({"account": ACCOUNT, "trace": TRACE})
    assert " ".join(lines).startswith(ACCOUNT)
    assert lines[-3:] == [
        "The loader's own account (LD_DEBUG=libs,files):",
        *(f"  {line}" for line in TRACE),
    ]
    assert all(len(line) <= explanation.WIDTH for line in lines)


def test_a_file_name_is_not_broken_at_its_hyphens() -> None:
    lines = explanation.lines({"account": ACCOUNT, "trace": []})
    assert any("/lib/x86_64-linux-gnu" in line for line in lines)
    assert not any(line.endswith("-") for line in lines)


def test_a_loader_that_told_nothing_is_not_quoted() -> None:
    assert "LD_DEBUG" not in " ".join(explanation.lines({"account": ACCOUNT, "trace": []}))


def test_the_same_words_are_said_once_for_all_cells_that_they_are_of() -> None:
    lines = explanation.report(
        [explained("a"), explained("b", "Another reason."), explained("c"), result(id="d")]
    )
    assert [line for line in lines if not line.startswith(" ")] == ["a and 1 more", "b"]


def test_two_extensions_are_not_mixed_up_though_their_words_are_the_same() -> None:
    lines = explanation.report([explained("a"), explained("b", extension="other")])
    assert [line for line in lines if not line.startswith(" ")] == ["a", "b"]


def test_where_nothing_was_explained_nothing_is_said() -> None:
    assert explanation.report([result()]) == []
