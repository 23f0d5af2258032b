"""The outbound HTTP client: nothing from the environment, no redirects, bounds on size and time."""

import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pim.net import http_session, read_capped

GZIP_HEADER = gzip.compress(b"")[:10]
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # of deflate: bytes that never become content


def read(server: HTTPServer, *, max_bytes: int = 1000, deadline_s: float = 10) -> bytes:
    response = http_session().get(server.url_for("/"), stream=True)
    return read_capped(response, max_bytes=max_bytes, deadline_s=deadline_s)


@contextmanager
def dripping(head: bytes, drop: bytes, *, times: int) -> Iterator[str]:
    """A peer that sends `head`, then `drop` every 0.05 s, then closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(head)
                    for _ in range(times):
                        connection.sendall(drop)
                        time.sleep(0.05)
                except OSError:
                    pass  # the client has hung up

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join()


def test_a_body_is_read_whole(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b"x" * 1000)
    assert read(httpserver) == b"x" * 1000


def test_a_body_beyond_the_cap_is_refused(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b"x" * 1001)
    with pytest.raises(requests.RequestException, match="larger than 1000 bytes"):
        read(httpserver)


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(b"x" * 1000)), ("deflate", zlib.compress(b"x" * 1000))],
    ids=["gzip", "deflate"],
)
def test_a_compressed_body_is_unpacked(httpserver: HTTPServer, encoding: str, packed: bytes) -> None:
    httpserver.expect_request("/").respond_with_data(packed, headers={"Content-Encoding": encoding})
    assert read(httpserver) == b"x" * 1000


def test_an_empty_body_needs_no_unpacking(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b"", headers={"Content-Encoding": "gzip"})
    assert read(httpserver) == b""


def test_a_decompression_bomb_is_refused(httpserver: HTTPServer) -> None:
    bomb = gzip.compress(b"\0" * 60_000_000)
    httpserver.expect_request("/").respond_with_data(bomb, headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    with pytest.raises(requests.RequestException, match="larger than 1000 bytes"):
        read(httpserver)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30_000_000  # not unpacked first and measured then; the test server itself takes 10 MB


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"x" * 1000)[:-9], "gzip"),
        (gzip.compress(b"x") + gzip.compress(b"y"), "gzip"),
        (b"not compressed", "gzip"),
        (b"x", "br"),
    ],
    ids=["cut short", "two members", "plain", "unknown"],
)
def test_a_body_that_cannot_be_unpacked_is_an_error(httpserver: HTTPServer, body: bytes, encoding: str) -> None:
    httpserver.expect_request("/").respond_with_data(body, headers={"Content-Encoding": encoding})
    with pytest.raises(requests.exceptions.ContentDecodingError):
        read(httpserver)


@pytest.mark.parametrize("head", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
def test_a_body_cut_short_is_an_error(head: bytes) -> None:
    drop = b"x" if head.startswith(b"Content") else b"1\r\nx\r\n"
    with dripping(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", drop, times=3) as url:
        response = http_session().get(url, stream=True)
        with pytest.raises(requests.ConnectionError, match="cut short"):
            read_capped(response, max_bytes=1000, deadline_s=10)


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"Content-Length: 100000", b"x"),
        (b"Transfer-Encoding: chunked", b"1\r\nx\r\n"),
        (b"Content-Encoding: gzip\r\nContent-Length: 100000", EMPTY_BLOCK),
    ],
)
def test_a_dripping_body_ends_at_the_deadline(head: bytes, drop: bytes) -> None:
    start = GZIP_HEADER if drop == EMPTY_BLOCK else b""
    with dripping(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + start, drop, times=200) as url:
        response = http_session().get(url, stream=True)
        with pytest.raises(requests.Timeout, match=r"not complete after 0\.2 seconds"):
            read_capped(response, max_bytes=100_000, deadline_s=0.2)


def test_a_silent_peer_ends_at_the_read_timeout() -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"", times=20) as url:
        response = http_session().get(url, stream=True, timeout=(1, 0.2))
        with pytest.raises(requests.Timeout):
            read_capped(response, max_bytes=1000, deadline_s=10)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(httpserver: HTTPServer, status: int) -> None:
    headers = {"Location": httpserver.url_for("/elsewhere")}
    httpserver.expect_request("/").respond_with_data("", status=status, headers=headers)
    assert http_session().get(httpserver.url_for("/")).status_code == status
    assert [request.path for request, _ in httpserver.log] == ["/"]


def test_proxies_and_netrc_of_the_environment_are_ignored(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login canary password canary\nmachine 127.0.0.1 login c password c\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        return Response("ok")

    httpserver.expect_request("/").respond_with_handler(answer)
    assert http_session(user_agent="test/1").get(httpserver.url_for("/")).text == "ok"
    assert "Authorization" not in seen[0].headers
    assert seen[0].headers["User-Agent"] == "test/1"


def test_every_call_has_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pim.net.READ_TIMEOUT_S", 0.2)
    with dripping(b"", b"", times=20) as url, pytest.raises(requests.Timeout):
        http_session().get(url)
