"""Imports; at exit it waits forever, and so does a thread that is no daemon."""

import atexit
import threading
import time

atexit.register(time.sleep, 1 << 20)
threading.Thread(target=time.sleep, args=(1 << 20,)).start()
