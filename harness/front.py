"""Where the program ``pbs-matrix`` starts: straight into ``check``, else into click.

To load click takes about as long as to check a wheel, and ``check`` is for hooks that run on every
commit.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

SWITCH = 1e-4
"""Seconds after which a thread that has waited gets its turn. By default it is five thousandths:
as long as to unpack five of the pieces between which it waits."""


def main() -> None:
    """Run the command that the arguments name."""
    if sys.argv[1:2] == ["check"]:
        _check(sys.argv[2:])
    else:
        from harness import cli

        cli.main()


def _check(arguments: Sequence[str]) -> None:
    sys.setswitchinterval(SWITCH)
    # Nothing that is loaded becomes garbage.
    gc.disable()
    from harness.check import unpacking

    unpacking.begin(arguments)
    from harness.check import command

    gc.freeze()
    gc.enable()
    try:
        request = command.request(arguments)
        code = command.run(request)
    except KeyboardInterrupt:
        sys.exit(130)
    if request.also_runs:
        # A tunnel to an engine may be open, which is closed at the end.
        sys.exit(code)
    # All is printed and flushed. To take apart what was loaded, for nobody, takes as long as to
    # follow the loader.
    os._exit(code)
