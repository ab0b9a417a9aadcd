"""Modules that do what nobody should do to a machine. Only containers may import them.

Each is put there by itself (:mod:`tests.faults.samples.laboratory`), as a stranger's module is; its
docstring says what it does.
"""

raise ImportError("these are to be imported in containers only, each by itself")
