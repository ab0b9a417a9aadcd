"""Imports, with fifty threads that never end and take turns."""

import threading
import time


def turn() -> None:
    while True:
        time.sleep(0)


for _ in range(50):
    threading.Thread(target=turn, daemon=True).start()
