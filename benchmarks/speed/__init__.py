"""What ``benchmarks/harness_speed.py`` is made of.

``reference`` says which cells; ``naive``, ``project`` and ``floor`` run them in three ways;
``machine`` and ``usage`` say on what and with how much of it; ``figures`` has the arithmetic,
``table`` and ``history`` what becomes of it. ``spans`` (a pytest plugin), ``account`` and ``chart``
say where the time of a run goes.
"""
