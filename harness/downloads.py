"""Downloads that go on where they stopped, and are what they should be or are not there.

A file is known by its sha256, so it does not matter who sends which part of it: what a process
that was killed has left is gone on with by the next one, from whichever place answers, and the
whole is checked at the end. Only then does it get its name in the cache.
"""

from __future__ import annotations

import datetime
import email.utils
import errno
import json
import os
import re
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from random import SystemRandom
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests

from harness import cache, network
from harness.errors import FetchError, HashMismatchError, causes
from harness.interruption import RUNS
from harness.progress import SILENT, Progress, size_of

KIND = "upstream"
PARTIAL = "partial"
"""Folder of the cache with what is not whole yet; cleared by age, since a run goes on with it."""

AT_ONCE = 4
"""Downloads of one process at the same time; more make no network faster."""

LARGEST = 1 << 30
"""Bytes; no published archive has a quarter of it, and an answer without an end ends here."""

_PIECE = 1 << 16
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NAME = re.compile(r"\w[\w.+~%-]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")

_ADVICE = "Check the network and proxy, or name a mirror with --mirror."
_CHANGED = "Do not use it: a proxy, a login page of the network or a mirror put it there."
_SLOTS = threading.BoundedSemaphore(AT_ONCE)
_UNANSWERED: set[str] = set()
"""Hosts that did not answer; with many files to fetch, each is not waited for as long again."""

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often and how long to try; times are seconds."""

    attempts: int = 5
    """In a row that brought nothing (less than :attr:`step`)."""

    most: int = 100
    """In all, for one URL, whatever they brought."""

    step: int = 1 << 16
    """Bytes that count as getting on."""

    first: float = 0.5
    """Pause before the second attempt; it doubles with each further one, up to ``longest``."""

    longest: float = 20.0
    retry_after: float = 60.0
    """The longest pause that a server may ask for; for a longer one nobody waits."""

    silence: float = network.TIMEOUT[1]
    """Between two pieces of an answer."""

    floor: float = 1000.0
    """Bytes per second; whoever sends less during ``window`` is asked anew."""

    window: float = 30.0


PATIENCE = Patience()
"""What holds where a call says nothing else."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A small file: its content, and how to ask whether it has changed."""

    url: str
    """The candidate that gave it."""

    body: bytes | None
    """None: it is still the one that has the ``etag`` that was given."""

    etag: str | None = None
    next: str | None = None
    """URL of the next page, where the answer names one."""


def fetch(
    urls: Sequence[str],
    *,
    name: str,
    sha256: str,
    progress: Progress = SILENT,
    patience: Patience | None = None,
) -> Path:
    """A file in the cache, from the first of ``urls`` (http, https, file) that has it.

    Of several processes that ask at the same time one downloads. Raises :class:`FetchError`,
    :class:`HashMismatchError` or :class:`harness.errors.DiskFullError`; each leaves nothing in the
    cache but the part that is here already, if that may be used another time.
    """
    if not _NAME.fullmatch(name) or not _SHA256.fullmatch(sha256):
        raise FetchError(
            f"{name!r} with sha256 {sha256!r} is no file to fetch",
            advice="A list of files that says so is damaged, or is not what it seems.",
        )
    here = _Partial(name, sha256)

    def make(path: Path) -> None:
        if not here.is_whole():
            patient = patience or PATIENCE
            download = _Download(
                here=here, name=name, sha256=sha256, progress=progress, patience=patient
            )
            _from_any(urls, name, patient, progress, download.take, here.size)
        here.put(path)

    final = cache.entry(KIND, sha256, make, suffix=f"-{name}")
    here.let_go(final)
    return final


def read(
    urls: Sequence[str],
    *,
    limit: int = 8 << 20,
    etag: str | None = None,
    progress: Progress = SILENT,
    patience: Patience | None = None,
) -> Document:
    """A small document from the first of ``urls`` that has it; nothing of it is kept.

    ``limit`` is in bytes. With ``etag``, of an earlier one, the body is sent only if it is another
    by now. Raises :class:`FetchError`.
    """
    patient = patience or PATIENCE

    def take(session: requests.Session, url: str) -> Document:
        if (path := _local(url)) is not None:
            return Document(url=url, body=_read_file(path, limit))
        headers = {"If-None-Match": etag} if etag else {}
        with _answer(session, url, headers, patient) as answer:
            tag = answer.headers.get("ETag", etag if answer.status_code == 304 else None)
            following = answer.links.get("next", {}).get("url")
            if answer.status_code == HTTPStatus.NOT_MODIFIED:
                return Document(url=url, body=None, etag=tag, next=following)
            body = bytearray()
            # Counted after unpacking, or a few bytes could fill the memory.
            for piece in _pieces(answer, patient, unpack=True):
                body += piece
                if len(body) > limit:
                    raise _Failure(f"it is larger than {size_of(limit)}")
            return Document(url=url, body=bytes(body), etag=tag, next=following)

    name = network.shown(urls[0]) if urls else "nothing"
    return _from_any(urls, name, patient, progress, take, lambda: 0)


class _Failure(Exception):
    """Why one attempt at one URL brought nothing, or not all."""

    def __init__(
        self,
        why: str,
        *,
        again: bool = False,
        wait: float | None = None,
        unanswered: bool = False,
        mismatch: bool = False,
        advice: str = _ADVICE,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.again = again
        self.wait = wait
        """Seconds after which the server wants to be asked again; None where it did not say."""
        self.unanswered = unanswered
        self.mismatch = mismatch
        self.advice = advice


class _Partial:
    """The part of a file that is here, and by what the server would know the rest of it."""

    def __init__(self, name: str, sha256: str) -> None:
        self.path = cache.root() / PARTIAL / f"{sha256[:24]}-{name}.part"
        self._notes = self.path.with_name(f"{self.path.name}.json")
        self._sha256 = sha256

    def size(self) -> int:
        """Bytes; 0 where nothing is here."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def is_whole(self) -> bool:
        """Whether it only has to be given its name: of a process that died just before."""
        return self.size() > 0 and self.digest() == self._sha256

    def digest(self) -> str:
        """sha256 of what is here."""
        return cache.file_digest(self.path)

    def validators(self, url: str) -> Mapping[str, str]:
        """ETag and Last-Modified of the part here, as this URL gave them; empty if another did."""
        try:
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
            known = notes["url"] == network.shown(url)
            return {str(k): str(v) for k, v in notes["validators"].items()} if known else {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            # Not there, or damaged. Without them the part may be another version's; its sha256
            # will tell.
            return {}

    def note(self, url: str, headers: Mapping[str, str]) -> None:
        """Write down what to go on by, before the first byte is there."""
        names = ("ETag", "Last-Modified")
        validators = {name: headers[name] for name in names if name in headers}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._notes.with_name(f"{self._notes.name}.new")
        text = json.dumps({"url": network.shown(url), "validators": validators})
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(self._notes)

    def is_page(self) -> bool:
        """Whether it looks like HTML, as networks send that want a login or forbid something."""
        with self.path.open("rb") as stream:
            return stream.read(512).lstrip().lower().startswith((b"<!doctype html", b"<html"))

    def discard(self) -> None:
        """Forget it all."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)

    def put(self, path: Path) -> None:
        """Give the whole file its place, and keep it here too until that is done.

        So that a process killed in between leaves nothing that would have to be fetched again.
        """
        with self.path.open("rb") as stream:
            os.fsync(stream.fileno())  # else the name may outlive a power cut, and the bytes not
        try:
            path.hardlink_to(self.path)
        except OSError as error:
            if _is_full(error):
                raise
            shutil.move(self.path, path)  # a file system without hard links
            self.discard()

    def let_go(self, final: Path) -> None:
        """Remove what is left here of a file that has its place.

        Only if it is that file: another process may have begun anew, where somebody has emptied
        the cache meanwhile.
        """
        with suppress(OSError):
            if self.path.samefile(final):
                self.discard()


@dataclass(frozen=True, kw_only=True)
class _Download:
    """One file on its way."""

    here: _Partial
    name: str
    sha256: str
    progress: Progress
    patience: Patience
    wrong: set[str] = field(default_factory=set)
    """URLs that gave another file."""

    def take(self, session: requests.Session, url: str) -> None:
        """One attempt: what is missing, and the check of the whole."""
        if (path := _local(url)) is not None:
            self._copy(path)
        else:
            self._go_on(session, url)
        self._verify(url)

    def _copy(self, path: Path) -> None:
        """Not a link: who keeps a mirror may write into its files."""
        self.here.discard()
        try:
            with path.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                self._require(size)
                self.progress.started(self.name, total=size, done=0)
                self._write(iter(lambda: stream.read(_PIECE), b""), 0)
        except (OSError, ValueError) as error:
            if _is_full(error):
                raise
            raise _Failure(_words(error)) from error

    def _go_on(self, session: requests.Session, url: str) -> None:
        """Add the bytes that are missing."""
        done = self.here.size()
        validators = self.here.validators(url) if done else {}
        etag = validators.get("ETag", "")
        strong = "" if etag.startswith("W/") else etag  # RFC 9110, 13.1.5
        headers = {"Accept-Encoding": "identity"}  # the bytes that the sha256 is of
        if done:
            headers["Range"] = f"bytes={done}-"
            if known := strong or validators.get("Last-Modified"):
                headers["If-Range"] = known
        with _answer(session, url, headers, self.patience) as answer:
            start, total = _extent(answer)
            tag = answer.headers.get("ETag")
            if start not in (0, done) or (start and strong and tag and tag != strong):
                self.here.discard()
                raise _Failure("it is another file than before; from its beginning", again=True)
            page = answer.headers.get("Content-Type", "").startswith("text/html")
            if start != done and page:  # what is here is worth more than a login page
                raise _Failure("it sends an HTML page", again=True, advice=_CHANGED)
            if start != done:
                what = "it sends all of it, not only what is missing; from its beginning"
                self.progress.retried(self.name, f"{_host(url)}: {what}")
                self.here.discard()
            if total is not None:
                self._require(total - start)
            self.here.note(url, answer.headers)
            self.progress.started(self.name, total=total, done=start)
            done = self._write(_pieces(answer, self.patience), start)
            if total is not None and done < total:
                raise _Failure(f"the answer ended after {done} of {total} bytes", again=True)

    def _require(self, more: int) -> None:
        if more > LARGEST:
            raise _Failure(f"it is larger than {size_of(LARGEST)}")
        folder = self.here.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        if more > 1 << 20:
            cache.require_space(folder, (more >> 20) + 1)

    def _write(self, pieces: Iterable[bytes], done: int) -> int:
        """Add to what is here, and return how much that is then."""
        with self.here.path.open("ab") as output:
            for piece in pieces:
                RUNS.check()
                output.write(piece)
                output.flush()  # so that it is there when this process is killed
                done += len(piece)
                self.progress.advanced(self.name, len(piece))
                if done > LARGEST:
                    self.here.discard()
                    raise _Failure(f"it is larger than {size_of(LARGEST)}")
        return done

    def _verify(self, url: str) -> None:
        """A file that was put together may be of two versions, so a wrong one is tried anew."""
        actual = self.here.digest()
        if actual == self.sha256:
            return
        why = (
            f"its sha256 is {actual} instead of {self.sha256} ({size_of(self.here.size())})"
            f"{'; it looks like an HTML page' if self.here.is_page() else ''}"
        )
        self.here.discard()
        first = url not in self.wrong
        self.wrong.add(url)
        raise _Failure(
            why,
            again=first,
            mismatch=True,
            advice=_CHANGED,
        )


def _from_any(
    urls: Sequence[str],
    name: str,
    patience: Patience,
    progress: Progress,
    take: Callable[[requests.Session, str], _T],
    size: Callable[[], int],
) -> _T:
    """The first success; one error with a word on each candidate if there is none."""
    failures: list[_Failure] = []
    whole = False
    try:
        with _SLOTS, network.session() as session:
            for place, url in enumerate(urls, 1):
                try:
                    taken = _patiently(url, name, patience, progress, partial(take, session), size)
                except _Failure as failure:
                    failures.append(failure)
                    if following := urls[place : place + 1]:
                        what = f"{_host(url)}: {failure.why}; from {_host(*following)} instead"
                        progress.retried(name, what)
                else:
                    whole = True
                    return taken
    finally:
        progress.finished(name, whole=whole)
    told = (f"{network.shown(u)}: {f.why}" for u, f in zip(urls, failures, strict=True))
    problem = f"{name} cannot be fetched: {'; '.join(told) or 'there is no place to have it from'}"
    kind = HashMismatchError if any(failure.mismatch for failure in failures) else FetchError
    advice = next((f.advice for f in failures if f.mismatch or kind is FetchError), _ADVICE)
    raise kind(problem, advice=advice)


def _patiently(
    url: str,
    name: str,
    patience: Patience,
    progress: Progress,
    take: Callable[[str], _T],
    size: Callable[[], int],
) -> _T:
    """Try one URL as long as that makes sense. Raises the last :class:`_Failure`."""
    best, fruitless, tries = size(), 0, 0
    while True:
        try:
            return take(url)
        except _Failure as failure:
            tries += 1
            if failure.mismatch:
                best = 0  # it begins anew, and once only
            elif size() >= best + patience.step:
                best, fruitless = size(), 0
            fruitless += 1
            allowed = 1 if _host(url) in _UNANSWERED else patience.attempts
            if failure.wait is not None and failure.wait > patience.retry_after:
                failure.why += f"; not before {_clock(failure.wait)}"
            elif failure.again and fruitless < allowed and tries < patience.most:
                pause = max(failure.wait or 0.0, _backoff(patience, fruitless))
                progress.retried(name, f"{_host(url)}: {failure.why}; again in {pause:.1f} s")
                _pause(pause)
                continue
            if failure.unanswered:
                _UNANSWERED.add(_host(url))
            if tries > 1:
                failure.why += f" ({tries} attempts)"
            raise


def _backoff(patience: Patience, attempt: int) -> float:
    """Seconds; not the same for all that were cut off at the same moment."""
    longest = min(patience.first * 2 ** (attempt - 1), patience.longest)
    return SystemRandom().uniform(longest / 2, longest)


def _pause(seconds: float) -> None:
    RUNS.sleep(seconds)


def _clock(seconds: float) -> str:
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return f"{when:%Y-%m-%d %H:%M} UTC"


@contextmanager
def _answer(
    session: requests.Session, url: str, headers: Mapping[str, str], patience: Patience
) -> Iterator[requests.Response]:
    """An answer that is one: content, or that it is unchanged; whatever else as a failure."""
    timeout = (network.TIMEOUT[0], patience.silence)
    try:
        response = session.get(url, headers=headers, stream=True, timeout=timeout)
    except (OSError, ValueError) as error:
        failure = _unreachable(error, patience)
        request = getattr(error, "request", None)
        failure.why = f"{_elsewhere(url, getattr(request, 'url', None))}{failure.why}"
        raise failure from error
    _UNANSWERED.discard(_host(url))
    with response:
        expected = {HTTPStatus.OK}
        if "Range" in headers:
            expected |= {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
        if "If-None-Match" in headers:
            expected |= {HTTPStatus.NOT_MODIFIED}
        if response.status_code not in expected:
            failure = _refused(response)
            failure.why = f"{_elsewhere(url, response.url)}{failure.why}"
            raise failure
        yield response


def _elsewhere(url: str, reached: str | None) -> str:
    """Who really failed, where it was not who was asked: a firewall may know one of them only."""
    if not reached or _host(reached) == _host(url):
        return ""
    return f"{_host(reached)}, to which it redirects: "


def _extent(answer: requests.Response) -> tuple[int, int | None]:
    """From which byte an answer starts, and how long the whole file is, if it says so.

    An answer that there is nothing from there on starts at -1, where nobody has asked for.
    """
    if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return -1, None
    if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
        found = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""), re.ASCII
        )
        if found is None:
            return -1, None
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if re.fullmatch(r"\d+", length, re.ASCII) else None


def _pieces(
    answer: requests.Response, patience: Patience, *, unpack: bool = False
) -> Iterator[bytes]:
    """The body, each piece as soon as it comes; ``unpack`` undoes a Content-Encoding."""
    # requests' own iter_content waits until a piece is full, so a server that sends a byte now
    # and then would not be noticed, and a killed process would lose what had come.
    read = getattr(answer.raw, "read1", answer.raw.read)  # urllib3 before 2.2 has none
    came, counted, since = 0, 0, time.monotonic()
    while True:
        try:
            piece = read(_PIECE, decode_content=unpack)
        except Exception as error:  # urllib3's have no base in common with those of requests
            if any(isinstance(cause, TimeoutError) for cause in causes(error)):
                why = f"nothing came for {patience.silence:g} s, after {size_of(came)}"
            else:
                why = f"the connection was cut after {size_of(came)}"
            raise _Failure(why, again=True) from error
        if not piece:
            return
        came += len(piece)
        yield piece
        elapsed = time.monotonic() - since
        if elapsed >= patience.window:
            if came - counted < patience.floor * elapsed:
                rate = (came - counted) / elapsed
                raise _Failure(f"it sends {size_of(rate)} per second only", again=True)
            counted, since = came, time.monotonic()


def _refused(response: requests.Response) -> _Failure:
    """A status that is no content."""
    status, headers = response.status_code, response.headers
    used_up = headers.get("X-RateLimit-Remaining") == "0"
    limited = status == 429 or (status == 403 and (used_up or "Retry-After" in headers))
    why = f"{status} {response.reason or ''}".strip()
    advice = _ADVICE
    if limited:
        why += " (too many requests)"
        advice = "Wait until then. GitHub's API answers more often to a token in GITHUB_TOKEN."
    again = limited or status in _AGAIN
    return _Failure(why, again=again, wait=_asked(headers) if again else None, advice=advice)


def _asked(headers: Mapping[str, str]) -> float | None:
    """After how many seconds a server wants to be asked again; None where it does not say."""
    after, reset = headers.get("Retry-After", ""), headers.get("X-RateLimit-Reset", "")
    seconds: float | None = None
    if re.fullmatch(r"\d+", after, re.ASCII):
        seconds = float(after)
    elif after:
        with suppress(ValueError, OverflowError):
            seconds = email.utils.parsedate_to_datetime(after).timestamp() - time.time()
    elif headers.get("X-RateLimit-Remaining") == "0" and re.fullmatch(r"\d+", reset, re.ASCII):
        seconds = float(reset) - time.time()
    return None if seconds is None else min(max(seconds, 0.0), 1e8)


def _unreachable(error: Exception, patience: Patience) -> _Failure:
    """No answer at all: whether to ask again depends on why."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _Failure(
                f"its certificate is not trusted here: {cause.verify_message}",
                advice="Name the file with your network's own certificates in SSL_CERT_FILE.",
            )
    match error:
        case requests.TooManyRedirects():
            return _Failure(f"it redirects more than {network.MOST_REDIRECTS} times, in a circle")
        case requests.ConnectTimeout():
            why = f"no connection within {network.TIMEOUT[0]:g} s"
        case requests.Timeout():
            why = f"no answer within {patience.silence:g} s"
        case requests.exceptions.ProxyError():
            why = f"the proxy gives no connection: {_words(error)}"
            if "connection failed: 4" in why:  # it answers, and refuses; a 5xx may pass
                return _Failure(why, advice="HTTPS_PROXY and HTTP_PROXY name the proxy.")
        case requests.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            why = _words(error)
        case _:
            return _Failure(_words(error))
    return _Failure(why, again=True, unanswered=True)


def _words(error: BaseException) -> str:
    """What lies beneath an error, in one line."""
    *_, root = causes(error)
    said = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return " ".join(said.split()) or type(root).__name__


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _host(url: str) -> str:
    """Whom a URL asks, without a password."""
    return urlsplit(network.shown(url)).netloc.rpartition("@")[2] or "the file"


def _local(url: str) -> Path | None:
    """The path that a ``file:`` URL names; None for another kind of URL."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _Failure(str(error)) from error
    if parts.scheme != "file":
        return None
    if parts.netloc not in ("", "localhost"):
        raise _Failure("it names a host; a file URL has three slashes")
    return Path(url2pathname(parts.path))


def _read_file(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as stream:
            body = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        raise _Failure(_words(error)) from error
    if len(body) > limit:
        raise _Failure(f"it is larger than {size_of(limit)}")
    return body
