"""Has children that allocate without end, again and again, and waits for them."""

import os

for _ in range(3):
    for _ in range(4):
        if os.fork() == 0:
            kept = []
            while True:
                kept.append(bytearray(16 << 20))
    for _ in range(4):
        os.wait()
raise ImportError("after 12 children")
