"""Raises an exception that ends the process when it is made to text."""

import os


class Mute(Exception):
    def __str__(self) -> str:
        os._exit(0)


raise Mute
