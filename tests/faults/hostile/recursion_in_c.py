"""Recurses without end through C, with the interpreter's own limit put aside."""

import sys

sys.setrecursionlimit((1 << 31) - 1)


class Again:
    def __getattr__(self, name: str) -> object:
        return getattr(self, name + "x")

    def __repr__(self) -> str:
        return "".join(map(repr, [self]))


repr(Again())
