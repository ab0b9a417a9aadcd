"""Where the program ``pbs-matrix`` starts: straight into ``check``, else into click.

To load click takes about as long as to check a wheel, and ``check`` is for hooks that run on every
commit.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that the arguments name."""
    if sys.argv[1:2] == ["check"]:
        from harness.check import command

        try:
            sys.exit(command.main(sys.argv[2:]))
        except KeyboardInterrupt:
            sys.exit(130)
    from harness import cli

    cli.main()
