"""A world from a number: the same number gives the same world, on every Python."""

from __future__ import annotations

import posixpath
import random
from collections.abc import Sequence
from typing import TypeVar

from tests.worlds.world import ROOT, Content, Kind, Libc, Library, Opening, World

T = TypeVar("T")

NAMES = ("liba.so", "libb.so", "libk.so.1", "libp.so.1.0", "libx.so.2", "libx.so.02")
"""Few, so that the same name is in several directories; the last two are one to ld.so.cache."""

DIRECTORIES = (f"{ROOT}/a", f"{ROOT}/b", f"{ROOT}/c", f"{ROOT}/a/sub", f"{ROOT}/bin")
CONFIGURED = f"{ROOT}/conf"
MISSING = "libmissing.so.9"
LONG = f"lib{'x' * 300}.so"
"""Longer than a file's name may be."""

FOREIGN = (Content.OTHER_MACHINE, Content.OTHER_CLASS, Content.BIG_ENDIAN)
BAD = (Content.TEXT, Content.SHORT)


class Dice:
    """Random choices by :meth:`random.Random.random` alone.

    Of all methods only that one is promised to give the same numbers in every version of Python.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def chance(self, percent: float) -> bool:
        """Whether something happens that does in so many of a hundred cases."""
        return self._random.random() * 100 < percent

    def between(self, least: int, most: int) -> int:
        """A number, both ends included."""
        return least + int(self._random.random() * (most - least + 1))

    def one(self, of: Sequence[T]) -> T:
        """One of several."""
        return of[int(self._random.random() * len(of))]

    def weighted(self, of: Sequence[tuple[int, T]]) -> T:
        """One of several, the likelier the greater its weight."""
        left = self._random.random() * sum(weight for weight, _ in of)
        for weight, value in of:
            left -= weight
            if left < 0:
                return value
        return of[-1][1]

    def shuffled(self, of: Sequence[T]) -> list[T]:
        """All of them in any order."""
        return sorted(of, key=lambda _: self._random.random())


def defaults(kind: Kind) -> tuple[str, ...]:
    """Directories that the loader of a kind looks into by default, without links in their paths."""
    if kind.libc is Libc.MUSL:
        return (f"/usr/lib/{kind.platform}-linux-musl",)
    return (f"/usr/lib/{kind.platform.triplet}", "/usr/lib")


def generate(seed: int, kind: Kind) -> World:
    """The world with a number."""
    return _Maker(seed, kind).world()


class _Maker:
    def __init__(self, seed: int, kind: Kind) -> None:
        self.dice = Dice(seed)
        self.seed = seed
        self.kind = kind
        self.paths: list[str] = []
        self.opened: list[int] = []
        self.directory = self.dice.one([ROOT, *DIRECTORIES, "/"])

    def world(self) -> World:
        """All of it."""
        dice = self.dice
        is_glibc = self.kind.libc is Libc.GLIBC
        for _ in range(dice.between(2, 9)):
            path = f"{self._directory()}/{dice.one(NAMES)}"
            if path not in self.paths:
                self.paths.append(path)
        for path in [*self.paths]:
            # The same name in ld.so.cache and in the default directories.
            again = f"{dice.one([CONFIGURED, *defaults(self.kind)])}/{posixpath.basename(path)}"
            if not path.startswith(ROOT) and again not in self.paths and dice.chance(40):
                self.paths.append(again)
        program = f"{ROOT}/bin/main"
        libraries = {program: self._library(0)}
        for number, path in enumerate(self.paths, start=1):
            libraries[path] = self._library(number, path)
        if dice.chance(4):
            # A directory that is named like a library.
            path = f"{dice.one(DIRECTORIES)}/{dice.one(NAMES)}"
            if path not in libraries:
                libraries[f"{path}/inside"] = Library(number=len(libraries), content=Content.TEXT)
        if dice.chance(10):
            # A file that is named like a directory.
            libraries[f"{ROOT}/file"] = Library(number=len(libraries), content=Content.TEXT)
        openings = [self._opening(libraries) for _ in range(dice.between(2, 7))]
        if dice.chance(25):
            openings += self._chain(libraries)
        if is_glibc and dice.chance(12):
            openings += self._twice(libraries)
        links = self._links(libraries)
        twins = {}
        if dice.chance(20):
            path = f"{dice.one(DIRECTORIES)}/{dice.one(NAMES)}"
            if path not in libraries and path not in links and not self._is_within(path, libraries):
                twins[path] = dice.one(self.paths)
        in_default = [p for p in self.paths if not p.startswith(ROOT)]
        in_configured = [p for p in self.paths if p.startswith(CONFIGURED)]
        runs = is_glibc and bool(in_configured or in_default) and dice.chance(65)
        removed: tuple[str, ...] = ()
        if runs and dice.chance(8):
            removed = (dice.one([*in_default, *in_configured]),)
        return World(
            seed=self.seed,
            kind=self.kind,
            libraries=libraries,
            links=links,
            twins={path: original for path, original in twins.items() if original not in removed},
            configured=(CONFIGURED,) if runs and in_configured else (),
            runs_ldconfig=runs,
            removed=removed,
            program=dice.weighted([(6, program), (2, f"{ROOT}/run")]),
            directory=self.directory,
            library_path=self._library_path() if dice.chance(50) else "",
            preload=self._preload() if dice.chance(20) else "",
            openings=tuple(openings),
        )

    def _chain(self, libraries: dict[str, Library]) -> list[Opening]:
        """A library that opens another, which needs a third, and so on; all in one directory.

        Whether they find each other is a matter of whose search path counts for whom, which is
        seldom so plain where all is left to chance.
        """
        dice = self.dice
        depot = f"{ROOT}/depot"
        count = dice.between(2, 3)
        paths = [f"{depot}/libchain{number}.so" for number in range(count)]
        first = len(libraries)
        for number, path in enumerate(paths):
            is_last = path == paths[-1]
            has = dice.weighted([(60, ""), (15, "rpath"), (25, "runpath")])
            leads = dice.weighted([(1, depot), (1, "$ORIGIN"), (3, f"{ROOT}/nowhere")])
            libraries[path] = Library(
                number=first + number,
                soname=dice.one([posixpath.basename(path), None]),
                needed=() if is_last else (posixpath.basename(paths[number + 1]),),
                rpath=leads if has == "rpath" else None,
                runpath=leads if has == "runpath" else None,
            )
        caller = f"{ROOT}/c/libcaller.so"
        tag = dice.one(["rpath", "rpath", "runpath"])
        needs_it = dice.chance(30)
        libraries[caller] = Library(
            number=len(libraries),
            needed=(posixpath.basename(paths[0]),) if needs_it else (),
            rpath=depot if tag == "rpath" else None,
            runpath=depot if tag == "runpath" else None,
        )
        name = dice.one([paths[0], posixpath.basename(paths[0])])
        return [
            Opening(name=caller),
            Opening(name=name, caller=libraries[caller].number),
            Opening(name=posixpath.basename(paths[-1]), caller=dice.one([0, first])),
        ]

    def _twice(self, libraries: dict[str, Library]) -> list[Opening]:
        """A name both in a configured directory and in a default one."""
        dice = self.dice
        name = "libtwice.so.1"
        for directory in (CONFIGURED, dice.one(defaults(self.kind))):
            path = f"{directory}/{name}"
            libraries[path] = Library(number=len(libraries), soname=name)
            self.paths.append(path)
        # The cache knows it by the other name as well.
        return [Opening(name=dice.one([name, name, "libtwice.so.01"]))]

    def _directory(self) -> str:
        """Where a library lies."""
        dice = self.dice
        plain = dice.weighted(
            [
                (15, dice.one(DIRECTORIES)),
                (6, dice.one(defaults(self.kind))),
                (4, CONFIGURED),
                (1, f"{ROOT}/lib/{self.kind.platform.triplet}"),
                (1, f"{ROOT}/{self.kind.platform}"),
            ]
        )
        if self.kind.libc is Libc.GLIBC and dice.chance(12):
            level = dice.one(["x86-64-v2", "x86-64-v2", "x86-64-v3", "power10"])
            return f"{plain}/glibc-hwcaps/{level}"
        return plain

    def _library(self, number: int, path: str = "") -> Library:
        dice = self.dice
        name = posixpath.basename(path)
        soname = dice.weighted([(55, name), (15, None), (30, dice.one(NAMES))]) if number else None
        if number and dice.chance(10):
            is_glibc = self.kind.libc is Libc.GLIBC
            content = dice.one([*(FOREIGN if is_glibc else ()), *BAD])
            return Library(
                number=number,
                content=content,
                # One that would be the same file to a loader that did not look closer.
                soname=name if content in FOREIGN else None,
            )
        likely = [(52, 0), (28, 1), (15, 2), (5, 3)] if number else [(50, 1), (50, 2)]
        aims = [dice.one(self.paths) for _ in range(dice.weighted(likely))]
        # Else few would start; and tokens mean nothing to musl here.
        seldom = not number or self.kind.libc is Libc.MUSL
        needed = [self._needed(aim, seldom=seldom) for aim in aims]
        if not number or dice.chance(10):
            needed.insert(dice.between(0, len(needed)), self.kind.c_library)
        # More often than not there is a way to what is needed; else most worlds would end early.
        helped = dice.chance(45 if number else 95)
        tags = [(35, ""), (27, "rpath"), (27, "runpath"), (6, "rpath runpath")]
        chosen = dice.weighted(tags[1:] if helped and aims else tags).split()
        directories = [posixpath.dirname(aim) for aim in aims] if helped else []
        # For what its libraries need, which may inherit this or not.
        share = 25 if number else 50
        directories += [posixpath.dirname(p) for p in self.paths if dice.chance(share)]
        here = posixpath.dirname(path) or f"{ROOT}/bin"
        return Library(
            number=number,
            soname=soname,
            needed=tuple(dict.fromkeys(needed)),
            rpath=self._path(here, directories) if "rpath" in chosen else None,
            runpath=self._path(here, directories) if "runpath" in chosen else None,
            # A program with it does not find its C library, and so does not start.
            no_default_libraries=dice.chance(12 if number else 1),
        )

    def _name(self) -> str:
        """A bare name, more often than not of something that is there."""
        if self.dice.chance(55):
            return posixpath.basename(self.dice.one(self.paths))
        return self.dice.weighted([(20, self.dice.one(NAMES)), (1, MISSING), (1, "libm.so.6")])

    def _needed(self, aim: str, *, seldom: bool) -> str:
        """A DT_NEEDED: the name of a library that is there, or another; ``seldom`` a path."""
        dice = self.dice
        name = posixpath.basename(aim) if dice.chance(90) else self._name()
        directory = posixpath.basename(dice.one(DIRECTORIES))
        shapes = [
            (400 if seldom else 80, name),
            (5, f"$ORIGIN/../{directory}/{name}"),
            (2, f"${{ORIGIN}}/{name}"),
            (2, f"$ORIGIN/sub/../{name}"),
            (4, f"{ROOT}/{directory}/{name}"),
            (2, f"{directory}/{name}"),
            (1, f"./{name}"),
            (1, f"{ROOT}/$LIB/{name}"),
            (1, f"{ROOT}/$PLATFORM/{name}"),
            (1, f"$ORIGINAL/{name}"),
        ]
        return dice.weighted(shapes)

    def _path(self, here: str, directories: Sequence[str] = (), *, separators: str = ":") -> str:
        """A search path with some directories and others, for a library that lies somewhere."""
        dice = self.dice
        absolute = dice.one(DIRECTORIES)
        directory = posixpath.basename(dice.one(DIRECTORIES))
        ways = [
            dice.one([one, f"{one}/", f"$ORIGIN/{posixpath.relpath(one, here)}"])
            for one in dict.fromkeys(directories)
        ]

        def part() -> str:
            return dice.weighted(
                [
                    (20, absolute),
                    (20, f"{ROOT}/{posixpath.basename(dice.one(DIRECTORIES))}"),
                    (20, f"$ORIGIN/../{directory}"),
                    (10, "$ORIGIN"),
                    (4, "${ORIGIN}"),
                    (4, f"{absolute}//"),
                    (5, ""),
                    (3, "."),
                    (3, directory),
                    (2, f"../{directory}"),
                    (8, posixpath.relpath(posixpath.dirname(dice.one(self.paths)), self.directory)),
                    (3, f"{ROOT}/$LIB"),
                    (2, "$ORIGIN/../${LIB}"),
                    (2, f"{ROOT}/$PLATFORM"),
                    (2, f"{ROOT}/${{PLATFORM}}/"),
                    (2, "$ORIGINAL"),
                    (1, "$ORIGIN$ORIGIN"),
                    (1, f"$FOO{absolute}"),
                    (4, f"{ROOT}/link"),
                    (2, f"{ROOT}/file"),
                    (2, f"{ROOT}/loop"),
                    (2, f"{ROOT}/nowhere"),
                    (2, CONFIGURED),
                ]
            )

        others = [part() for _ in range(dice.between(0 if ways else 1, 2))]
        parts = dice.shuffled([*ways, *others])
        return "".join(
            p if number == 0 else dice.one(separators) + p for number, p in enumerate(parts)
        )

    def _library_path(self) -> str:
        """LD_LIBRARY_PATH."""
        some = [posixpath.dirname(path) for path in self.paths if self.dice.chance(40)]
        separators = ":;" if self.kind.libc is Libc.GLIBC else ":"
        return self._path(f"{ROOT}/bin", some, separators=separators)

    def _preload(self) -> str:
        dice = self.dice
        names = [
            dice.weighted(
                [(4, dice.one(self.paths)), (3, self._name()), (1, "$ORIGIN/../a/liba.so")]
            )
            for _ in range(dice.between(1, 2))
        ]
        return dice.one([" ", ":"]).join(names)

    def _opening(self, libraries: dict[str, Library]) -> Opening:
        dice = self.dice
        caller = dice.between(1, len(self.paths)) if dice.chance(25) else 0
        if self.opened and dice.chance(50):
            caller = dice.one(self.opened)
        path = dice.one(self.paths)
        name = self._name()
        library_of = f"/usr/lib/{self.kind.platform.triplet}"
        shapes = [
            (40, name),
            (18, path),
            (7, "//".join(posixpath.split(path))),
            (6, f"{dice.one(DIRECTORIES)}/{name}"),
            (5, f"$ORIGIN/{name}"),
            (6, posixpath.relpath(path, self.directory)),
            (3, f"{dice.one(DIRECTORIES)}//{name}"),
            (3, f"{ROOT}/link/{name}"),
            (2, f"{ROOT}/loop/{name}"),
            (2, MISSING),
            (2, f"{ROOT}/bin/main"),
            (1, self.kind.c_library),
            (1, self.kind.interpreter),
            (1, posixpath.basename(self.kind.interpreter)),
            # Both by other paths than the loader knows them by.
            (1, f"{library_of}/{posixpath.basename(self.kind.interpreter)}"),
            (2, f"{library_of}/libc.so.6"),
            (1, f"{dice.one(defaults(self.kind))}/{self.kind.c_library}"),
            (1, f"$LIB{name}"),
            (1, f"{path}/"),
            (1, dice.one(DIRECTORIES)),
            (1, LONG),
            (1, ""),
        ]
        chosen = dice.weighted(shapes)
        if chosen in self.paths:
            # Likely to be loaded from now on, so that it can call.
            self.opened.append(libraries[chosen].number)
        return Opening(name=chosen, caller=caller)

    def _is_within(self, path: str, libraries: dict[str, Library]) -> bool:
        """Whether there is a directory of that path."""
        return any(other.startswith(f"{path}/") for other in libraries)

    def _links(self, libraries: dict[str, Library]) -> dict[str, str]:
        dice = self.dice
        links = {
            f"{ROOT}/run": "bin/main",
            f"{ROOT}/link": dice.one(["a", "b", f"{ROOT}/c"]),
            f"{ROOT}/loop": "loop",
        }
        for _ in range(dice.weighted([(40, 0), (35, 1), (25, 2)])):
            path = f"{self._directory()}/{dice.one(NAMES)}"
            target = dice.weighted(
                [
                    (6, dice.one(self.paths)),
                    (3, posixpath.relpath(dice.one(self.paths), posixpath.dirname(path))),
                    (1, "libnowhere.so"),
                    (4, posixpath.basename(path)),
                ]
            )
            if path not in libraries and not self._is_within(path, libraries):
                links[path] = target
        return links
