"""Recurses without end."""


def again() -> None:
    again()


again()
