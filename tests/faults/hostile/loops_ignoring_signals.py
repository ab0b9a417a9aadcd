"""Ignores every signal that can be, and loops forever."""

import signal

for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, signal.SIG_IGN)
    except OSError:  # the C library's own
        continue
while True:
    pass
