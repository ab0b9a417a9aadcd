"""How the network is asked: proxies, certificates, and to whom a token is shown."""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
import requests

from harness import downloads, network
from harness.downloads import Patience, read
from harness.errors import FetchError
from tests import standin
from tests.standin import Standin

TAG = "20250517"
VARIABLES = (
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_API_URL"),
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the machine's, and no ~/.netrc."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "PATIENCE", Patience(attempts=2, first=0.001))
    monkeypatch.setattr(downloads, "_UNANSWERED", set())


@pytest.fixture
def server() -> Iterator[Standin]:
    with standin.serving() as found:
        found.add(TAG, "file", b"content")
        yield found


# -- Certificates ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``cert.pem`` and ``key.pem`` for 127.0.0.1 and a name that is nobody's."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("a certificate is made with openssl, which is not installed")
    folder = tmp_path_factory.mktemp("authority")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:pbs.invalid"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    # OpenSSL finds an authority in a folder by a hash of its name.
    hashed = subprocess.run(
        [openssl, "x509", "-noout", "-hash", "-in", str(folder / "cert.pem")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (folder / "folder").mkdir()
    shutil.copy(folder / "cert.pem", folder / "folder" / f"{hashed}.0")
    return folder


@pytest.fixture
def secure(authority: Path) -> Iterator[Standin]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    with standin.serving(context=context) as found:
        found.add(TAG, "file", b"content")
        yield found


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("SSL_CERT_FILE", "cert.pem"),
        ("SSL_CERT_DIR", "folder"),
        ("REQUESTS_CA_BUNDLE", "cert.pem"),
        ("CURL_CA_BUNDLE", "cert.pem"),
    ],
)
def test_a_certificate_of_the_companys_is_trusted_where_a_variable_names_it(
    secure: Standin, authority: Path, monkeypatch: pytest.MonkeyPatch, variable: str, name: str
) -> None:
    monkeypatch.setenv(variable, str(authority / name))
    assert read([f"{secure.downloads}/{TAG}/file"]).body == b"content"


def test_a_certificate_that_nobody_vouches_for_is_told_at_once(secure: Standin) -> None:
    with pytest.raises(FetchError) as caught:
        read([f"{secure.downloads}/{TAG}/file"])
    assert caught.value.problem.endswith(
        ("not trusted here: self-signed certificate", "not trusted here: self signed certificate")
    )
    assert "SSL_CERT_FILE" in caught.value.advice


def test_a_file_of_certificates_that_is_not_there_is_told(
    secure: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/cert.pem")
    with pytest.raises(FetchError, match=r"/nowhere/cert\.pem"):
        read([f"{secure.downloads}/{TAG}/file"])


def test_a_server_of_another_name_is_not_trusted(
    secure: Standin, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "cert.pem"))
    with pytest.raises(FetchError, match="not trusted here"):
        read([secure.url.replace("127.0.0.1", "localhost")])


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        ({"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}, True),
        ({"SSL_CERT_DIR": "/nowhere"}, True),
        ({"SSL_CERT_DIR": "/nowhere:/usr:/tmp"}, "/usr"),
        ({"SSL_CERT_FILE": "/a", "SSL_CERT_DIR": "/usr"}, "/a"),
        ({"CURL_CA_BUNDLE": "/b", "SSL_CERT_FILE": "/a"}, "/b"),
        ({"REQUESTS_CA_BUNDLE": "/c", "CURL_CA_BUNDLE": "/b"}, "/c"),
    ],
)
def test_what_requests_knows_goes_first_and_a_file_before_folders(
    environment: dict[str, str], expected: str | bool
) -> None:
    assert network.certificates(environment) == expected


# -- Proxies -----------------------------------------------------------------------------------


@dataclass
class Proxy:
    """What a proxy was asked for; it takes everything to one port of this machine."""

    url: str = ""
    target: int = 0
    refuses: int = 0
    """A status that it answers with instead; 0 for none."""

    asked: list[str] = field(default_factory=list)


@contextmanager
def proxying() -> Iterator[Proxy]:
    proxy = Proxy()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            proxy.asked.append(f"GET {self.path}")
            if proxy.refuses:
                self.send_error(proxy.refuses)
                return
            path = "/" + self.path.split("/", 3)[3]
            with requests.Session() as session:
                session.trust_env = False
                url = f"http://127.0.0.1:{proxy.target}{path}"
                answer = session.get(url, timeout=10, allow_redirects=False)
            self.send_response(answer.status_code)
            for name in ("Location", "Content-Length"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        def do_CONNECT(self) -> None:
            proxy.asked.append(f"CONNECT {self.path}")
            if proxy.refuses:
                self.send_error(proxy.refuses)
                return
            with socket.create_connection(("127.0.0.1", proxy.target)) as other:
                self.send_response(200)
                self.end_headers()
                ends = {self.connection: other, other: self.connection}
                while ready := select.select(list(ends), [], [], 10)[0]:
                    for end in ready:
                        if not (piece := end.recv(1 << 16)):
                            return
                        ends[end].sendall(piece)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.block_on_close = False
        proxy.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            http.shutdown()
            thread.join()


def port(server: Standin) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_asked_instead(
    server: Standin, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The name is nobody's, so without the proxy there would be no answer."""
    with proxying() as proxy:
        proxy.target = port(server)
        monkeypatch.setenv(variable, proxy.url)
        url = f"http://pbs.invalid/mirror/{TAG}/file"
        assert read([url]).body == b"content"
        assert proxy.asked == [f"GET {url}"]


def test_a_proxy_lets_https_through_unread(
    secure: Standin, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxying() as proxy:
        proxy.target = port(secure)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority / "cert.pem"))
        assert read([f"https://pbs.invalid/mirror/{TAG}/file"]).body == b"content"
        assert proxy.asked == ["CONNECT pbs.invalid:443"]


def test_no_proxy_is_asked_for_what_needs_none(
    server: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert read([f"{server.mirror}/{TAG}/file"]).body == b"content"


@pytest.mark.parametrize(("status", "times"), [(407, 1), (403, 1), (503, 2)])
def test_a_proxy_that_refuses_is_told_and_asked_again_where_that_may_help(
    monkeypatch: pytest.MonkeyPatch, status: int, times: int
) -> None:
    with proxying() as proxy:
        proxy.refuses = status
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(FetchError) as caught:
            read(["https://pbs.invalid/file"])
        assert f"the proxy gives no connection: Tunnel connection failed: {status}" in str(
            caught.value
        )
        assert len(proxy.asked) == times


def test_a_proxy_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with pytest.raises(FetchError, match="the proxy gives no connection: Connection refused"):
        read(["http://pbs.invalid/file"])


# -- Who asks ----------------------------------------------------------------------------------


def shown(server: Standin) -> list[str | None]:
    return [request.headers.get("authorization") for request in server.log()]


def ask(url: str) -> None:
    with network.session() as session:
        session.get(url, timeout=10)


def test_it_says_who_asks(server: Standin) -> None:
    ask(server.url)
    version = metadata.version("pbs-matrix")
    assert server.log()[0].headers["user-agent"] == f"pbs-matrix/{version}"


def test_the_api_of_github_is_told_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GH_TOKEN", " secret\n")

    def header(url: str) -> str | None:
        with network.session() as session:
            prepared = session.prepare_request(requests.Request("GET", url))
            return prepared.headers.get("Authorization")

    assert header("https://api.github.com/repos/x") == "Bearer secret"
    assert header("https://api.github.com:443/repos/x") == "Bearer secret"
    for other in (
        "http://api.github.com/repos/x",
        "https://api.github.com:8443/x",
        "https://api.github.com.evil.invalid/x",
        "https://api.github.com@evil.invalid/x",
        "https://github.com/x",
        "https://127.0.0.1/x",
    ):
        assert header(other) is None
    monkeypatch.setenv("GITHUB_TOKEN", "first")
    assert header("https://api.github.com/x") == "Bearer first"
    monkeypatch.setenv("GITHUB_API_URL", "https://github.company.invalid/api/v3/")
    assert network.api() == "https://github.company.invalid/api/v3"
    assert header("https://github.company.invalid/api/v3/repos") == "Bearer first"
    assert header("https://api.github.com/x") is None


def test_a_token_does_not_follow_a_redirect_to_another_host(
    server: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setenv("GITHUB_API_URL", server.url)
    with standin.serving() as other:
        other.add(TAG, "file", b"content")
        for place in (other.url, server.url.replace("127.0.0.1", "localhost")):
            server.inject("/moved", standin.Moved(to=f"{place}/mirror/{TAG}/file"), times=1)
            ask(f"{server.url}/moved")
        # Here the same host, once the API and once it under another name; there another port.
        assert shown(server) == ["Bearer secret", "Bearer secret", None]
        assert shown(other) == [None]


def test_a_token_stays_with_a_redirect_within_the_api(
    server: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository that was renamed."""
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setenv("GITHUB_API_URL", server.url)
    server.inject("/moved", standin.Moved(to=standin.API), times=1)
    ask(f"{server.url}/moved")
    assert shown(server) == ["Bearer secret", "Bearer secret"]


def test_a_token_is_not_shown_to_who_redirects_into_the_api(
    server: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setenv("GITHUB_API_URL", server.url)
    with standin.serving() as other:
        other.inject("/moved", standin.Moved(to=f"{server.url}{standin.API}"))
        ask(f"{other.url}/moved")
        assert shown(other) == shown(server) == [None]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://me:secret@host:1/a?b=c", "https://***@host:1/a?b=c"),
        ("https://token@host/a", "https://***@host/a"),
        ("https://host/a@b", "https://host/a@b"),
        ("file:///a/b", "file:///a/b"),
        ("http://[", "a URL that is none"),
    ],
)
def test_a_url_is_shown_without_a_password(url: str, text: str) -> None:
    assert network.shown(url) == text


def test_what_went_wrong_is_told_with_its_root() -> None:
    with (
        pytest.raises(FetchError, match=r"the thing cannot be fetched: .*Connection refused"),
        network.explained("the thing", advice="Wait."),
    ):
        requests.get("http://127.0.0.1:1", timeout=5)
