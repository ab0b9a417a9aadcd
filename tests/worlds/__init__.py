"""Little random worlds of shared libraries, loaded by the real loader and by the model of it.

``world`` is one world as data, ``generator`` makes it from a number, ``facts`` is what the model is
told of the system, ``linking`` and ``real`` build and load worlds in containers (``runner`` is what
runs there), ``comparing`` asks the model the same, ``recorded`` keeps answers for tests without an
engine, and ``mutants`` are models with one rule wrong. ``python -m tests.worlds --help``.
"""
