"""``pbs-matrix bisect`` and ``timeline``: which release broke it, and which mended it.

``search`` decides what to ask next and how it ends; it knows nothing of releases or of how a
question is answered.
"""
