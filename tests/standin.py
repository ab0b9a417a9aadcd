"""A stand-in on 127.0.0.1 for GitHub's release downloads, with the same protocol, and its faults.

``python -m tests.standin --root FOLDER`` serves ``FOLDER/<tag>/<file>`` until Ctrl-C.

What GitHub does, and this does too: a download is a redirect to an object store, with a token
that is good for a while; the store knows ranges and ETags; the API has pages, the newest
publication first, and counts who asks how often.
"""

from __future__ import annotations

import argparse
import email.utils
import gzip
import hashlib
import html
import json
import math
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import get_args
from urllib.parse import parse_qs, quote, unquote, urlsplit

REPOSITORY = "astral-sh/python-build-standalone"
DOWNLOADS = f"/{REPOSITORY}/releases/download"
OBJECTS = "/objects"
MIRROR = "/mirror"
API = f"/repos/{REPOSITORY}/releases"
SUMS = "SHA256SUMS"

PIECE = 1 << 16
ALLOWANCE = 60
"""Questions to the API in an hour, of who has no token."""


# -- Faults ------------------------------------------------------------------------------------
# Those of a body leave requests alone that bring none, such as the redirect before it.


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The connection ends after so many bytes of this answer's body."""

    after: int
    reset: bool = False
    """As a firewall does it, instead of an orderly end."""


@dataclass(frozen=True, kw_only=True)
class Drip:
    """So many bytes at a time, every so many seconds."""

    count: int
    every: float


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """Other bytes, as many, under the right name."""


@dataclass(frozen=True, kw_only=True)
class Truncated:
    """The file ends early, and Content-Length agrees."""

    keep: int


@dataclass(frozen=True, kw_only=True)
class RangeIgnored:
    """The whole file with 200, whatever was asked for."""


@dataclass(frozen=True, kw_only=True)
class TagChanged:
    """Another ETag in each answer."""


@dataclass(frozen=True, kw_only=True)
class TagIgnored:
    """The range is sent whatever ``If-Range`` says; with :class:`TagChanged`, of another file."""


@dataclass(frozen=True, kw_only=True)
class Stale:
    """SHA256SUMS as it was: without some files, or with other hashes for some; globs."""

    lacking: str = ""
    other: str = ""


@dataclass(frozen=True, kw_only=True)
class Status:
    """A status instead of an answer."""

    code: int
    retry_after: str | None = None
    """Seconds, or an HTTP date."""


@dataclass(frozen=True, kw_only=True)
class RateLimited:
    """403, as GitHub's API says it: with Retry-After, with the time of the reset, or both."""

    retry_after: int | None = None
    reset: int | None = None
    """Seconds from now."""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A redirect to the same place."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A redirect to somewhere else."""

    to: str


@dataclass(frozen=True, kw_only=True)
class Silent:
    """The request is taken, and no answer comes."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A login page with status 200, as networks put in the place of anything."""


BodyFault = Cut | Drip | Wrong | Truncated | RangeIgnored | TagChanged | TagIgnored | Stale
AnswerFault = Status | RateLimited | Loop | Moved | Silent | Page
Fault = BodyFault | AnswerFault

LOGIN = b"<!DOCTYPE html>\n<html><title>Guest network</title><p>Please accept the terms.</html>\n"


def cuts(seed: int, count: int, size: int) -> list[Cut]:
    """Cuts at random places of a body of that size, the same for the same seed."""
    chance = Random(seed)
    return [Cut(after=chance.randrange(size)) for _ in range(count)]


# -- What is served ----------------------------------------------------------------------------


@dataclass(kw_only=True)
class Request:
    """A request and what came of it; ``status`` is 0 where no answer was given."""

    method: str
    path: str
    """Unquoted, without a query."""

    query: str
    headers: Mapping[str, str]
    """Their names in lower case."""

    status: int = 0
    sent: int = 0
    """Bytes of the body that the kernel took; a client that died may not have seen all."""

    @property
    def range(self) -> str | None:
        return self.headers.get("range")

    @property
    def first(self) -> int:
        """The first byte that was asked for."""
        found = re.match(r"bytes=(\d+)-", self.range or "")
        return int(found[1]) if found else 0


@dataclass(frozen=True, kw_only=True)
class Content:
    """A file, in memory or on disk."""

    source: bytes | Path
    size: int
    sha256: str

    @staticmethod
    def of(source: bytes | Path) -> Content:
        if isinstance(source, bytes):
            sha256 = hashlib.sha256(source).hexdigest()
            return Content(source=source, size=len(source), sha256=sha256)
        with source.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return Content(source=source, size=source.stat().st_size, sha256=sha256)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            yield from (self.source[n : min(n + PIECE, stop)] for n in range(start, stop, PIECE))
            return
        with self.source.open("rb") as stream:
            stream.seek(start)
            while start < stop and (piece := stream.read(min(PIECE, stop - start))):
                start += len(piece)
                yield piece


@dataclass(kw_only=True)
class Release:
    """A tag, and what belongs to it."""

    tag: str
    created: datetime
    """Of the commit."""

    published: datetime
    draft: bool = False
    prerelease: bool = False
    files: dict[str, Content] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Injected:
    glob: str
    fault: Fault
    left: float

    def fits(self, path: str, kinds: tuple[type, ...]) -> bool:
        return self.left > 0 and isinstance(self.fault, kinds) and fnmatchcase(path, self.glob)


class Standin:
    """What is served, which faults happen, and what was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.releases: dict[str, Release] = {}
        self.closing = threading.Event()
        self.tokens: set[str] = set()
        self._log: list[Request] = []
        self._faults: list[_Injected] = []
        self._busy = 0
        self._clients = 0
        self._changed = threading.Condition()

    @property
    def downloads(self) -> str:
        """What stands before ``/<tag>/<file>`` as on GitHub; a redirect."""
        return f"{self.url}{DOWNLOADS}"

    @property
    def mirror(self) -> str:
        """What stands before ``/<tag>/<file>`` on a mirror; no redirect, and pages with lists."""
        return f"{self.url}{MIRROR}"

    def add(self, tag: str, filename: str, content: bytes | Path) -> str:
        """Put a file into a release, or another in its place; its sha256."""
        if tag not in self.releases:
            self.publish(tag)
        found = self.releases[tag].files[filename] = Content.of(content)
        return found.sha256

    def publish(
        self,
        tag: str,
        *,
        date: datetime | None = None,
        published: datetime | None = None,
        draft: bool = False,
        prerelease: bool = False,
    ) -> None:
        """Say of a release when it was committed and published; without, as its tag says."""
        when = date or datetime.strptime(tag, "%Y%m%d").replace(tzinfo=UTC)
        known = self.releases.get(tag)
        self.releases[tag] = Release(
            tag=tag,
            created=when,
            published=published or when,
            draft=draft,
            prerelease=prerelease,
            files=known.files if known else {},
        )

    def sums(self, tag: str, stale: Stale | None = None) -> bytes:
        """SHA256SUMS of a release, in the published form."""
        lines = []
        for name, content in sorted(self.releases[tag].files.items()):
            if stale and fnmatchcase(name, stale.lacking):
                continue
            other = stale and fnmatchcase(name, stale.other)
            sha256 = hashlib.sha256(content.sha256.encode()).hexdigest()
            lines.append(f"{sha256 if other else content.sha256}  {name}\n")
        return "".join(lines).encode()

    def inject(self, glob: str, *faults: Fault, times: int | None = None) -> None:
        """Let faults happen to requests whose path fits, each so often (None: always).

        Of those with a number, the one injected first happens first; one without a number happens
        beside the others. Faults of the body wait for a request that brings one.
        """
        with self._changed:
            for fault in faults:
                left = math.inf if times is None else times
                self._faults.append(_Injected(glob=glob, fault=fault, left=left))

    def heal(self) -> None:
        """No more faults."""
        with self._changed:
            self._faults.clear()

    def log(self, glob: str = "*") -> list[Request]:
        """Requests whose path fits, oldest first. Waits until those that run are at their end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, timeout=10)
        return [request for request in self.log_now() if fnmatchcase(request.path, glob)]

    def settle(self) -> None:
        """Wait until every client has gone. Of one that was killed, the log is complete then.

        Asks for ``/`` itself: as clients are taken in turn, none before it is still to come.
        """
        with socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2]))) as client:
            client.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            client.recv(1)
        with self._changed:
            self._changed.wait_for(lambda: not self._clients, timeout=10)

    def log_now(self) -> list[Request]:
        """All of it, that of requests that run included."""
        with self._changed:
            return list(self._log)

    def bodies(self, name: str) -> list[Request]:
        """Requests that brought something of a file."""
        answered = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
        fit = [f"{OBJECTS}/*/{name}", f"{MIRROR}/*/{name}"]
        return [r for glob in fit for r in self.log(glob) if r.status in answered]

    def client(self, change: int) -> None:
        with self._changed:
            self._clients += change
            self._changed.notify_all()

    @contextmanager
    def answering(self, request: Request) -> Iterator[None]:
        with self._changed:
            self._log.append(request)
        with self._counted(1):
            yield

    def hang(self) -> None:
        """Until the end; :meth:`log` does not wait for that."""
        with self._counted(-1):
            self.closing.wait()

    @contextmanager
    def _counted(self, change: int) -> Iterator[None]:
        with self._changed:
            self._busy += change
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._busy -= change
                self._changed.notify_all()

    def happening(self, path: str, kinds: tuple[type, ...]) -> list[Fault]:
        """Faults of these kinds that happen now: the first with a number, and all without."""
        with self._changed:
            fit = [injected for injected in self._faults if injected.fits(path, kinds)]
            counted = [injected for injected in fit if injected.left < math.inf][:1]
            for injected in counted:
                injected.left -= 1
            always = [injected for injected in fit if injected.left == math.inf]
            return [injected.fault for injected in counted + always]


# -- How it is served --------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    standin: Standin  # of the class that serving() makes

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(parts.path),
            query=parts.query,
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        with self.standin.answering(request):
            try:
                self._answer(request)
            except OSError:  # the client has gone
                self.close_connection = True

    do_HEAD = do_GET

    def _answer(self, request: Request) -> None:
        faults = self.standin.happening(request.path, get_args(AnswerFault))
        match faults[0] if faults else None:
            case Silent():
                self.close_connection = True
                self.standin.hang()
            case Status(code=code, retry_after=after):
                headers = {} if after is None else {"Retry-After": after}
                self._say(request, code, HTTPStatus(code).phrase.encode(), headers)
            case RateLimited(retry_after=after, reset=reset):
                headers = {} if after is None else {"Retry-After": str(after)}
                if reset is not None:
                    when = str(int(time.time()) + reset)
                    headers |= {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": when}
                self._say(request, 403, b'{"message": "API rate limit exceeded"}', headers)
            case Loop():
                self._say(request, 302, b"", {"Location": self.path})
            case Moved(to=place):
                self._say(request, 302, b"", {"Location": place})
            case Page():
                self._say(request, 200, LOGIN, {"Content-Type": "text/html; charset=utf-8"})
            case _:
                self._route(request)

    def _route(self, request: Request) -> None:
        if request.path == API:
            self._list_releases(request)
            return
        for prefix in (DOWNLOADS, OBJECTS, MIRROR):
            if request.path.startswith(f"{prefix}/"):
                tag, slash, name = request.path.removeprefix(f"{prefix}/").partition("/")
                break
        else:
            self._say(request, 404, b"Not Found")
            return
        release = self.standin.releases.get(tag)
        if prefix == MIRROR and not name and slash == ("/" if tag else ""):
            names = release.files if release else [f"{tag}/" for tag in self.standin.releases]
            if release or not tag:
                self._say(request, 200, _index([*names, SUMS] if release else [*names]), HTML)
                return
        if release is None or name not in {*release.files, SUMS}:
            self._say(request, 404, b"Not Found")
        elif prefix == DOWNLOADS:
            token = hashlib.sha256(f"{time.time_ns()}{request.path}".encode()).hexdigest()[:16]
            self.standin.tokens.add(token)
            place = f"{self.standin.url}{OBJECTS}/{tag}/{quote(name)}?token={token}"
            self._say(request, 302, b"", {"Location": place})
        elif prefix == OBJECTS and request.query.removeprefix("token=") not in self.standin.tokens:
            self._say(request, 403, b"<Error><Code>AuthenticationFailed</Code></Error>")
        else:
            self._send_file(request, release, name)

    def _send_file(self, request: Request, release: Release, name: str) -> None:
        kinds = get_args(BodyFault) if request.method == "GET" else ()
        faults = self.standin.happening(request.path, kinds)
        content = release.files.get(name)
        if content is None:
            stale = next((fault for fault in faults if isinstance(fault, Stale)), None)
            content = Content.of(self.standin.sums(release.tag, stale))
        size = min([content.size, *(f.keep for f in faults if isinstance(f, Truncated))])
        tag = f'"0x{content.sha256[:15].upper()}"'
        if any(isinstance(fault, TagChanged) for fault in faults):
            tag = f'"0x{time.time_ns():015X}"'
        modified = email.utils.format_datetime(release.published, usegmt=True)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename={name}",
            "ETag": tag,
            "Last-Modified": modified,
        }
        if request.headers.get("if-none-match") == tag:
            self._say(request, 304, b"", headers)
            return
        start, stop = 0, size
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.range or "")
        holds = request.headers.get("if-range", tag) in (tag, modified)
        if any(isinstance(fault, RangeIgnored) for fault in faults):
            asked = None
        if asked and any(asked.groups()) and (holds or TagIgnored() in faults):
            start, stop = _extent(asked[1], asked[2], size)
            if start >= size:
                self._say(request, 416, b"", {**headers, "Content-Range": f"bytes */{size}"})
                return
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self._head(request, 206 if "Content-Range" in headers else 200, stop - start, headers)
        if request.method == "GET":
            self._send_body(request, content.pieces(start, stop), faults)

    def _send_body(self, request: Request, pieces: Iterator[bytes], faults: list[Fault]) -> None:
        cut = next((fault for fault in faults if isinstance(fault, Cut)), None)
        drip = next((fault for fault in faults if isinstance(fault, Drip)), None)
        if drip:  # what waits in the kernel would reach the client at once
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, drip.count)
        for piece in pieces:
            if Wrong() in faults:
                piece = piece.translate(_OTHER)
            step = drip.count if drip else len(piece)
            for part in (piece[n : n + step] for n in range(0, len(piece), step)):
                left = len(part) if cut is None else min(len(part), cut.after - request.sent)
                self.wfile.write(part[:left])
                request.sent += left
                if cut and request.sent == cut.after:
                    self._cut(cut)
                    return
                if drip and self.standin.closing.wait(drip.every):
                    return

    def _cut(self, cut: Cut) -> None:
        self.close_connection = True
        if cut.reset:
            option = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
            for end in (self.rfile, self.wfile, self.connection):  # before an orderly end is said
                end.close()

    def _list_releases(self, request: Request) -> None:
        """A page of releases, newest publication first; drafts for who has a token."""
        known = "authorization" in request.headers
        query = {key: int(values[0]) for key, values in parse_qs(request.query).items()}
        count, page = min(query.get("per_page", 30), 100), query.get("page", 1)
        releases = [r for r in self.standin.releases.values() if known or not r.draft]
        releases.sort(key=lambda release: release.published, reverse=True)
        shown = releases[(page - 1) * count : page * count]
        body = json.dumps([self._described(release) for release in shown], indent=1).encode()
        tag = f'W/"{hashlib.sha256(body).hexdigest()}"'
        limit = 5000 if known else ALLOWANCE
        used = len([r for r in self.standin.log_now() if r.path == API and r.status == 200])
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "ETag": tag,
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(limit - used - 1, 0)),
            "X-RateLimit-Reset": str(int(time.time()) + 3600),
        }
        last = max(-(-len(releases) // count), 1)
        pages = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        there = [rel for rel in pages if (page > 1 if rel in ("prev", "first") else page < last)]
        if there:
            place = f"{self.standin.url}{API}?per_page={count}&page="
            headers["Link"] = ", ".join(f'<{place}{pages[rel]}>; rel="{rel}"' for rel in there)
        if request.headers.get("if-none-match") == tag:
            self._say(request, 304, b"", headers)
            return
        if "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        self._say(request, 200, body, headers)

    def _described(self, release: Release) -> dict[str, object]:
        place = f"{self.standin.downloads}/{release.tag}"
        return {
            "tag_name": release.tag,
            "created_at": f"{release.created:%Y-%m-%dT%H:%M:%SZ}",
            "published_at": None if release.draft else f"{release.published:%Y-%m-%dT%H:%M:%SZ}",
            "draft": release.draft,
            "prerelease": release.prerelease,
            "assets": [
                {"name": name, "size": size, "browser_download_url": f"{place}/{quote(name)}"}
                for name, size in [
                    *((name, content.size) for name, content in release.files.items()),
                    (SUMS, len(self.standin.sums(release.tag))),
                ]
            ],
        }

    def _head(self, request: Request, status: int, length: int, headers: Mapping[str, str]) -> None:
        request.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _say(
        self, request: Request, status: int, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self._head(request, status, len(body), headers or {"Content-Type": "text/plain"})
        if request.method == "GET" and body:
            self.wfile.write(body)
            request.sent += len(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


_OTHER = bytes(255 - n for n in range(256))
HTML = {"Content-Type": "text/html; charset=utf-8"}


def _extent(first: str, last: str, size: int) -> tuple[int, int]:
    """Start and stop of a range; ``-5`` is the last five."""
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


def _index(names: list[str]) -> bytes:
    """A list of a folder, as web servers make it."""
    lines = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
    page = f'<html><head><title>Index</title></head><body><pre><a href="../">../</a>\n{lines}'
    return f"{page}</pre></body></html>\n".encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    standin: Standin

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        self.standin.client(1)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        super().shutdown_request(request)
        self.standin.client(-1)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, or that did not like a certificate: no news."""


@contextmanager
def serving(*, port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[Standin]:
    """Serve until the block ends; with a ``context`` as https."""
    standin = Standin()
    handler = type("Handler", (_Handler,), {"standin": standin})
    with _Server(("127.0.0.1", port), handler) as http:
        http.standin = standin
        if context:
            http.socket = context.wrap_socket(
                http.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "https" if context else "http"
        standin.url = f"{scheme}://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield standin
        finally:
            standin.closing.set()
            http.shutdown()
            thread.join()


def fill(standin: Standin, root: Path) -> None:
    """Add every ``<tag>/<file>`` of a folder."""
    for path in sorted(root.glob("*/*")):
        if path.is_file() and path.name != SUMS:
            standin.add(path.parent.name, path.name, path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.standin", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder with <tag>/<file>")
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    options = parser.parse_args()
    with serving(port=options.port) as standin:
        fill(standin, options.root)
        print(f"downloads {standin.downloads}")
        print(f"mirror    {standin.mirror}")
        print(f"API       {standin.url}{API}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
