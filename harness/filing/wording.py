"""What stands in an issue: its title, its description, and what is said when something changes.

What others wrote is code in it, so that nothing is markup, a mention or a link. In a title there
is no code: there the signs that could mean something are replaced.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.comparison import LIMIT, Cause, Pair
from harness.filing.troubles import Kind, Trouble
from harness.markdown import block, code, details, table, without_passwords
from harness.platforms import Platform
from harness.why import printable

TITLE = 256
"""Characters that GitHub takes in a title."""

BISECT = "\n\n<!-- pbs-matrix:bisect -->\n"
"""The lines before a bisection's report, which is the last thing in a description."""

_MARKER = 22_000
"""Characters that a marker may take; see :data:`harness.filing.marker.LISTED`."""

_CELLS = 14_000
"""Characters of the table of cells."""

_OPEN = 10
"""Cells up to which their table is not folded away."""

_NAMED = 10
"""Cells or extensions that are named in a sentence; of the rest the number is."""

_LEAST = 500
"""Characters below which a report is rather left out than cut."""

_SIGNS = str.maketrans({"<": "‹", ">": "›", "@": "＠", "#": "＃", "`": "'"})
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where more is to be seen; addresses are safe in Markdown."""

    run: str | None = None
    """The run of the workflow."""
    page: str | None = None
    """The report page."""


def title(trouble: Trouble) -> str:
    """Such as ``python-mscl and 2 more: missing-library libGL.so.1 (regressed)``."""
    first, *others = _extensions(trouble)
    more = f" and {len(others)} more" if others else ""
    end = f" ({trouble.kind})"
    text = f"{_plain(first, 80)}{more}: {_plain(trouble.words, TITLE)}"
    return _cut(text, TITLE - len(end)) + end


def description(trouble: Trouble, place: Place, *, since: str, base: str, carried: int = 0) -> str:
    """What stands behind the marker; together they fill no more than half of an issue or so.

    ``since`` and ``base`` are days; ``carried`` is the number of cells that had it and of which
    this night says nothing.
    """
    first = min(trouble.pairs, key=lambda pair: (_is_foreign(pair), pair.cell))
    parts = [
        _headline(trouble),
        _facts(trouble, place, since=since, base=base, carried=carried),
        *_message(trouble, first),
        f"To run one of them again:\n\n{block(f'pbs-matrix rerun {_quoted(first.cell)}')}",
        _cells(trouble),
        *_differences(trouble),
        "`pbs-matrix issues` wrote this and goes on with it: it says when other cells have it, and "
        "closes the issue when all of its cells that a night tests are without it.",
    ]
    return "\n\n".join(parts)


def report(text: str, rest: int) -> str:
    """A bisection's report as it is attached, cut to what ``rest`` characters leave of an issue."""
    summary = "Which release did it: the report of pbs-matrix bisect"
    frame = details(summary, "")
    room = LIMIT - _MARKER - rest - len(BISECT) - len(frame) - 100
    content = text.replace("\r\n", "\n").strip("\n")
    if not content or room < _LEAST:
        return ""
    if len(content) > room:
        kept = _whole_parts(content, room)
        content = f"{kept}\n\n{len(content) - len(kept)} more characters have no room here."
    return f"{BISECT}{details(summary, content)}"


def changed(
    trouble: Trouble,
    fresh: Sequence[str],
    gone: Sequence[str],
    place: Place,
    *,
    bisected: bool,
) -> str:
    """A comment: which cells have it now, and which no longer have; empty where neither."""
    said = []
    if fresh:
        said.append(f"Now also in {_listed(fresh)}.")
    if gone:
        said.append(f"No longer in {_listed(gone)}.")
    if said:
        said.append(f"That makes {_count(len(trouble.pairs), 'cell')} in this run.")
    if bisected:
        said.append("A bisection's report is in the description now.")
    return _with_run(" ".join(said), place) if said else ""


def again(trouble: Trouble, place: Place) -> str:
    """A comment: it is back."""
    cells = _listed([pair.cell for pair in trouble.pairs])
    return _with_run(f"It is there again, in {cells}.", place)


def gone(tested: Sequence[str], known: int, recorded: int, place: Place) -> str:
    """A comment: why the issue is closed.

    Of the ``recorded`` cells some were ``tested``, and of these the ``known`` still do the
    same, as known breakage.
    """
    said = f"Closed. This run tested {_listed(tested)}: "
    if known:
        said += f"{known} still {'fails' if known == 1 else 'fail'} like this, which `matrix.yaml` "
        said += "expects" + (", and the others have it no more." if known < len(tested) else ".")
    else:
        said += "none of them has it any more."
    if others := recorded - len(tested):
        said += f" {_count(others, 'more cell')} that had it {_is(others)} not in this run."
    return _with_run(said, place)


def duplicate(number: int) -> str:
    """A comment, in the words by which GitHub knows a duplicate."""
    return f"Duplicate of #{number}"


def _is_foreign(pair: Pair) -> bool:
    """Whether most people would need an emulator."""
    return pair.new is not None and pair.new.result.platform is not Platform.X86_64


def _quoted(text: str) -> str:
    """One word for a shell, quoted though it may not need to be."""
    quoted = shlex.quote(text)
    return f"'{text}'" if quoted == text else quoted


def _headline(trouble: Trouble) -> str:
    names = [code(name, 80) for name in _extensions(trouble)]
    more = len(names) - _NAMED
    shown = ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    words = code(trouble.words)
    match trouble.kind:
        case Kind.REGRESSED:
            return f"{shown}: {words}, {_against(trouble)}."
        case Kind.FIXED:
            return (
                f"{shown}: succeeds, where `matrix.yaml` expects {words}. If that is for good, "
                "update the expectation."
            )
        case Kind.MISPREDICTED:
            return (
                f"{shown}: {words}. Either `harness/loader` has a mistake, or this is news about "
                "the dynamic loader."
            )


def _against(trouble: Trouble) -> str:
    """What it is otherwise than."""
    known = sum(pair.is_expected for pair in trouble.pairs)
    if known == len(trouble.pairs):
        return "as `matrix.yaml` expects, but otherwise than in the last good night"
    of = f" of {_count(len(trouble.pairs) - known, 'cell')}" if known else ""
    return f"which `matrix.yaml` does not expect{of}"


def _facts(trouble: Trouble, place: Place, *, since: str, base: str, carried: int) -> str:
    results = [pair.new.result for pair in trouble.pairs if pair.new]
    flaky = sum(bool(pair.new and pair.new.is_flaky) for pair in trouble.pairs)
    replicas = sum(result.is_replica for result in results)
    cells = str(len(trouble.pairs))
    if flaky:
        cells += f", {flaky} of them flaky: tried several times, with different answers"
    if replicas:
        cells += f", {replicas} of them on replicas, stand-ins for the releases"
    if carried:
        cells += f"; {carried} more had it, of which this run says nothing clear"
    linked = {f"{r.release} ({r.linked or r.link_model})": None for r in results}
    rows = [
        ("seen since", since),
        ("last good night", base),
        ("cells", cells),
        ("releases", _some(linked)),
        ("uv", _some(r.uv for r in results)),
        ("platforms", _some(r.platform for r in results)),
        ("bases", _some(r.base for r in results)),
        ("run", f"<{place.run}>" if place.run else ""),
        ("report page", f"<{place.page}>" if place.page else ""),
    ]
    return table(("", ""), [row for row in rows if row[1]])


def _message(trouble: Trouble, first: Pair) -> Iterator[str]:
    assert first.new is not None  # as of every pair of a trouble
    result = first.new.result
    if result.message:
        yield f"Its message, of {code(first.cell)}:\n\n{block(result.message, 1500)}"
    if trouble.kind is Kind.FIXED and result.expected_because:
        yield f"It was expected because: {code(result.expected_because, 500)}"


def _cells(trouble: Trouble) -> str:
    rows, room = [], _CELLS
    for pair in trouble.pairs:
        assert pair.new is not None
        expected = pair.new.result
        wanted = str(expected.expected)
        if expected.expected_library:
            wanted += f" {expected.expected_library}"
        before = pair.base.words if pair.base else ""
        row = (code(pair.cell), code(pair.new.words), code(wanted), code(before) if before else "")
        room -= sum(map(len, row)) + 14
        if room < 0:
            break
        rows.append(row)
    written = table(("cell", "now", "expected", "last good night"), rows)
    if more := len(trouble.pairs) - len(rows):
        written += f"\n\n{_count(more, 'more cell')} {_has(more)} no room here."
    if len(trouble.pairs) <= _OPEN:
        return written
    return details(f"The {len(trouble.pairs)} cells", written)


def _differences(trouble: Trouble) -> Iterator[str]:
    """What else is not as it was in the last good night, each once with its number of cells."""
    counts: dict[Cause, int] = {}
    for pair in trouble.pairs:
        for cause in pair.causes:
            counts[cause] = counts.get(cause, 0) + 1
    if not counts:
        return
    often = sorted(counts.items(), key=lambda item: (-item[1], item[0].words))
    lines = [f"- {code(cause.words)} ({_count(n, 'cell')})" for cause, n in often[:_NAMED]]
    if more := len(often) - len(lines):
        lines.append(f"- {more} more")
    yield "What else is not as it was then, and may be why:\n\n" + "\n".join(lines)


def _whole_parts(text: str, room: int) -> str:
    """As many lines as fit, up to one after which no block of code and no fold is open."""
    size, cut, fence, depth = 0, 0, "", 0
    for line in text.split("\n"):
        size += len(line) + 1
        if size > room:
            break
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif found:
            fence = found[1]
        else:
            depth += line.count("<details>") - line.count("</details>")
        if not fence and depth <= 0 and not line.strip():
            cut = size
    return text[:cut].rstrip("\n")


def _extensions(trouble: Trouble) -> list[str]:
    return sorted({pair.extension for pair in trouble.pairs})


def _listed(cells: Sequence[str]) -> str:
    """Such as ``2 cells (`a`, `b`)``."""
    names = [code(cell) for cell in sorted(cells)[:_NAMED]]
    if more := len(cells) - len(names):
        names.append(f"{more} more")
    return f"{_count(len(cells), 'cell')} ({', '.join(names)})"


def _some(values: Iterable[str]) -> str:
    every = sorted({str(value) for value in values})
    names = [code(value, 60) for value in every[:_NAMED]]
    if more := len(every) - len(names):
        names.append(f"{more} more")
    return ", ".join(names)


def _with_run(text: str, place: Place) -> str:
    return f"{text}\n\n{place.run}" if place.run else text


def _plain(text: str, limit: int) -> str:
    """Some words for a title, where no sign means anything."""
    words = " ".join(printable(without_passwords(text)).translate(_SIGNS).split())
    return _cut(words, limit) or "(nothing)"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
