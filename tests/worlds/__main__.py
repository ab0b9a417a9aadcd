"""Worlds without end: ``python -m tests.worlds 500 --loader glibc --platform x86_64``."""

from __future__ import annotations

import time
from collections import Counter

import click

from harness import engine, owner
from harness.platforms import Platform
from tests.worlds import mutants
from tests.worlds.comparing import Account, Ending, compare, endings
from tests.worlds.generator import generate
from tests.worlds.real import Laboratory
from tests.worlds.world import Kind, Libc

LIBCS = [libc.value for libc in Libc]
PLATFORMS = [platform.value for platform in Platform]


@click.command(help="Compare the model with the real loader on so many worlds.")
@click.argument("count", type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True, help="Number of the first world.")
@click.option("--loader", "libc", type=click.Choice(LIBCS), default=LIBCS[0], show_default=True)
@click.option("--platform", type=click.Choice(PLATFORMS), default=PLATFORMS[0], show_default=True)
@click.option("--mutants", "with_mutants", is_flag=True, help="Show who notices a wrong rule.")
@click.option("--show", default=5, show_default=True, help="Disagreements to be shown in full.")
def main(count: int, seed: int, libc: str, platform: str, with_mutants: bool, show: int) -> None:
    """Compare, print a table, and end with 1 where the two disagree."""
    kind = Kind(libc=Libc(libc), platform=Platform(platform))
    laboratory = Laboratory(engine.connect(), kind, run=owner.new_run(), owner=owner.this_process())
    start = time.monotonic()
    worlds = [generate(number, kind) for number in range(seed, seed + count)]
    tally: Counter[Ending] = Counter()
    searches, wrong, cases = 0, list[int](), list[mutants.Case]()
    for world, answer in zip(worlds, laboratory.answers(worlds), strict=True):
        compared = compare(world, laboratory.system, answer)
        searches += len(compared.mine.searches)
        if isinstance(compared.real, Account):
            tally.update(endings(compared.real))
            cases.append((world, laboratory.system, compared.after, compared.real))
        if not compared.agree:
            wrong.append(world.seed)
            if len(wrong) <= show:
                click.echo(f"{compared}\n")
    rows = {
        "loader": kind,
        "worlds": f"{count} (from number {seed})",
        "searches compared": searches,
        **{f"outcomes: {ending}": tally[ending] for ending in Ending},
        "disagreements": f"{len(wrong)}{': worlds ' if wrong else ''}{', '.join(map(str, wrong))}",
        "seconds": f"{time.monotonic() - start:.0f}",
    }
    for name, value in rows.items():
        click.echo(f"{name:24} {value}")
    if with_mutants:
        click.echo(f"\n{mutants.table(kind.libc, cases)}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
