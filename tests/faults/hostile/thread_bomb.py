"""Starts threads until there are no more to be had."""

import threading
import time

try:
    for _ in range(100_000):
        threading.Thread(target=time.sleep, args=(1 << 20,), daemon=True).start()
except RuntimeError:
    raise ImportError("no more threads") from None
