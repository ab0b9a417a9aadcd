"""What ``pbs-matrix check`` prints: tables, why, and what to do, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from harness.check import advice, baseline, builds
from harness.check.builds import Python
from harness.check.verdicts import Cell, Failure, Finding, Need, Row, Verdict, called
from harness.releases import LinkModel
from harness.why import printable, wrapped

LABEL = 10
"""Columns of what stands before the cells of a table, at least."""

CELL = 19
"""Columns of a cell at most."""

FEW = 5
"""Things of one kind that are listed when nobody asked for all of them."""

SHORT = 2
"""Files of a target up to which what they need is always listed."""

WORDS = {Verdict.IMPORTS: "imports", Verdict.PARTLY: "partly", Verdict.FAILS: "FAILS"}
ABSENT = "-"


class Section(NamedTuple):
    """What was found of one thing that was named: a file, a directory, a requirement's wheels."""

    name: str
    findings: tuple[Finding, ...] = ()
    refused: str | None = None
    """Why something of it could not even be read."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Of every finding; none where nothing was checked."""
        return tuple(row for finding in self.findings for row in finding.rows)

    @property
    def breaks(self) -> bool:
        """Whether something in it fails on some interpreter."""
        return any(finding.breaks for finding in self.findings)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What of it could not be checked, and why."""
        many = len(self.findings) > 1
        refused = (self.refused,) if self.refused else ()
        return refused + tuple(
            f"{finding.target.name}: {reason}" if many else reason
            for finding in self.findings
            for reason in finding.unchecked
        )


def render(section: Section, *, verbose: bool = False) -> str:
    """All that there is to say of one section, ready to be printed."""
    lines = [printable(section.name)]
    if section.rows:
        lines += wrapped(_verdict(section), 0)
    for table in _tables(section.rows):
        lines += ["", *table]
    for part in (
        _here(section, verbose),
        _reasons(section, verbose),
        _programs(section),
        _missing(section, verbose),
        _notes(section),
        _files(section, verbose),
        advice.lines(advice.advise(section.findings)),
        _unchecked(section),
    ):
        if part:
            lines += ["", *part]
    return "\n".join(lines) + "\n"


def brief(section: Section) -> str:
    """One line: what ``-q`` prints."""
    return printable(f"{section.name}: {_verdict(section)}")


def _verdict(section: Section) -> str:
    if section.breaks:
        broken = {
            cell.era.link_model for row in section.rows for cell in row.cells if cell.verdict.breaks
        }
        programs = [failure for row in section.rows for failure in row.programs]
        where = ", ".join(model for model in LinkModel if model in broken)
        return f"FAILS with {where}" if where else f"{called(programs[0].path)} does not start"
    if not section.rows:
        return "not checked" + "".join(f": {reason}" for reason in section.unchecked[:1])
    names = {missing.name for finding in section.findings for missing in finding.missing}
    some = f"{len(names)} other libraries are" if len(names) > 1 else f"{', '.join(names)} is"
    given = f", where {some} there" if names else ""
    rest = ", as far as it could be checked" if section.unchecked else ""
    return f"imports everywhere{given}{rest}"


def _tables(rows: Sequence[Row]) -> Iterator[list[str]]:
    """One table for each machine and set of uv versions; CPythons that fare alike are one line."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    # CPythons with most link models first: theirs are the heads.
    order = sorted(rows, key=lambda row: (row.machine.rank, -len(row.cells), row.python))
    for row in order:
        for key, group in groups.items():
            if key[0] == row.machine and _fits(row, group[0]):
                group.append(row)
                break
        else:
            groups[row.machine, row.python] = [row]
    for group in groups.values():
        yield list(_table(group))


def _fits(row: Row, other: Row) -> bool:
    """Whether a row can stand under another's heads: its uv versions are among them.

    Fewer they may be, since not every CPython was there from the first.
    """
    heads = {cell.era.link_model: cell.era for cell in other.cells}
    return all(
        (head := heads.get(cell.era.link_model)) is not None
        and head.releases == cell.era.releases
        and cell.era.versions <= head.versions
        for cell in row.cells
    )


def _table(rows: Sequence[Row]) -> Iterator[str]:
    eras = [cell.era for cell in rows[0].cells]
    known = builds.is_known(rows[0].machine)
    heads = [era.link_model for era in eras]
    releases = [str(era.releases) for era in eras]
    width = min(CELL, max(map(len, (*heads, *releases))) + 2)
    label = max(LABEL, len(rows[0].machine.name) + 2)
    uv = [
        textwrap.wrap(", ".join(map(str, era.uv)) or ("-" if known else "not known"), width - 1)
        for era in eras
    ]

    def line(start: str, cells: Iterable[str]) -> str:
        return (start.ljust(label) + "".join(cell.ljust(width) for cell in cells)).rstrip()

    yield line(rows[0].machine.name, heads)
    yield line("release", releases)
    for number in range(max(map(len, uv))):
        parts = [part[number] if number < len(part) else "" for part in uv]
        yield line("uv" if number == 0 else "", parts)
    same: dict[tuple[str, ...], list[Python]] = {}
    for row in rows:
        by_model = {cell.era.link_model: WORDS[cell.verdict] for cell in row.cells}
        words = tuple(by_model.get(era.link_model, ABSENT) for era in eras)
        pythons = same.setdefault(words, [])
        if row.python not in pythons:
            pythons.append(row.python)
    for words, pythons in same.items():
        labels = textwrap.wrap(_pythons(pythons), label - 1)
        yield line(labels[0], words)
        yield from labels[1:]


def _pythons(pythons: Iterable[Python]) -> str:
    """``3.9-3.13, 3.13t``: neighbours of one kind as a range."""
    runs: list[list[Python]] = []
    for python in sorted(pythons, key=lambda one: (one.flags, one.minor)):
        last = runs[-1][-1] if runs else None
        if last and last.flags == python.flags and last.minor + 1 == python.minor:
            runs[-1].append(python)
        else:
            runs.append([python])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def _here(section: Section, verbose: bool) -> list[str]:
    """An environment's own interpreter, on this machine."""
    lines: list[str] = []
    for finding in section.findings:
        if finding.here is None:
            continue
        start = "With this environment's own interpreter, on this machine"
        if not finding.here:
            lines += [f"{start}: imports"]
            continue
        lines += [f"{start}: FAILS"]
        shown = finding.here if verbose else finding.here[:FEW]
        for failure in shown:
            lines += wrapped(f"import {failure.module}: {failure.words}", 2)
        if len(finding.here) > len(shown):
            lines.append(f"  and {len(finding.here) - len(shown)} more (-v names all)")
    return lines


def _reasons(section: Section, verbose: bool) -> list[str]:
    """For each file in need one account, of the newest link model that it fails with."""
    seen: dict[tuple[str, str], list[tuple[Row, Cell, Failure]]] = {}
    for finding in section.findings:
        for row in finding.rows:
            for cell in row.cells:
                for failure in cell.failures:
                    key = (failure.search.needed_by, _unversioned(failure.library, row.python))
                    seen.setdefault(key, []).append((row, cell, failure))
    if not seen:
        return []
    lines = ["Why:"]
    shown = list(seen.values()) if verbose else list(seen.values())[:FEW]
    for group in shown:
        models = list(dict.fromkeys(cell.era.link_model for _, cell, _ in group))
        last = {cell.era.link_model: (row, cell, failure) for row, cell, failure in group}
        wanted = models if verbose else models[-1:]
        for number, model in enumerate(wanted):
            row, cell, failure = last[model]
            where = f"CPython {row.python}, {row.machine.name}, {model}"
            extra = f"{where} ({', '.join(models[:-1])} likewise)"
            lines += wrapped(f"{where if len(wanted) > 1 or len(models) == 1 else extra}:", 2)
            lines += wrapped(failure.words, 4)
            if number == 0:
                lines += _reaching(section, group)
    if len(seen) > len(shown):
        lines += wrapped(f"and {len(seen) - len(shown)} files more (-v names all).", 2)
    return lines


def _reaching(section: Section, group: Sequence[tuple[Row, Cell, Failure]]) -> list[str]:
    """Which imports end there, where it is not plain from the file in need."""
    failures = {f.path: f for _, _, f in group}
    notable = [f for f in failures.values() if f.path != f.search.needed_by or not f.is_reached]
    if not notable:
        return []
    named = [
        f"import {f.module}" if f.module else f"opening {called(f.path)}" for f in notable[:FEW]
    ]
    more = f" and {len(notable) - FEW} more" if len(notable) > FEW else ""
    apart = "" if notable[0].is_reached else " (its own import does not get there)"
    return wrapped(f"So this fails: {', '.join(named)}{more}{apart}.", 4)


def _programs(section: Section) -> list[str]:
    """Programs that embed Python: their libpython is found through their own search path only."""
    lines: list[str] = []
    said: dict[str, str] = {}
    for finding in section.findings:
        failing = {f.path: f for row in finding.rows for f in row.programs}
        for path in (*finding.embedding, *failing):
            failure = failing.get(path)
            said.setdefault(called(path), failure.words if failure else "It finds libpython.")
    for name, words in list(said.items())[:FEW]:
        works = words == "It finds libpython."
        lines += wrapped(f"{name}: {'starts' if works else 'DOES NOT START'}. {words}", 2)
    if len(said) > FEW:
        lines.append(f"  and {len(said) - FEW} more")
    head = "Programs (they embed Python, and find libpython only through their own search path):"
    return [*wrapped(head, 0), *lines] if lines else []


def _missing(section: Section, verbose: bool) -> list[str]:
    found = {m.name: m for finding in section.findings for m in finding.missing}
    if not found:
        return []
    head = (
        "Other libraries that it does not bring, and that not every system has: the system, or "
        "a package that is imported before, must have them (a warning, not counted as breakage):"
    )
    lines = wrapped(head, 0)
    shown = list(found.values()) if verbose else list(found.values())[:FEW]
    for missing in shown:
        by = [called(path) for path in missing.needed_by]
        more = f" and {len(by) - 1} more" if len(by) > 1 else ""
        text = f"{missing.name}, needed by {by[0]}{more}"
        if missing.inside:
            text += (
                f": {called(missing.inside)} lies there, but no search path leads to it, so the "
                "package's own code has to load it first"
            )
        lines += wrapped(text, 2)
    if len(found) > len(shown):
        lines.append(f"  and {len(found) - len(shown)} more (-v names all)")
    return lines


def _notes(section: Section) -> list[str]:
    notes: dict[str, None] = {}
    for finding in section.findings:
        for row in finding.rows:
            if not builds.is_known(row.machine):
                notes[
                    f"uv has no interpreters for {row.machine.name}: which releases there are is "
                    "not known here. The table says what its loader would do."
                ] = None
            if row.machine.libc is builds.Libc.MUSL:
                notes[
                    f"Before release {builds.MUSL_LOADS_SINCE} the musl builds loaded no "
                    "extension module at all."
                ] = None
        if finding.bundled:
            where = ", ".join(called(path) for path in finding.bundled[:2])
            notes[
                f"It brings a libpython of its own, {where}"
                + (
                    ", and finds it through its own search path: that imports with every "
                    "interpreter, and maps a second libpython beside the one that runs."
                    if finding.uses_bundled
                    else ", and nothing in it needs that."
                )
            ] = None
        notes |= dict.fromkeys(finding.target.notes)
        desktop = sorted({need.name for need in finding.needs if need.name in baseline.DESKTOP})
        if desktop:
            notes[
                f"{', '.join(desktop)}: a wheel may rely on the system for it, but slim container "
                "images lack it."
            ] = None
    return (
        ["Notes:", *(line for note in notes for line in wrapped(f"- {note}", 2))] if notes else []
    )


def _files(section: Section, verbose: bool) -> list[str]:
    """What each file needs and where it would be found."""
    short = len(section.findings) == 1 and len(section.findings[0].target.files.files) <= SHORT
    if not (verbose or short):
        return []
    lines = []
    for one in section.findings:
        by_file: dict[str, list[Need]] = {}
        for need in one.needs:
            by_file.setdefault(need.needed_by, []).append(need)
        if by_file and verbose and len(section.findings) > 1:
            lines.append(f"  {printable(one.target.name)}")
        for path, needs in by_file.items():
            lines.append(f"  {called(path)}")
            for need in needs:
                lines += wrapped(f"{need.name} → {_where(need)}", 4)
    return ["What its files need, and where that would be found:", *lines] if lines else []


def _where(need: Need) -> str:
    places: dict[str, list[LinkModel]] = {}
    for model, path in need.found.items():
        places.setdefault(_place(path, need), []).append(model)
    if len(places) == 1:
        return next(iter(places))
    return "; ".join(f"{', '.join(models)}: {place}" for place, models in places.items())


def _place(path: str | None, need: Need) -> str:
    if path is None:
        return "not found"
    if baseline.is_elsewhere(path) or path == need.name:
        return "not in it"
    if baseline.is_promised(path) or "/" not in path.strip("/"):
        return "the system's"
    if path.startswith(builds.HOME + "/"):
        return f"the interpreter's, {path.removeprefix(builds.HOME + '/').replace('bin/../', '')}"
    return called(path)


def _unchecked(section: Section) -> list[str]:
    reasons = section.unchecked
    return ["Not checked:", *(line for r in reasons for line in wrapped(r, 2))] if reasons else []


def _unversioned(name: str, python: Python) -> str:
    return name.replace(python.libpython, "libpython")
