"""Why imports fail, for people: once for all cells that fail for the same reason."""

from __future__ import annotations

from harness import explanation
from harness.check.advice import Advice, Reader
from harness.explanation import Explanation
from harness.results import Result
from tests.unit.test_results import result

ACCOUNT = (
    "`_x.so` needs `libpython3.13.so.1.0`. It has no search path of its own, so the interpreter's "
    "DT_RPATH would be used, but this interpreter (20250517) has none. Not in "
    "/lib/x86_64-linux-gnu."
)
TRACE = ["file=libpython3.13.so.1.0 [0];  needed by /x.so [0]", "search cache=/etc/ld.so.cache"]


USE = Advice(reader=Reader.USER, text="Use release 20250529 or a later one.")
MEND = Advice(reader=Reader.AUTHOR, text="Take it out:", code="patchelf --remove-needed x _x.so")


def an_explanation(account: str = ACCOUNT, advice: tuple[Advice, ...] = (USE, MEND)) -> Explanation:
    return Explanation(account=account, trace=tuple(TRACE), advice=advice)


def explained(
    name: str,
    account: str = ACCOUNT,
    extension: str = "sample",
    advice: tuple[Advice, ...] = (USE, MEND),
) -> Result:
    why = an_explanation(account, advice).model_dump(mode="json")
    return result(id=name, extension=extension, evidence={explanation.EXPLANATION: why})


def heads(lines: list[str]) -> list[str]:
    return [line for line in lines if line and not line.startswith(" ")]


def test_the_account_comes_before_the_loaders_own_and_advice_last() -> None:
    lines = an_explanation().lines
    assert " ".join(lines).startswith(ACCOUNT)
    assert heads(lines)[-3:] == [
        "The loader's own account (LD_DEBUG=libs,files):",
        "If you use it:",
        "If it is yours:",
    ]
    assert [f"  {line}" for line in TRACE] == [line for line in lines if line[2:] in TRACE]
    assert lines[-1] == "      patchelf --remove-needed x _x.so"
    assert all(len(line) <= explanation.WIDTH for line in lines)


def test_a_file_name_is_not_broken_at_its_hyphens() -> None:
    lines = an_explanation().reasons
    assert any("/lib/x86_64-linux-gnu" in line for line in lines)
    assert not any(line.endswith("-") for line in lines)


def test_a_loader_that_told_nothing_is_not_quoted() -> None:
    silent = Explanation(account=ACCOUNT, trace=(), advice=())
    assert "LD_DEBUG" not in " ".join(silent.lines)


def test_an_explanation_is_read_from_the_evidence_as_it_was_written() -> None:
    assert explanation.of(explained("a").evidence) == an_explanation()
    assert explanation.of({}) is None


def test_the_same_words_are_said_once_for_all_cells_that_they_are_of() -> None:
    lines = explanation.report(
        [explained("a"), explained("b", "Another reason."), explained("c"), result(id="d")]
    )
    assert heads(lines) == ["a and 1 more", "b", "If you use it:", "If it is yours:"]


def test_advice_comes_once_for_each_extension_sorted_by_reader() -> None:
    other = Advice(reader=Reader.USER, text="On aarch64, use another.")
    lines = explanation.report([explained("a"), explained("b", "On aarch64.", advice=(other,))])
    assert heads(lines) == ["a", "b", "If you use it:", "If it is yours:"]
    assert "  - On aarch64, use another." in lines


def test_two_extensions_are_not_mixed_up_though_their_words_are_the_same() -> None:
    lines = explanation.report([explained("a"), explained("b", extension="other")])
    assert heads(lines) == [
        *("a", "If you use it:", "If it is yours:"),
        *("b", "If you use it:", "If it is yours:"),
    ]


def test_where_nothing_was_explained_nothing_is_said() -> None:
    assert explanation.report([result()]) == []
