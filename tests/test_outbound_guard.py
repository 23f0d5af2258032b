"""The guard on URLs that people give: public addresses and those that are opened, on every hop, and no other."""

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.exceptions import ImproperlyConfigured
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pim.net import (
    AddressRefused,
    check_url,
    connect_vetted,
    failure_text,
    http_session,
    private_hosts,
    read_start,
    vetted_addresses,
)

NOT_PUBLIC = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "localhost",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::7f00:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a00:1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:a00:1::1]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
]


@pytest.fixture(autouse=True)
def _nothing_is_opened(settings):
    settings.ALLOW_PRIVATE_HOSTS = private_hosts([])


def opened(settings, *entries: str) -> None:
    settings.ALLOW_PRIVATE_HOSTS = private_hosts(entries)


@pytest.fixture
def connects(monkeypatch) -> list[object]:
    """Every address a socket connects to."""
    seen: list[object] = []
    connect = socket.socket.connect

    def record(self, address):
        seen.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", record)
    return seen


@pytest.fixture
def names(monkeypatch) -> dict[str, list[list[str]]]:
    """A name server: for each name the answers it gives one after the other; numbers are resolved as ever."""
    zone: dict[str, list[list[str]]] = {}
    resolve = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        if host not in zone:
            return resolve(host, port, *args, **kwargs)
        return [found for address in zone[host].pop(0) for found in resolve(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return zone


@contextmanager
def listener(address: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_server((address, 0)) as server:
        server.settimeout(0.2)
        yield server


def connected(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except TimeoutError:
        return False
    return True


def get(url: str, **options) -> requests.Response:
    return http_session(guarded=True, **options).get(url, timeout=2)


@pytest.mark.parametrize("host", NOT_PUBLIC)
def test_what_is_not_public_is_refused_before_anything_is_connected(host, connects):
    with pytest.raises(AddressRefused, match="not at a public address"):
        get(f"http://{host}/")
    with pytest.raises(AddressRefused, match="not at a public address"):
        http_session(guarded=True).post(f"https://{host}:8443/", timeout=2)
    with pytest.raises(AddressRefused):
        connect_vetted(host, 21, timeout_s=1)
    with pytest.raises(AddressRefused):
        check_url(f"http://{host}/")
    assert connects == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
def test_a_refused_listener_is_not_even_knocked_at(host):
    with listener() as server:
        with pytest.raises(AddressRefused):
            get(f"http://{host}:{server.getsockname()[1]}/")
        assert not connected(server)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("8.8.8.8", ("8.8.8.8", 80)),
        ("134744072", ("8.8.8.8", 80)),
        ("[2606:4700:4700::1111]", ("2606:4700:4700::1111", 80, 0, 0)),
        ("[::ffff:8.8.8.8]", ("::ffff:8.8.8.8", 80, 0, 0)),
        ("[64:ff9b::808:808]", ("64:ff9b::808:808", 80, 0, 0)),
        ("[2002:808:808::1]", ("2002:808:808::1", 80, 0, 0)),
    ],
)
def test_public_addresses_pass(host, address):
    assert vetted_addresses(host, 80) == [address]


def test_one_private_address_among_several_is_enough_to_refuse(names, connects):
    names["mixed.test"] = [["8.8.8.8", "10.0.0.1"]]
    with pytest.raises(AddressRefused, match=r"mixed\.test is not at a public address \(10\.0\.0\.1\)"):
        get("http://mixed.test/")
    assert connects == []


def test_a_name_is_resolved_once_and_that_answer_is_connected_to(names, connects, settings, httpserver: HTTPServer):
    opened(settings, "127.0.0.1")
    httpserver.expect_request("/").respond_with_handler(lambda request: Response(request.headers["Host"]))
    names["rebound.test"] = [["127.0.0.1"], ["169.254.169.254"]]
    assert get(f"http://rebound.test:{httpserver.port}/").text == f"rebound.test:{httpserver.port}"
    assert connects == [("127.0.0.1", httpserver.port)]
    assert names["rebound.test"] == [["169.254.169.254"]]


def test_an_address_that_does_not_answer_is_followed_by_the_next(names, connects, settings, httpserver: HTTPServer):
    opened(settings, "127.0.0.0/8")
    httpserver.expect_request("/").respond_with_data("ok")
    names["two.test"] = [["127.0.0.2", "127.0.0.1"]]
    assert get(f"http://two.test:{httpserver.port}/").text == "ok"
    assert connects == [("127.0.0.2", httpserver.port), ("127.0.0.1", httpserver.port)]


@pytest.mark.parametrize(
    ("entry", "open_hosts", "closed_hosts"),
    [
        ("10.1.2.3", ["10.1.2.3"], ["10.1.2.4", "[::ffff:10.1.2.3]", "127.0.0.1"]),
        ("10.1.0.0/16", ["10.1.2.3", "10.1.255.255"], ["10.2.0.0", "192.168.0.1"]),
        ("fd00::/8", ["[fd00::1]"], ["[fc00::1]", "10.0.0.1", "[::1]"]),
        ("Feeds.Test", ["feeds.test", "FEEDS.test", "feeds.test."], ["sub.feeds.test", "10.9.9.9"]),
    ],
)
def test_what_is_opened_is_exactly_what_is_named(settings, names, entry, open_hosts, closed_hosts):
    opened(settings, entry)
    for name in ("feeds.test", "FEEDS.test", "feeds.test.", "sub.feeds.test"):
        names[name] = [["10.9.9.9"]]
    for host in open_hosts:
        assert len(vetted_addresses(host, 80)) == 1
    for host in closed_hosts:
        with pytest.raises(AddressRefused):
            vetted_addresses(host, 80)


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "127.1", "256.1.1.1", "http://host", "a b", "*.test", "host:80", "-"])
def test_an_entry_that_cannot_be_read_stops_the_start(entry):
    with pytest.raises(ImproperlyConfigured, match="PIM_ALLOW_PRIVATE_HOSTS"):
        private_hosts(["10.0.0.1", entry])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "not a valid URL"),
        ("ftp://example.com/", "must start with"),
        ("file:///etc/passwd", "must start with"),
        ("javascript:alert(1)", "must start with"),
        ("example.com/hook", "not a valid URL"),
        ("http://", "not a valid URL"),
        ("http://[::1", "not a valid URL"),
        ("http://8.8.8.8:99999/", "not a valid URL"),
        ("https://user:secret@8.8.8.8/", "user name or password"),
        ("https://8.8.8.8/a b", "blanks"),
        ("https://8.8.8.8/\r\nX: y", "blanks"),
        ("http://127.0.0.1\\@8.8.8.8/", "not at a public address"),
        ("http://127.0.0.1/", "not at a public address"),
    ],
)
def test_a_url_that_is_entered_is_vetted(url, words):
    with pytest.raises(AddressRefused, match=words):
        check_url(url)


def test_a_public_url_and_one_whose_name_is_not_known_yet_may_be_entered():
    check_url("https://8.8.8.8:8443/hook?token=x#top")
    check_url("https://not-yet-there.invalid/hook")


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """Key and self-signed certificate of receiver.test."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver.test")])
    now = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("receiver.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "receiver.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


def test_the_name_stays_in_sni_and_in_what_the_certificate_must_match(settings, names, certificate):
    opened(settings, "127.0.0.1")
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    with HTTPServer(ssl_context=context) as server:
        server.expect_request("/").respond_with_data("ok")
        names["receiver.test"], names["other.test"] = [["127.0.0.1"]], [["127.0.0.1"]]
        session = http_session(guarded=True)
        session.verify = str(certificate)
        assert session.get(f"https://receiver.test:{server.port}/").text == "ok"
        with pytest.raises(requests.exceptions.SSLError) as wrong_name:
            session.get(f"https://other.test:{server.port}/canary")
        assert asked == ["receiver.test", "other.test"]
        assert "certificate" in failure_text(wrong_name.value).lower()
        assert "canary" not in failure_text(wrong_name.value)
        with pytest.raises(requests.exceptions.SSLError):
            http_session(guarded=True).get(f"https://127.0.0.1:{server.port}/")


# --- redirects ------------------------------------------------------------------------------------------------------


def redirect(server: HTTPServer, path: str, target: str, status: int = 302) -> None:
    server.expect_request(path).respond_with_data("", status=status, headers={"Location": target})


def test_redirects_are_followed_only_where_asked_and_only_three(settings, httpserver: HTTPServer):
    opened(settings, "localhost")
    for hop in range(5):
        redirect(httpserver, f"/{hop}", f"/{hop + 1}")
    httpserver.expect_request("/5").respond_with_data("ok")
    assert get(httpserver.url_for("/2")).status_code == 302
    assert get(httpserver.url_for("/2"), follow_redirects=True).text == "ok"
    with pytest.raises(requests.TooManyRedirects) as many:
        get(httpserver.url_for("/1"), follow_redirects=True)
    assert failure_text(many.value) == "More than 3 redirects."


def test_every_hop_is_vetted(settings, httpserver: HTTPServer):
    opened(settings, "localhost", "127.0.0.1")
    with listener("127.0.0.2") as server:
        redirect(httpserver, "/", f"http://127.0.0.2:{server.getsockname()[1]}/")
        with pytest.raises(AddressRefused, match=r"127\.0\.0\.2"):
            get(httpserver.url_for("/"), follow_redirects=True)
        assert not connected(server)


@pytest.mark.parametrize("target", ["ftp://8.8.8.8/", "file:///etc/passwd", "data:text/plain,x"])
def test_a_redirect_out_of_http_is_an_error(settings, httpserver: HTTPServer, target):
    opened(settings, "localhost")
    redirect(httpserver, "/", target)
    with pytest.raises(requests.exceptions.InvalidSchema):
        get(httpserver.url_for("/"), follow_redirects=True)


def test_credentials_do_not_travel_to_another_host(settings, httpserver: HTTPServer):
    opened(settings, "localhost", "127.0.0.1")
    seen: list[dict[str, str]] = []

    def answer(request: Request) -> Response:
        seen.append(dict(request.headers))
        return Response("ok")

    redirect(httpserver, "/away", f"http://127.0.0.1:{httpserver.port}/there")
    redirect(httpserver, "/near", "/there")
    httpserver.expect_request("/there").respond_with_handler(answer)
    session = http_session(guarded=True, follow_redirects=True)
    headers = {"Authorization": "Bearer canary", "X-Api-Key": "canary", "Accept": "text/csv"}
    for path in ("/near", "/away"):
        session.get(f"http://localhost:{httpserver.port}{path}", headers=headers, cookies={"session": "canary"})
    near, away = seen
    assert (near["Authorization"], near["X-Api-Key"], near["Cookie"]) == ("Bearer canary", "canary", "session=canary")
    assert "canary" not in str(away)
    assert (away["Accept"], away["User-Agent"]) == ("text/csv", "pim/1.0 (Language=Python)")


def test_the_body_of_a_redirect_is_not_read(settings, httpserver: HTTPServer):
    opened(settings, "localhost")

    def endless() -> Iterator[bytes]:
        for _ in range(100_000):
            yield b"x" * 65536

    httpserver.expect_request("/").respond_with_handler(
        lambda _: Response(endless(), status=302, headers={"Location": "/ok"})
    )
    httpserver.expect_request("/ok").respond_with_data("ok")
    assert get(httpserver.url_for("/"), follow_redirects=True).text == "ok"


# --- time, and what is said -----------------------------------------------------------------------------------------


@contextmanager
def serving(*pieces: bytes, pause: float) -> Iterator[str]:
    """A peer that sends one piece after the other, `pause` seconds apart, then closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                try:
                    for piece in pieces:
                        connection.sendall(piece)
                        time.sleep(pause)
                except OSError:
                    pass  # the client has hung up

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join()


def test_headers_that_drip_in_end_at_the_read_timeout(settings):
    opened(settings, "127.0.0.1")
    drops = [b"HTTP/1.1 200 OK\r\n"] + [b"X-Drop: 1\r\n"] * 80
    with serving(*drops, pause=0.05) as url, pytest.raises(requests.ReadTimeout) as late:
        http_session(guarded=True).get(url, timeout=(1, 0.3))
    assert failure_text(late.value) == "No complete answer in time."


def test_the_start_of_a_body_is_what_has_come_by_then(settings):
    opened(settings, "127.0.0.1")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    with serving(head, *[b"x"] * 100, pause=0.05) as url:
        response = http_session(guarded=True).get(url, stream=True)
        assert 1 <= len(read_start(response, max_bytes=1000, deadline_s=0.2)) < 100
    with serving(head, b"x" * 10, pause=0) as url:
        response = http_session(guarded=True).get(url, stream=True)
        assert read_start(response, max_bytes=4, deadline_s=5) == b"xxxx"
    with serving(head, b"x" * 10, pause=0) as url:  # cut short
        response = http_session(guarded=True).get(url, stream=True)
        assert read_start(response, max_bytes=1000, deadline_s=5) == b"x" * 10


def test_proxies_are_not_used(settings, httpserver: HTTPServer, monkeypatch):
    opened(settings, "localhost")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    httpserver.expect_request("/").respond_with_data("ok")
    proxies = {"http": "http://127.0.0.1:1"}
    assert http_session(guarded=True).get(httpserver.url_for("/"), proxies=proxies).text == "ok"


def test_a_failure_is_told_without_the_url(settings, names):
    opened(settings, "127.0.0.1")
    with listener() as server:
        port = server.getsockname()[1]
    with pytest.raises(requests.ConnectionError) as closed:
        get(f"http://127.0.0.1:{port}/canary")
    assert failure_text(closed.value) == "The connection failed: [Errno 111] Connection refused"
    with pytest.raises(requests.ConnectionError) as unknown:
        get("http://unknown.invalid/canary")
    assert "canary" not in failure_text(unknown.value)
    assert failure_text(unknown.value).startswith("The connection failed: [Errno -")
    with serving(pause=0) as url, pytest.raises(requests.ConnectionError) as hung_up:
        get(f"{url}canary")
    assert "canary" not in failure_text(hung_up.value)
    with pytest.raises(requests.exceptions.InvalidURL) as malformed:
        get("http://*canary/")
    assert failure_text(malformed.value) == "The request failed (InvalidURL)."
