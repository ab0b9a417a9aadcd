"""Models with one rule wrong: a comparison that is worth something notices each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from harness.loader.glibc import ORDER, Glibc
from harness.loader.musl import Musl
from harness.loader.process import Loader, System
from tests.worlds.comparing import Account, predict
from tests.worlds.world import Changes, Libc, World


def of(libc: Libc) -> Mapping[str, Loader]:
    """Models for a C library's worlds with one rule wrong, by what is wrong."""
    if libc is Libc.MUSL:
        return {"RPATH is not inherited": Musl(rpath_is_inherited=False), "glibc's rules": Glibc()}
    swapped = {
        f"{first} and {second} swapped": Glibc(
            order=(*ORDER[:number], second, first, *ORDER[number + 2 :])
        )
        for number, (first, second) in enumerate(pairwise(ORDER))
    }
    dropped = {
        f"no {step}": Glibc(order=tuple(other for other in ORDER if other is not step))
        for step in ORDER
    }
    return {
        "RUNPATH does not hide RPATH": Glibc(runpath_hides_rpath=False),
        "RUNPATH is inherited": Glibc(runpath_is_inherited=True),
        "RPATH is not inherited": Glibc(rpath_is_inherited=False),
        "dlopen's caller lends its RPATH": Glibc(caller_lends_rpath=True),
        "loaded names do not count": Glibc(loaded_names_count=False),
        **swapped,
        **dropped,
        "musl's rules": Musl(),
    }


Case = tuple[World, System, Changes, Account]


def caught(model: Loader, cases: Iterable[Case]) -> list[int]:
    """Numbers of the worlds in which a model says something else than the real loader."""
    return [
        world.seed
        for world, system, changes, real in cases
        if predict(world, system, changes, model).account != real
    ]


def table(libc: Libc, cases: Iterable[Case]) -> str:
    """How many worlds notice each mutant, and the first of them."""
    cases = list(cases)
    lines = ["| mutant | worlds that notice | first |", "| --- | --- | --- |"]
    for name, model in of(libc).items():
        seeds = caught(model, cases)
        lines.append(
            f"| {name} | {len(seeds)} of {len(cases)} | {', '.join(map(str, seeds[:5]))} |"
        )
    return "\n".join(lines)
