"""The proxy that makes calls of an engine fail, and what tells it where these come from."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import cast

import pytest
import requests

from tests.faults import callsites
from tests.faults.engines import calls
from tests.faults.engines.place import Ended, tiny_image
from tests.faults.engines.scenes import SCENES, Scene
from tests.faults.proxy import (
    CANNED,
    Act,
    Call,
    Closed,
    Head,
    Order,
    Proxy,
    Registry,
    half,
    pieces,
    template,
    unpacked,
)

WAIT = 30
"""Seconds after which a test has failed; nothing here takes long."""


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/v1.41/containers/create?name=x", "/containers/create"),
        ("/v1.41/containers/json?all=1", "/containers/json"),
        ("/v1.41/containers/4f5c/start", "/containers/{}/start"),
        ("/v1.41/containers/4f5c?force=True", "/containers/{}"),
        ("/v1.41/images/pbs-matrix/base:1f/json", "/images/{}/json"),
        ("/v1.41/images/docker.io/library/debian%40sha256:1f/json", "/images/{}/json"),
        ("/v1.41/images/pbs-matrix/base:1f?force=True", "/images/{}"),
        ("/v1.41/images/create?fromImage=debian", "/images/create"),
        ("/v1.41/images/json", "/images/json"),
        ("/v1.41/exec/4f5c/start", "/exec/{}/start"),
        ("/v1.41/build?t=x", "/build"),
        ("/version", "/version"),
    ],
)
def test_calls_are_known_without_their_ids(target: str, expected: str) -> None:
    assert template(target) == expected


def test_a_head_is_sent_as_it_was_read() -> None:
    data = b"GET /info HTTP/1.1\r\nHost: x\r\nX-Call-Site: here\r\n\r\n"
    head = Head.parse(data)
    assert head.encode() == data
    assert (head.method, head.target, head.get("x-call-site")) == ("GET", "/info", "here")
    assert b"here" not in head.without("x-call-site").encode()


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nx\r\n\r\n"])
def test_what_is_no_head_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no "):
        Head.parse(data)


def _body(data: bytes, *headers: str, is_answer: bool = True) -> bytes:
    head = Head.parse("\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode())
    return b"".join(pieces(_stream(data), head, is_answer=is_answer))


def _stream(data: bytes) -> io.BufferedReader:
    return cast(io.BufferedReader, io.BufferedReader(io.BytesIO(data)))


CHUNKS = b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nTrailer: z\r\n\r\n"


def test_a_body_ends_where_its_head_says() -> None:
    assert _body(CHUNKS + b"next", "Transfer-Encoding: chunked") == CHUNKS
    assert _body(b"hello, next", "Content-Length: 5") == b"hello"
    assert _body(b"until the end") == b"until the end"
    assert _body(b"next request", is_answer=False) == b""


@pytest.mark.parametrize("size", range(1, len(CHUNKS)))
def test_a_body_that_ends_before_its_end_is_noticed(size: int) -> None:
    with pytest.raises(Closed):
        _body(CHUNKS[:-size], "Transfer-Encoding: chunked")


def test_a_short_body_is_noticed() -> None:
    with pytest.raises(Closed):
        _body(b"hell", "Content-Length: 5")


def test_chunks_are_unpacked() -> None:
    head = Head.parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert b"".join(unpacked(pieces(_stream(CHUNKS), head, is_answer=True), head)) == b"hello!"


def test_half_a_frame_promises_the_whole() -> None:
    frame = struct.pack(">BxxxL", 1, 10) + b"0123456789"
    assert half(frame) == frame[:13]
    assert len(half(frame[:9])) < len(frame)


def test_an_order_is_done_as_often_as_it_says_and_not_before() -> None:
    order = Order(act=Act.ERROR, call="GET /info", skip=1, times=2)
    other = Call(site="", call="GET /version", target="")
    wanted = Call(site="", call="GET /info", target="")
    assert [order.takes(each) for each in (wanted, other, wanted, wanted, wanted)] == [
        *(False, False, True, True, False)
    ]


class _Engine:
    """Answers as an engine does: with what it was asked, and ``attach`` with an echo."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.asked: list[str] = []
        self.ends = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        # Who asks may be gone before the end.
        with contextlib.suppress(OSError), one, one.makefile("rb") as stream:
            while True:
                data = b""
                while not data.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        return
                    data += line
                head = Head.parse(data)
                body = b"".join(pieces(stream, head, is_answer=False))
                self.asked.append(data.decode())
                if head.get("upgrade"):
                    one.sendall(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
                    while data := stream.read1(100):
                        one.sendall(struct.pack(">BxxxL", 1, len(data)) + data)
                    self.ends += 1
                    one.sendall(b"the end")
                    return
                said = json.dumps({"target": head.target, "bytes": len(body)}).encode()
                one.sendall(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + f"{len(said):x}\r\n".encode()
                    + said
                    + b"\r\n0\r\n\r\n"
                )


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[_Engine, Proxy]]:
    engine = _Engine(folder / "e")
    try:
        with Proxy(str(folder / "e")) as proxy:
            yield engine, proxy
    finally:
        engine.listener.shutdown(socket.SHUT_RDWR)
        engine.listener.close()


def _connected(proxy: Proxy) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(WAIT)
    one.connect(str(proxy.path))
    return one


def _ask(one: socket.socket, request: str, body: bytes = b"") -> tuple[Head, bytes]:
    """The answer to a request; :class:`ConnectionError` where none comes."""
    one.sendall(request.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
    with one.makefile("rb") as stream:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                raise ConnectionError
            data += line
        head = Head.parse(data)
        try:
            return head, b"".join(unpacked(pieces(stream, head, is_answer=True), head))
        except Closed:
            raise ConnectionError from None


def test_a_connection_is_kept_and_the_call_site_stays_here(tmp_path: Path) -> None:
    with _serving(tmp_path) as (engine, proxy), _connected(proxy) as one:
        for number in range(2):
            request = f"POST /containers/{number}/start HTTP/1.1\nX-Call-Site: a.py:f"
            head, body = _ask(one, f"{request}\nContent-Length: 3", b"abc")
            assert (head.status, json.loads(body)["bytes"]) == (200, 3)
        assert [(each.site, each.call) for each in proxy.calls()] == [
            ("a.py:f", "POST /containers/{}/start")
        ] * 2
    assert not any("a.py:f" in each for each in engine.asked)


def test_an_upload_in_chunks_arrives_whole(tmp_path: Path) -> None:
    with _serving(tmp_path) as (_, proxy), _connected(proxy) as one:
        _, body = _ask(one, "POST /build HTTP/1.1\nTransfer-Encoding: chunked", CHUNKS)
        assert json.loads(body)["bytes"] == len(CHUNKS)


@pytest.mark.parametrize("act", [Act.CONFLICT, Act.ERROR, Act.MISSING, Act.FULL, Act.EMPTY])
def test_an_answer_in_the_engines_stead(tmp_path: Path, act: Act) -> None:
    with _serving(tmp_path) as (engine, proxy), _connected(proxy) as one:
        proxy.order(Order(act=act, call="GET /info"))
        head, body = _ask(one, "GET /info HTTP/1.1")
        assert (head.status, body) == CANNED[act]
        assert not engine.asked
        # Once; and on the same connection.
        assert _ask(one, "GET /info HTTP/1.1")[0].status == 200


@pytest.mark.parametrize(("act", "reaches"), [(Act.EOF, 1), (Act.CUT, 1)])
def test_a_connection_that_ends_before_the_answer_does(
    tmp_path: Path, act: Act, reaches: int
) -> None:
    with _serving(tmp_path) as (engine, proxy):
        proxy.order(Order(act=act))
        with _connected(proxy) as one, pytest.raises(ConnectionError):
            _ask(one, "GET /info HTTP/1.1")
        assert len(engine.asked) == reaches


@pytest.mark.parametrize(("act", "reaches"), [(Act.TIMEOUT, 0), (Act.LATE, 1)])
def test_nothing_is_said_until_the_client_gives_up(tmp_path: Path, act: Act, reaches: int) -> None:
    with _serving(tmp_path) as (engine, proxy), _connected(proxy) as one:
        proxy.order(Order(act=act))
        one.sendall(b"GET /info HTTP/1.1\r\n\r\n")
        one.shutdown(socket.SHUT_WR)
        assert one.recv(100) == b""
        assert len(engine.asked) == reaches


def test_a_full_disk_is_told_within_the_stream_of_a_build(tmp_path: Path) -> None:
    with _serving(tmp_path) as (_, proxy), _connected(proxy) as one:
        proxy.order(Order(act=Act.FULL))
        head, body = _ask(one, "POST /build?t=x HTTP/1.1\nContent-Length: 1", b"x")
        assert head.status == 200
        assert "no space left on device" in json.loads(body.splitlines()[-1])["error"]


def test_a_client_of_http_reads_what_the_engine_says(tmp_path: Path) -> None:
    """With requests as it is, over a port: the proxy speaks the protocol."""
    with _serving(tmp_path) as (_, proxy), socket.create_server(("127.0.0.1", 0)) as port:
        threading.Thread(target=proxy._accept, args=(port,), daemon=True).start()
        with requests.Session() as session:
            url = f"http://127.0.0.1:{port.getsockname()[1]}/info"
            assert session.get(url, timeout=WAIT).json()["target"] == "/info"
            proxy.order(Order(act=Act.EOF))
            with pytest.raises(requests.ConnectionError):
                session.get(url, timeout=WAIT)
        port.shutdown(socket.SHUT_RDWR)


ATTACH = b"POST /containers/1/attach HTTP/1.1\r\nUpgrade: tcp\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n"


def _all(one: socket.socket) -> bytes:
    data = b""
    try:
        while piece := one.recv(1000):
            data += piece
    except ConnectionResetError:
        pass
    return data


def _exactly(one: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := one.recv(size - len(data))):
        data += piece
    return data


def test_the_end_of_one_direction_of_a_stream_is_handed_on_alone(tmp_path: Path) -> None:
    """As an agent is ended: by the end of its input, after which it may still say something."""
    with _serving(tmp_path) as (engine, proxy), _connected(proxy) as one:
        one.sendall(ATTACH)
        assert _exactly(one, len(UPGRADED)) == UPGRADED
        one.sendall(b"question")
        assert _exactly(one, 16)[8:] == b"question"
        one.shutdown(socket.SHUT_WR)
        assert _all(one) == b"the end"
        assert engine.ends == 1


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (Act.CUT_QUESTION, b""),
        (Act.HALF_FRAME, struct.pack(">BxxxL", 1, 8) + b"ques"),
    ],
)
def test_a_stream_that_ends_in_a_question(tmp_path: Path, act: Act, expected: bytes) -> None:
    with _serving(tmp_path) as (_, proxy), _connected(proxy) as one:
        proxy.order(Order(act=act))
        one.sendall(ATTACH)
        assert _exactly(one, len(UPGRADED)) == UPGRADED
        one.sendall(b"question")
        assert _all(one) == expected


def test_something_is_done_while_a_stream_has_its_first_question(tmp_path: Path) -> None:
    done: list[Call] = []
    with _serving(tmp_path) as (_, proxy), _connected(proxy) as one:
        proxy.order(Order(act=Act.MEANWHILE, then=done.append))
        one.sendall(ATTACH)
        assert _exactly(one, len(UPGRADED)) == UPGRADED
        assert not done
        for _ in range(2):
            one.sendall(b"question")
            assert _exactly(one, 16)[8:] == b"question"
        assert [each.call for each in done] == ["POST /containers/{}/attach"]


def test_connections_are_refused_and_taken_again(tmp_path: Path) -> None:
    with _serving(tmp_path) as (_, proxy), _connected(proxy) as one:
        assert _ask(one, "GET /info HTTP/1.1")[0].status == 200
        proxy.refuse()
        assert _all(one) == b""
        with pytest.raises(OSError, match="No such file"):
            _connected(proxy)
        proxy.listen()
        with _connected(proxy) as other:
            assert _ask(other, "GET /info HTTP/1.1")[0].status == 200


def test_a_pulled_name_is_another_image_of_the_engine(tmp_path: Path) -> None:
    name = "docker.io/library/debian@sha256:1f"
    with _serving(tmp_path) as (_, proxy), _connected(proxy) as one:
        proxy.registry = Registry(name=name, image="keep/amd64:1")

        def target(method: str) -> str:
            path = f"/v1.41/images/{name.replace('@', '%40')}/json"
            return str(json.loads(_ask(one, f"{method} {path} HTTP/1.1")[1])["target"])

        assert name.replace("@", "%40") in target("GET")
        assert b"Pulled" in _ask(one, "POST /v1.41/images/create?fromImage=x HTTP/1.1")[1]
        assert target("GET") == "/v1.41/images/keep/amd64:1/json"


def _frame(path: Path, names: tuple[str, ...]) -> FrameType:
    """The frame of a function in a file, called by others there, the innermost first."""
    frames: list[FrameType] = []
    lines = [f"def {names[0]}(): see()"]
    lines += [f"def {outer}(): {inner}()" for inner, outer in itertools.pairwise(names)]
    space: dict[str, object] = {"see": lambda: frames.append(sys._getframe(1))}
    exec(compile("\n".join(lines), str(path), "exec"), space)
    outermost = space[names[-1]]
    assert callable(outermost)
    outermost()
    return frames[0]


def test_a_call_is_of_the_innermost_function_of_the_harness() -> None:
    path = callsites.HARNESS / "bytecode.py"
    assert callsites.site(_frame(path, ("_compile", "make"))) == "harness/bytecode.py:_compile"


def test_a_call_of_what_passes_things_on_is_its_callers_too() -> None:
    path = callsites.HARNESS / "engine.py"
    assert callsites.site(_frame(path, ("_asked", "describe", "other"))) == (
        "harness/engine.py:_asked < harness/engine.py:describe < harness/engine.py:other"
    )


def test_a_call_from_elsewhere_has_no_place() -> None:
    assert callsites.site(_frame(Path("/nowhere/x.py"), ("f",))) == ""


def test_every_place_that_asks_an_engine_has_a_scene_or_a_reason() -> None:
    assert calls.unknown() == ()


def test_every_scene_and_reason_is_about_a_place_that_there_is() -> None:
    there = {*callsites.in_source()}
    assert {*calls.UNREACHED} <= there
    assert {name for scene in SCENES for name in scene.reaches} <= there


def test_the_places_are_found_in_the_source() -> None:
    found = callsites.in_source()
    assert {
        *("harness/agent.py:Agent.start", "harness/images.py:Images.build"),
        *("harness/engine.py:describe", "harness/planning/terminal.py:run"),
    } <= {*found}


def _ended(code: int | None, *outcomes: str, said: str = "", files: tuple[str, ...] = ()) -> Ended:
    lines = tuple({"id": f"cell{n}", "outcome": each} for n, each in enumerate(outcomes))
    return Ended(code=code, said=said, results=lines, seconds=1.0, files=files)


USUAL = _ended(0, "imports", "crash")


@pytest.mark.parametrize(
    ("ended", "wrong"),
    [
        (USUAL, ""),
        (_ended(1, "imports", "untestable"), ""),
        (_ended(20), ""),
        (_ended(None), "it hung"),
        (_ended(1, "imports", "imports"), "wrong verdict"),
        (_ended(0, "imports"), "not all was tested"),
        (_ended(1, "imports", "crash"), "nothing is untestable"),
        (_ended(2), "it ended with 2"),
        (_ended(-9), "it ended with -9"),
        (_ended(20, said="Traceback (most recent call last):"), "traceback"),
        (_ended(20, files=("tmpx",)), "temporary files"),
    ],
)
def test_what_is_wrong_after_a_fault(ended: Ended, wrong: str) -> None:
    found = "; ".join(calls.judged(ended, USUAL, Scene(name="x", argv=())))
    assert wrong in found
    assert bool(wrong) == bool(found)


def test_a_tiny_image_is_the_same_each_time() -> None:
    assert tiny_image("x:1", {}, "a") == tiny_image("x:1", {}, "a") != tiny_image("x:1", {}, "b")
