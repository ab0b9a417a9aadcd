"""``pbs-matrix check``: what becomes of anybody's extension modules, by the loader's rules alone.

``target`` is what is looked at (read by ``wheel`` and ``tree``), ``builds`` and ``baseline`` are
the interpreters and systems that it is looked at with, ``verdicts`` follows the loader, ``advice``
says what to do, and ``report``, ``jsonreport``, ``sarif`` and ``workflow`` print it. Nothing here
needs an engine but ``confirmation``.
"""
