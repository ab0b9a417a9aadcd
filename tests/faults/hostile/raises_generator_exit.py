"""Raises GeneratorExit."""

raise GeneratorExit("generator")
