"""Hashing: every algorithm that hashlib guarantees, by each of its implementations.

OpenSSL's implementations hide CPython's own, which are asked for as well: it is those that the
build can spoil. Under signals because of python-build-standalone issue 1186: BOLT took away stack
space from SHA-2 and BLAKE2, which then keep their data where the kernel puts a signal's frame.
"""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from typing import Any, Callable

Digest = Callable[[Any], bytes]

SIZES = (0, 1, 3, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 255, 256, 257, 1000, 2047, 4097)
"""Bytes: around the algorithms' block sizes, and on both sides of 2048, from which on hashlib
releases the interpreter's lock."""

OFFSETS = (0, 1, 3, 7)
"""Where in a buffer the bytes begin: mostly where no number of theirs is aligned."""

THREADS = 4

SIGNALS = 100

DATA = bytes((131 * number + 7) % 251 for number in range(5000))

# First halves (16 bytes) of the digest of b"abc", and of that of all the digests of the first n
# bytes of DATA, n from SIZES, one after the other. A SHAKE's digest has 32 bytes.
KNOWN = {
    "blake2b": (
        "ba80a53f981c4d0d6a2797b69f12f6e9",
        "5e22f6bbfb23a571ae3645add75f7140",
    ),
    "blake2s": (
        "508c5e8c327c14e2e1a72ba34eeb452f",
        "7c5ea39cdb5211edf4cb664b5115315f",
    ),
    "md5": (
        "900150983cd24fb0d6963f7d28e17f72",
        "0a09122eaa695846164d984481efc61d",
    ),
    "sha1": (
        "a9993e364706816aba3e25717850c26c",
        "0e7a35d996764afdb39ed40953ded310",
    ),
    "sha224": (
        "23097d223405d8228642a477bda255b3",
        "2c362d86ed18d4b514bf7fb456b1d7fa",
    ),
    "sha256": (
        "ba7816bf8f01cfea414140de5dae2223",
        "875f0d849b291261a4bdf48f2f9d7084",
    ),
    "sha384": (
        "cb00753f45a35e8bb5a03d699ac65007",
        "91afa01b81f193abe0236e4a8648e026",
    ),
    "sha3_224": (
        "e642824c3f8cf24ad09234ee7d3c766f",
        "07a922ecf4f12513f3fa095f91728c81",
    ),
    "sha3_256": (
        "3a985da74fe225b2045c172d6bd390bd",
        "234ff6e6f8988915084f13469b6b1e3b",
    ),
    "sha3_384": (
        "ec01498288516fc926459f58e2c6ad8d",
        "6f3f92ebac2b432b5d864a2452101b61",
    ),
    "sha3_512": (
        "b751850b1a57168a5693cd924b6b096e",
        "9596239e82205df9d8b5ac2d40d9730c",
    ),
    "sha512": (
        "ddaf35a193617abacc417349ae204131",
        "1660dffccea8d54cd674b19991a8af5a",
    ),
    "shake_128": (
        "5881092dd818bf5cf8a3ddb793fbcba7",
        "b46f665c60880b59427bcdee757dd02b",
    ),
    "shake_256": (
        "483366601360a8771c6863080cc4114d",
        "715c7e85d6438bb5d31e333713bc8807",
    ),
}


def implementations(name: str) -> dict[str, Digest]:
    """Each implementation of an algorithm, by where it comes from."""
    makers = {"hashlib": getattr(hashlib, name), "new": lambda data: hashlib.new(name, data)}
    # The way in that CPython's own tests use.
    builtin = getattr(hashlib, "__get_builtin_constructor", None)
    if builtin is not None:
        makers["builtin"] = builtin(name)

    def digest(make: Callable[[Any], Any]) -> Digest:
        if name.startswith("shake_"):
            return lambda data: bytes(make(data).digest(32))
        return lambda data: bytes(make(data).digest())

    return {origin: digest(make) for origin, make in makers.items()}


def summary(digest: Digest) -> str:
    """The first half of the digest of the digests of all sizes, each at every offset.

    Raises ``AssertionError`` where a digest depends on where the bytes lie.
    """
    digests: list[bytes] = []
    for size in SIZES:
        found = set()
        for offset in OFFSETS:
            buffer = bytearray(offset + size)
            buffer[offset:] = DATA[:size]
            found.add(digest(memoryview(buffer)[offset:]))
        assert len(found) == 1, f"the digest of {size} bytes depends on their address"
        digests += found
    return digest(b"".join(digests)).hex()[:32]


def verify(name: str, origin: str, digest: Digest) -> None:
    """Raises ``AssertionError`` where an implementation's digests are not the known ones."""
    short, long = KNOWN[name]
    for what, found, right in (
        ("b'abc'", digest(b"abc").hex()[:32], short),
        ("the digests of all sizes", summary(digest), long),
    ):
        assert found == right, f"{name} ({origin}) of {what} begins {found} instead of {right}"


def check_digests() -> str:
    """All implementations of all algorithms, one after the other."""
    missing = hashlib.algorithms_guaranteed - set(KNOWN)
    assert not missing, f"no digest is known of {sorted(missing)}"
    count = 0
    for name in sorted(KNOWN):
        for origin, digest in implementations(name).items():
            verify(name, origin, digest)
            count += 1
    return f"{count} implementations of {len(KNOWN)} algorithms"


def check_threads() -> str:
    """SHA-2 and BLAKE2 in several threads at once."""
    errors: list[str] = []

    def work() -> None:
        for name in ("sha256", "sha512", "blake2b", "blake2s"):
            for origin, digest in implementations(name).items():
                try:
                    verify(name, origin, digest)
                except AssertionError as error:
                    errors.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    return f"{THREADS} threads"


def check_signals() -> str:
    """SHA-2 and BLAKE2 while signals arrive."""
    return under_signals(
        {
            name + " " + origin: digest
            for name in ("sha256", "sha512", "blake2b", "blake2s")
            for origin, digest in implementations(name).items()
        }
    )


def under_signals(digests: dict[str, Digest]) -> str:
    """Hash long enough that a signal arrives meanwhile, many times, and compare.

    One signal for each digest, so that a slow machine gets on.
    """
    arrived = []
    before = signal.signal(signal.SIGALRM, lambda *_: arrived.append(True))
    try:
        for name, digest in digests.items():
            data = DATA * 4
            right = digest(data)
            start = time.perf_counter()
            assert digest(data) == right, f"{name} changes its mind"
            seconds = time.perf_counter() - start
            for number in range(SIGNALS):
                signal.setitimer(signal.ITIMER_REAL, max(1e-6, seconds * (number + 1) / SIGNALS))
                found = digest(data)
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert found == right, f"{name} is wrong when a signal arrives meanwhile"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return f"{len(arrived)} signals arrived"
