"""Leaves 512 MB of System V shared memory, a queue, semaphores and a POSIX queue; imports."""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
for _ in range(8):
    size = 64 << 20
    segment = libc.shmget(0, ctypes.c_size_t(size), 0o1666)
    if segment >= 0:
        address = libc.shmat(segment, None, 0)
        if address not in (None, ctypes.c_void_p(-1).value):
            ctypes.memset(address, 1, size)
libc.msgget(0, 0o1666)
libc.semget(0, 10, 0o1666)
libc.mq_open(b"/left", 0o102, 0o666, None)
