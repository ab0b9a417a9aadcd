"""``pbs-matrix bench``: is an interpreter with libpython inside faster, as is said?

Release 20250517 of python-build-standalone links libpython into the interpreter because that is
said to make it 15-25 % faster. ``suite`` says what is run, ``contestants`` and ``pair`` make the
two interpreters, ``measuring`` runs them in containers, ``report`` has the statistics and the file,
``table`` and ``chart`` show it.
"""
