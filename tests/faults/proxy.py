"""A proxy on an engine's socket that makes chosen calls fail.

It forwards each request to the real engine, notes what was asked and from which place of the
source (a header that :mod:`tests.faults.callsites` adds), and does to a chosen call what an
:class:`Act` says. Uploads, chunked answers, kept connections and the raw streams of ``attach`` and
``exec`` go through as they are.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from io import BufferedReader
from pathlib import Path
from typing import Self
from urllib.parse import unquote

SITE_HEADER = "x-call-site"

FULL = "write /var/lib/docker/tmp/x: no space left on device"

MAX_HEAD = 1 << 20
PIECE = 1 << 16


class Act(StrEnum):
    """What is done to a call."""

    CONFLICT = "409"
    ERROR = "500"
    EOF = "EOF"
    """The engine does what it was asked; the connection ends without a byte of its answer."""
    TIMEOUT = "time-out"
    """The engine is never asked, and nothing is said until the client gives up."""
    CUT = "cut"
    """The connection ends in the middle of the answer."""
    LATE = "late"
    """The engine does what it was asked, and nothing is said of it."""
    MISSING = "404"
    FULL = "no space"
    """An error that says that the disk is full; of a build and a pull, in the stream."""
    SLOW = "slow"
    """It is done after some seconds."""
    GARBAGE = "garbage"
    HTML = "HTML"
    PROTOCOL = "another protocol"
    EMPTY = "empty JSON"
    HUGE = "huge JSON"
    CUT_QUESTION = "stream cut in a question"
    """A raw stream ends as soon as the client has written something into it."""
    HALF_FRAME = "half a frame"
    """A raw stream ends in the middle of the first answer to what the client has written."""
    SWALLOW = "swallowed answers"
    """Nothing comes out of a raw stream after the client has written something into it."""
    MEANWHILE = "meanwhile"
    """Something is done (:attr:`Order.then`) while a raw stream has its first question."""


STREAM_ACTS = frozenset({Act.CUT_QUESTION, Act.HALF_FRAME, Act.SWALLOW, Act.MEANWHILE})

CANNED = {
    Act.CONFLICT: (409, b'{"message": "a fault was injected: conflict"}'),
    Act.ERROR: (500, b'{"message": "a fault was injected: server error"}'),
    Act.MISSING: (404, b'{"message": "a fault was injected: no such thing"}'),
    Act.FULL: (500, json.dumps({"message": FULL}).encode()),
    Act.EMPTY: (200, b"{}"),
    Act.HUGE: (200, b'{"Id": "' + b"a" * (32 << 20) + b'"}'),
}

RAW = {
    Act.GARBAGE: bytes(range(256)) * 4 + b"\r\n\r\n",
    Act.PROTOCOL: b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    Act.HTML: (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 47\r\n\r\n"
        b"<html><body><h1>It works!</h1>\x1b[31m</body></html>"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Head:
    """The first line and the headers of a request or an answer."""

    first: str
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, data: bytes) -> Head:
        """From bytes that end with an empty line; :class:`ValueError` if they are no such thing."""
        first, *lines = data.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError(f"no header: {line[:80]!r}")
            headers.append((name.strip(), value.strip()))
        if len(first.split(" ", 2)) < 2:
            raise ValueError(f"no first line: {first[:80]!r}")
        return cls(first=first, headers=tuple(headers))

    def get(self, name: str) -> str:
        """A header, by its name in lower case; empty where there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def without(self, name: str) -> Head:
        """The same without a header."""
        left = tuple((key, value) for key, value in self.headers if key.lower() != name)
        return Head(first=self.first, headers=left)

    def sized(self, length: int) -> Head:
        """The same for a body of so many bytes, not in chunks."""
        plain = self.without("transfer-encoding").without("content-length")
        return Head(first=self.first, headers=(*plain.headers, ("Content-Length", str(length))))

    def encode(self) -> bytes:
        """As it goes over the wire."""
        lines = [self.first, *(f"{name}: {value}" for name, value in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @property
    def method(self) -> str:
        """Of a request."""
        return self.first.split(" ")[0]

    @property
    def target(self) -> str:
        """Of a request: path and query."""
        return self.first.split(" ")[1]

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.first.split(" ")[1])

    @property
    def is_chunked(self) -> bool:
        """Whether the body is in chunks."""
        return "chunked" in self.get("transfer-encoding").lower()

    @property
    def length(self) -> int | None:
        """Bytes of the body, where that is said."""
        text = self.get("content-length")
        return int(text) if text.isdecimal() else None


_VERSION = re.compile(r"^/v\d+\.\d+(?=/)")
_NAMED = re.compile(
    r"^/(containers|exec|networks|volumes)/(?!(?:create|json|prune)$)[^/]+(?P<rest>/.*)?$"
)
_IMAGE = re.compile(
    r"^/images/(?!(?:create|json|load|search|prune)$).+?(?P<rest>/(?:json|history|get|tag|push))?$"
)


def template(target: str) -> str:
    """The path of a request without version, query, ids and names: ``/containers/{}/start``."""
    path = _VERSION.sub("", target.partition("?")[0])
    if match := _NAMED.match(path):
        return f"/{match[1]}/{{}}{match['rest'] or ''}"
    if match := _IMAGE.match(path):
        return f"/images/{{}}{match['rest'] or ''}"
    return path


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that came, and what was done to it; None where it was only forwarded."""

    site: str
    call: str
    """Method and path, as :func:`template` has it."""
    target: str
    act: Act | None = None


@dataclass(kw_only=True)
class Order:
    """What is to be done to which calls."""

    act: Act
    site: str | None = None
    """None: from anywhere."""
    call: str | None = None
    """None: whatever is asked."""
    skip: int = 0
    """How many that match are let through before."""
    times: int | None = 1
    """How often; None for always."""
    seconds: float = 5.0
    """How long a slow one takes."""
    then: Callable[[Call], None] | None = None
    """Is called before the act, or in the question, say to do something to the engine."""
    done: int = field(default=0, init=False)

    def takes(self, call: Call) -> bool:
        """Whether it is meant; counts."""
        if self.site not in (None, call.site) or self.call not in (None, call.call):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None and self.done >= self.times:
            return False
        self.done += 1
        return True


@dataclass(kw_only=True)
class Registry:
    """A registry that the engine has, as far as the client can tell.

    What is said of ``name`` is true of an image that the engine has under another one.
    """

    name: str
    image: str
    """What is under the name once it was pulled."""
    there: str | None = None
    """What is under it now."""

    def replaced(self, head: Head) -> Head | bytes | None:
        """A request for ``name``: another one in its stead, or the answer; None for all others."""
        path = unquote(head.target)
        if head.method == "POST" and template(head.target) == "/images/create":
            self.there = self.image
            return b'{"status": "Pulled"}\r\n'
        if self.there is None or f"/images/{self.name}" not in path:
            return None
        if head.method == "DELETE":
            self.there = None
            return b"[]"
        first = f"{head.method} {path.replace(self.name, self.there)} HTTP/1.1"
        return Head(first=first, headers=head.headers)


class Closed(Exception):
    """The other side has ended the connection."""


def read_head(stream: BufferedReader) -> bytes:
    """Up to and including the empty line; nothing at the end of the connection."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        line = stream.readline(MAX_HEAD)
        if not line or len(data) > MAX_HEAD:
            return b""
        data += line
    return data


def pieces(stream: BufferedReader, head: Head, *, is_answer: bool) -> Iterable[bytes]:
    """The body after a head, as it is on the wire, chunk by chunk.

    :class:`Closed` where it ends before its end.
    """
    if head.is_chunked:
        while True:
            line = stream.readline(MAX_HEAD)
            if not line:
                raise Closed
            size = int(line.split(b";")[0], 16)
            # With the end of its line; after the last chunk, trailers and an empty line.
            rest = _exactly(stream, size + 2) if size else _trailers(stream)
            yield line + rest
            if not size:
                return
    elif head.length is not None:
        left = head.length
        while left:
            data = stream.read1(min(PIECE, left))
            if not data:
                raise Closed
            left -= len(data)
            yield data
    elif is_answer:
        while data := stream.read1(PIECE):
            yield data


def unpacked(body: Iterable[bytes], head: Head) -> Iterable[bytes]:
    """What :func:`pieces` gives, without what marks chunks."""
    for piece in body:
        if head.is_chunked:
            line, _, rest = piece.partition(b"\r\n")
            piece = rest[: int(line.split(b";")[0], 16)]
        yield piece


def has_body(method: str, status: int) -> bool:
    """Whether an answer has a body at all."""
    return method != "HEAD" and status >= 200 and status not in (204, 304)


def _exactly(stream: BufferedReader, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise Closed
    return data


def _trailers(stream: BufferedReader) -> bytes:
    data = b""
    while (line := stream.readline(MAX_HEAD)) != b"\r\n":
        if not line:
            raise Closed
        data += line
    return data + line


class Proxy:
    """Serves a socket in a folder of its own, until the end of the context."""

    def __init__(self, engine: str) -> None:
        """``engine``: path of the real engine's socket."""
        self.engine = engine
        self._folder = tempfile.TemporaryDirectory(prefix="p-", dir="/tmp")
        self.path = Path(self._folder.name) / "engine.sock"
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._orders: list[Order] = []
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.selinux = False
        """Whether the engine is made to say that it has SELinux, so that nothing is mounted."""
        self.registry: Registry | None = None

    @property
    def address(self) -> str:
        """For ``DOCKER_HOST``."""
        return f"unix://{self.path}"

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._folder.cleanup()

    def order(self, *orders: Order) -> None:
        """Have only these done from now on."""
        with self._lock:
            self._orders = list(orders)

    def reset(self) -> None:
        """Let everything through as it is."""
        self.order()
        self.selinux, self.registry = False, None

    def calls(self) -> tuple[Call, ...]:
        """What came since this was last asked."""
        with self._lock:
            found, self._calls = tuple(self._calls), []
        return found

    def listen(self) -> None:
        """Take connections, again."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Take no more connections, and cut those that there are, as an engine does that ends."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
            self.path.unlink(missing_ok=True)
        self.cut()

    def cut(self) -> None:
        """End every connection that there is."""
        with self._lock:
            there = list(self._open)
        for one in there:
            _end(one)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX)
        with self._lock:
            self._open |= {near, far}
        try:
            with near, far:
                far.connect(self.engine)
                with near.makefile("rb") as asked, far.makefile("rb") as said:
                    while self._one(near, far, asked, said):
                        pass
        except (OSError, Closed, ValueError):
            pass  # one of the two has gone, which the other one is told by the end of its own
        finally:
            with self._lock:
                self._open -= {near, far}

    def _one(
        self,
        near: socket.socket,
        far: socket.socket,
        asked: BufferedReader,
        said: BufferedReader,
    ) -> bool:
        """Serve one request; whether another one may come."""
        data = read_head(asked)
        if not data:
            return False
        head = Head.parse(data)
        order, call = self._note(head)
        act = order.act if order else None
        if order and order.then and act is not Act.MEANWHILE:
            order.then(call)
        if act is Act.SLOW and order:
            threading.Event().wait(order.seconds)
        body = pieces(asked, head, is_answer=False)
        if act in CANNED or act in RAW or act is Act.TIMEOUT:
            for _ in body:  # a client that is still sending would not look at an answer
                pass
            return _answered(act, call, near, asked)
        replaced = self.registry.replaced(head) if self.registry else None
        if isinstance(replaced, bytes):
            for _ in body:
                pass
            return _said_instead(replaced, act, near, asked)
        far.sendall((replaced or head).without(SITE_HEADER).encode())
        for piece in body:
            # An engine may refuse before it has read all; then its answer is there to be read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                far.sendall(piece)
        answer = Head.parse(read_head(said) or b"")
        if answer.status == 101 or (head.get("upgrade") and answer.status == 200):
            if act is Act.EOF or act is Act.CUT:
                return False
            near.sendall(answer.encode())
            if act is Act.LATE:
                _wait_for_end(asked)
                return False
            _Stream(near, far, asked, said, call, order).relay()
            return False
        return self._relay(call, head, answer, near, asked, said)

    def _relay(
        self,
        call: Call,
        head: Head,
        answer: Head,
        near: socket.socket,
        asked: BufferedReader,
        said: BufferedReader,
    ) -> bool:
        """Hand an answer over, as far as the act lets it; whether another request may come."""
        act = call.act
        has = has_body(head.method, answer.status)
        body = pieces(said, answer, is_answer=True) if has else ()
        if act in (Act.EOF, Act.LATE):
            for _ in body:
                pass
            if act is Act.LATE:
                _wait_for_end(asked)
            return False
        if act is Act.CUT:
            whole = answer.encode()
            near.sendall(whole if has else whole[: len(whole) // 2])
            for piece in body:
                near.sendall(piece[: (len(piece) + 1) // 2])
                break
            return False
        if self.selinux and call.call == "GET /info":
            whole = b"".join(unpacked(body, answer)).replace(
                b'"SecurityOptions":[', b'"SecurityOptions":["selinux",'
            )
            near.sendall(answer.sized(len(whole)).encode() + whole)
            return True
        near.sendall(answer.encode())
        for piece in body:
            near.sendall(piece)
        ends_with_body = has and not answer.is_chunked and answer.length is None
        return not ends_with_body and "close" not in answer.get("connection").lower()

    def _note(self, head: Head) -> tuple[Order | None, Call]:
        site = head.get(SITE_HEADER)
        call = Call(site=site, call=f"{head.method} {template(head.target)}", target=head.target)
        with self._lock:
            order = next((order for order in self._orders if order.takes(call)), None)
            if order:
                call = Call(site=site, call=call.call, target=call.target, act=order.act)
            self._calls.append(call)
        return order, call


def _answered(act: Act | None, call: Call, near: socket.socket, asked: BufferedReader) -> bool:
    """Answer in the engine's stead; whether another request may come."""
    if act is Act.TIMEOUT:
        _wait_for_end(asked)
        return False
    if act in RAW:
        near.sendall(RAW[act])
        return False
    assert act is not None
    status, body = CANNED[act]
    if act is Act.FULL and call.call in ("POST /build", "POST /images/create"):
        status = 200
        lines = (
            {"stream": "Step 1/2 : FROM scratch\n"},
            {"errorDetail": {"message": FULL}, "error": FULL},
        )
        body = b"".join(json.dumps(line).encode() + b"\r\n" for line in lines)
    near.sendall(_with_head(status, body))
    return True


def _said_instead(body: bytes, act: Act | None, near: socket.socket, asked: BufferedReader) -> bool:
    """Hand over an answer that is not the engine's, as far as the act lets it."""
    if act is Act.LATE:
        _wait_for_end(asked)
    if act in (Act.EOF, Act.LATE):
        return False
    answer = _with_head(200, body)
    near.sendall(answer[: -(len(body) // 2 + 1)] if act is Act.CUT else answer)
    return act is not Act.CUT


def _with_head(status: int, body: bytes) -> bytes:
    return (
        f"HTTP/1.1 {status} Injected\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _wait_for_end(asked: BufferedReader) -> None:
    while asked.read1(PIECE):
        pass


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


class _Stream:
    """Both directions of a raw stream, the end of one handed on as the end of that one alone."""

    def __init__(
        self,
        near: socket.socket,
        far: socket.socket,
        asked: BufferedReader,
        said: BufferedReader,
        call: Call,
        order: Order | None,
    ) -> None:
        self._near, self._far = near, far
        self._asked, self._said = asked, said
        self._call, self._order = call, order
        self._act = order.act if order and order.act in STREAM_ACTS else None
        self._was_asked = threading.Event()

    def relay(self) -> None:
        """Until both have ended."""
        back = threading.Thread(target=self._back, daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            while data := self._asked.read1(PIECE):
                if self._act is Act.CUT_QUESTION:
                    self._cut()
                is_first = not self._was_asked.is_set()
                self._was_asked.set()
                # Before the container has it, which could else answer first.
                if self._act is Act.MEANWHILE and is_first and self._order and self._order.then:
                    self._order.then(self._call)
                self._far.sendall(data)
        with contextlib.suppress(OSError):
            self._far.shutdown(socket.SHUT_WR)
        back.join()

    def _back(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._said.read1(PIECE):
                if self._was_asked.is_set() and self._act is Act.SWALLOW:
                    continue
                if self._was_asked.is_set() and self._act is Act.HALF_FRAME:
                    self._near.sendall(half(data))
                    self._cut()
                self._near.sendall(data)
        with contextlib.suppress(OSError):
            self._near.shutdown(socket.SHUT_WR)

    def _cut(self) -> None:
        _end(self._near)
        _end(self._far)


def half(data: bytes) -> bytes:
    """The header of a frame that promises all of what it had, and half of that."""
    if len(data) < 8:
        return data[: len(data) // 2]
    size = int(struct.unpack(">L", data[4:8])[0])
    return data[: 8 + max(1, min(size, len(data) - 8) // 2)]
