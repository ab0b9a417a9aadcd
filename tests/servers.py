"""Stand-ins on 127.0.0.1 for what is not to be had everywhere: an index, a registry, downloads."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


@dataclass
class Server:
    """What a stand-in serves, by path, and what it was asked for."""

    pages: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, path: str, body: bytes, kind: str = "application/octet-stream") -> None:
        self.pages[path] = (200, kind, body)


@contextmanager
def serving() -> Iterator[Server]:
    """Serve until the block ends."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            status, kind, body = server.pages.get(self.path, (404, "text/plain", b"not here"))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if kind.startswith("application/vnd.docker"):
                digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
                self.send_header("Docker-Content-Digest", digest)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def add_project(server: Server, name: str, files: dict[str, bytes]) -> None:
    """A project page of the simple index (PEP 691), and its files."""
    page = {
        "meta": {"api-version": "1.1"},
        "name": name,
        "versions": sorted({file.split("-")[1] for file in files}),
        "files": [
            {
                "filename": file,
                "url": f"{server.url}/files/{file}",
                "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
                "size": len(content),
            }
            for file, content in files.items()
        ],
    }
    server.add(f"/simple/{name}/", json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")
    for file, content in files.items():
        server.add(f"/files/{file}", content)


def add_image(server: Server, repository: str, root: Path, architectures: list[str]) -> str:
    """An image of a root tar, for some architectures, in a registry; the index's digest."""
    manifests = []
    for architecture in architectures:
        layer = gzip.compress(root.read_bytes(), compresslevel=1, mtime=0)
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]},
                "rootfs": {"type": "layers", "diff_ids": [_digest(root.read_bytes())]},
                "history": [{"created": "2026-01-01T00:00:00Z"}],
            }
        ).encode()
        docker = "application/vnd.docker"
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{docker}.distribution.manifest.v2+json",
                "config": {
                    "mediaType": f"{docker}.container.image.v1+json",
                    "size": len(config),
                    "digest": _digest(config),
                },
                "layers": [
                    {
                        "mediaType": f"{docker}.image.rootfs.diff.tar.gzip",
                        "size": len(layer),
                        "digest": _digest(layer),
                    }
                ],
            }
        ).encode()
        for blob in (config, layer):
            server.add(f"/v2/{repository}/blobs/{_digest(blob)}", blob)
        server.add(
            f"/v2/{repository}/manifests/{_digest(manifest)}",
            manifest,
            f"{docker}.distribution.manifest.v2+json",
        )
        manifests.append(
            {
                "mediaType": f"{docker}.distribution.manifest.v2+json",
                "size": len(manifest),
                "digest": _digest(manifest),
                "platform": {"architecture": architecture, "os": "linux"},
            }
        )
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).encode()
    server.add("/v2/", b"{}", "application/json")
    server.add(f"/v2/{repository}/manifests/{_digest(index)}", index, kind)
    return _digest(index)


def tiny_wheel(name: str, version: str, tag: str, files: dict[str, str] | None = None) -> bytes:
    """The bytes of a wheel with some text files; of the same ones, the same bytes."""
    packed = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(packed, "w") as archive:
        content = {
            **(files or {f"{name}.py": "answer = 42\n"}),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n",
            f"{info}/RECORD": "",
        }
        for path, text in content.items():
            # The same text gives the same bytes, whenever it is written.
            archive.writestr(zipfile.ZipInfo(path), text)
    return packed.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
