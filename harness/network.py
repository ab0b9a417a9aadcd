"""How the network is asked, and how its failures are told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache as memoize
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests

from harness.errors import FetchError, causes

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two pieces of an answer."""

MOST_REDIRECTS = 10
"""GitHub needs one for an archive."""

API_VARIABLE = "GITHUB_API_URL"
GITHUB_API = "https://api.github.com"


@contextmanager
def explained(what: str, *, advice: str) -> Iterator[None]:
    """Turn what goes wrong while fetching into one :class:`FetchError` with its root cause."""
    try:
        yield
    except (requests.RequestException, ValueError) as error:
        *_, root = causes(error)
        raise FetchError(f"{what} cannot be fetched: {root}", advice=advice) from error


def session() -> requests.Session:
    """A client that heeds what is set up here; it is to be closed.

    Proxies: the usual variables, and ``NO_PROXY``. Certificates: :func:`certificates`. A token in
    ``GITHUB_TOKEN`` or ``GH_TOKEN`` goes to GitHub's API and to nobody else, since it opens more
    than we ask for; the API answers more often to who has one.
    """
    made = _Session()
    made.headers["User-Agent"] = f"pbs-matrix/{_version()}"
    made.max_redirects = MOST_REDIRECTS
    made.verify = certificates(os.environ)
    return made


def certificates(environment: Mapping[str, str]) -> str | bool:
    """Which certificate authorities to trust: a file or folder; True for those that come along.

    requests itself knows the first two variables alone, OpenSSL and uv the last two. The folders
    of ``SSL_CERT_DIR`` may be several; requests takes one, so it is the first that is there.
    """
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if environment.get(name):
            return environment[name]
    folders = environment.get("SSL_CERT_DIR", "").split(os.pathsep)
    return next((folder for folder in folders if folder and Path(folder).is_dir()), True)


def api() -> str:
    """GitHub's API, as its own runners name it; no slash at the end."""
    return (os.environ.get(API_VARIABLE) or GITHUB_API).rstrip("/")


def shown(url: str) -> str:
    """A URL as it may be printed: who has a password for a mirror may have it in there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that is none"
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"***@{host}")) if at else url


class _Session(requests.Session):
    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Add the token. It is dropped by requests where a redirect leads to another host."""
        prepared = super().prepare_request(request)
        token = (os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or "").strip()
        if token and _origin(prepared.url or "") == _origin(api()):
            prepared.headers["Authorization"] = f"Bearer {token}"
        return prepared


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


@memoize
def _version() -> str:
    try:
        return metadata.version("pbs-matrix")
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return "0"
