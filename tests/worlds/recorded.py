"""Answers of the real loader, kept so that the model is compared with them without an engine.

``python -m tests.worlds.recorded`` asks again and writes them, after a change of the generator;
with ``--mutants`` it shows which of them notice a wrong rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from harness import cache, engine, owner
from harness.loader.process import System
from tests.worlds import facts, mutants
from tests.worlds.comparing import Account, Failure, Outcome, compare
from tests.worlds.generator import generate
from tests.worlds.mutants import Case
from tests.worlds.real import Laboratory
from tests.worlds.world import KINDS, Changes, Kind, World

FILE = Path(__file__).parent.parent / "unit" / "data" / "loader_worlds.json"

# After the first ones, some that rest on what is seldom met: empty elements of a search path, links
# that are loops, double slashes in $ORIGIN; and for musl relative origins.
RARE = {
    "glibc x86_64": (591, 751, 156, 242, 268, 304, 337, 461, 747),
    "musl x86_64": (360, 456, 791),
}
SEEDS = {
    "glibc x86_64": (*range(120), *RARE["glibc x86_64"]),
    "glibc aarch64": tuple(range(30)),
    "musl x86_64": (*range(60), *RARE["musl x86_64"]),
    "musl aarch64": tuple(range(15)),
}
"""Numbers of the worlds of each kind."""


def read(kind: Kind) -> Recorded:
    """The recorded answers of a kind."""
    return Recorded(kind, json.loads(FILE.read_text(encoding="utf-8"))[str(kind)])


class Recorded:
    """The recorded answers of one kind of worlds."""

    def __init__(self, kind: Kind, content: dict[str, Any]) -> None:
        self.kind = kind
        self.content = content
        self.system: System = facts.SYSTEM.validate_python(content["system"])

    @property
    def is_current(self) -> bool:
        """Whether the generator still makes the worlds that the real loader was asked about."""
        return bool(self.content["worlds_digest"] == digest(self.kind))

    def cases(self) -> Iterator[Case]:
        """World, system, what ldconfig changed, and what the real loader said."""
        for seed, packed in zip(SEEDS[str(self.kind)], self.content["worlds"], strict=True):
            yield generate(seed, self.kind), self.system, _changes(packed), _account(packed)


def digest(kind: Kind) -> str:
    """Of the worlds that the generator makes."""
    return cache.digest([repr(generate(seed, kind)) for seed in SEEDS[str(kind)]])


def packed(after: Changes, real: Account) -> dict[str, Any]:
    """An answer as it is kept; of what is mapped only what is new."""
    outcomes = []
    before: tuple[str, ...] = ()
    for outcome in real.outcomes:
        failure = outcome.failure
        said = [failure.name, failure.problem, failure.needed_by] if failure else None
        if outcome.mapped[: len(before)] != before:
            raise ValueError("something was unmapped")
        new = [*outcome.mapped[len(before) :]]
        outcomes.append([said, new, int(outcome.called_by_library)])
        before = outcome.mapped
    whole = {
        "outcomes": outcomes,
        "not_preloaded": [[failure.name, failure.problem] for failure in real.not_preloaded],
        "links": after.links,
        "removed": [*after.removed],
        "cache": {name: [*paths] for name, paths in after.cache.items()},
    }
    return {name: value for name, value in whole.items() if value}


def _changes(content: dict[str, Any]) -> Changes:
    return Changes(
        links=content.get("links", {}),
        removed=tuple(content.get("removed", ())),
        cache={name: tuple(paths) for name, paths in content.get("cache", {}).items()},
    )


def _account(content: dict[str, Any]) -> Account:
    outcomes = []
    mapped: list[str] = []
    for said, new, called in content["outcomes"]:
        mapped += new
        failure = None
        if said is not None:
            failure = Failure(name=said[0], problem=said[1], needed_by=said[2])
        outcomes.append(
            Outcome(failure=failure, mapped=tuple(mapped), called_by_library=bool(called))
        )
    return Account(
        outcomes=tuple(outcomes),
        not_preloaded=tuple(
            Failure(name=name, problem=problem)
            for name, problem in content.get("not_preloaded", ())
        ),
    )


def record(laboratory: Laboratory, kind: Kind, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Ask the real loader, and pack what it says.

    Raises :class:`ValueError` where the answer is not understood.
    """
    worlds: list[World] = [generate(seed, kind) for seed in seeds]
    for world, answer in zip(worlds, laboratory.answers(worlds), strict=True):
        compared = compare(world, laboratory.system, answer)
        if isinstance(compared.real, str):
            raise ValueError(str(compared))
        yield packed(compared.after, compared.real)


@click.command(help="Ask the real loader for all recorded answers again, and write them.")
@click.option("--mutants", "only_mutants", is_flag=True, help="Show who notices a wrong rule.")
def main(only_mutants: bool) -> None:
    """Record all anew; or, without an engine, show what the recorded worlds notice."""
    if only_mutants:
        for name in SEEDS:
            click.echo(f"{name}\n\n{mutants.table(KINDS[name].libc, read(KINDS[name]).cases())}\n")
        return
    client = engine.connect()
    content = {}
    for name, seeds in SEEDS.items():
        kind = KINDS[name]
        laboratory = Laboratory(client, kind, run=owner.new_run(), owner=owner.this_process())
        content[name] = {
            "system": facts.SYSTEM.dump_python(laboratory.system, mode="json"),
            "worlds_digest": digest(kind),
            "worlds": list(record(laboratory, kind, seeds)),
        }
        click.echo(f"{name}: {len(seeds)} worlds")
    FILE.parent.mkdir(exist_ok=True)
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    FILE.write_text(text.replace('{"outcomes"', '\n{"outcomes"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
