"""``pbs-matrix check``: what becomes of anybody's extension modules, by the loader's rules alone.

``target`` is what is looked at (read by ``wheel`` and ``tree``), ``builds`` and ``baseline`` are
the interpreters and systems that it is looked at with, ``verdicts`` follows the loader, ``advice``
says what to do, and ``report``, ``jsonreport``, ``sarif`` and ``workflow`` print it. Nothing here
needs an engine but ``confirmation``.

A check is over in the time that it takes to load some large packages. So a process loads what it
needs and no more, ``unpacking`` begins meanwhile on the largest library, and nothing that a check
loads, the loader's rules included, is a dataclass: to make a class of a NamedTuple takes a fifth of
that, and needs no ``inspect``.
"""
