"""The dynamic loader, as a model: which file a name leads to, from ELF files alone.

``objects`` is what an ELF file says of itself, ``files`` what lies where, ``process`` what a loader
knows and what it answers; ``glibc`` and ``musl`` are two loaders with one interface. Nothing here
reads a file or runs anything: all are functions of plain data.
"""
