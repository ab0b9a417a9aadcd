"""Faults that are injected on purpose, and what the project makes of each.

``python -m tests.faults`` runs them on the real engine and prints a table: the fault, what
happened, the verdict, the seconds until all was as before, and what was left behind.
"""
