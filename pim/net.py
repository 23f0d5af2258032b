"""The only outbound HTTP client: no surprises from the environment, bounds on time and size, and a guard.

The guard is for addresses that people give: it lets a connection out to public addresses only, and to the private
ones that PIM_ALLOW_PRIVATE_HOSTS names.
"""

import re
import socket
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ProtocolError
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import ReadTimeoutError as PeerSilent

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0  # between two pieces of an answer, not for the whole of it: see read_capped
MAX_REDIRECTS = 3
USER_AGENT = "pim/1.0 (Language=Python)"

_CHUNK = 64 * 1024
_MAX_ADDRESSES = 4  # of one host, each with its own connect timeout

# Headers that go with a redirect to another host; any other one may be a credential.
_IMPERSONAL = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "transfer-encoding", "user-agent"}
)

Address = IPv4Address | IPv6Address
SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA has given out
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
# Not private by the registries that `ipaddress` knows, and still no place for a user's URL.
_NEVER = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments, RFC 6890; one cloud keeps a metadata service there
    IPv4Network("192.88.99.0/24"),  # 6to4 relays, RFC 7526
    IPv4Network("168.63.129.16"),  # the host agent of every Azure machine
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$)(?!(?:.*\.)?[0-9]+$){_LABEL}(?:\.{_LABEL})*")  # not ending in a number


class ResponseTooLarge(requests.RequestException):
    """A body beyond the size its caller is ready to hold."""


class AddressRefused(requests.RequestException):
    """A user-given address that is not http(s) to a public host; nothing was connected. The message is for the user."""


@dataclass(frozen=True, slots=True)
class PrivateHosts:
    """The private addresses that user-given URLs may reach all the same."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    names: frozenset[str] = frozenset()

    def open(self, host: str, address: Address) -> bool:
        return host.lower().rstrip(".") in self.names or any(address in network for network in self.networks)


def private_hosts(entries: Iterable[str]) -> PrivateHosts:
    """Reads addresses, CIDR networks and host names; a name opens itself only, not its subdomains.

    Raises ImproperlyConfigured for anything else, for instance a network with host bits or `127.1`.
    """
    networks, names = [], set()
    for entry in entries:
        try:
            networks.append(ip_network(entry))
            continue
        except ValueError as error:
            name = entry.lower().rstrip(".")
            if not _HOST_NAME.fullmatch(name):
                raise ImproperlyConfigured(
                    f"PIM_ALLOW_PRIVATE_HOSTS: {entry!r} is not an address, a CIDR network or a host name ({error})."
                ) from None
        names.add(name)
    return PrivateHosts(tuple(networks), frozenset(names))


def vetted_addresses(host: str, port: int) -> list[SocketAddress]:
    """Where `host` leads to, resolved once: whoever connects to these addresses cannot be sent elsewhere in between.

    Raises AddressRefused when any of them is neither public nor opened by PIM_ALLOW_PRIVATE_HOSTS, and
    socket.gaierror when the name cannot be resolved.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise AddressRefused(_("%(host)r is not a host name.") % {"host": host}) from None
    allowed: PrivateHosts = settings.ALLOW_PRIVATE_HOSTS
    addresses: list[SocketAddress] = []
    for _family, _type, _protocol, _name, target in found:
        address = ip_address(target[0])
        if not (_is_public(address) or allowed.open(host, address)):
            raise AddressRefused(
                _(
                    "The host %(host)s is not at a public address (%(address)s). PIM_ALLOW_PRIVATE_HOSTS names the"
                    " private hosts that may be reached."
                )
                % {"host": host, "address": address}
            )
        addresses.append(target)  # type: ignore[arg-type]
    return addresses


def connect_vetted(
    host: str, port: int, *, timeout_s: float | None, options: Iterable[tuple[int, int, int | bytes]] = ()
) -> socket.socket:
    """A TCP connection to the first vetted address that answers; timeout_s bounds each of at most four tries.

    Raises what `vetted_addresses` raises, and OSError of the last try when none succeeds.
    """
    failure: OSError | None = None
    for address in vetted_addresses(host, port)[:_MAX_ADDRESSES]:
        connection = socket.socket(socket.AF_INET if len(address) == 2 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            for option in options:
                connection.setsockopt(*option)
            connection.settimeout(timeout_s)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure or OSError(f"{host} has no address")


def check_url(url: str) -> None:
    """Vets a URL that someone enters. A name that cannot be resolved at the moment passes: connecting vets it again.

    Raises AddressRefused.
    """
    if any(character <= " " or character == "\x7f" for character in url):
        raise AddressRefused(_("The address has blanks or control characters; write them percent-encoded."))
    request = requests.PreparedRequest()
    try:
        request.prepare_url(url, None)  # the parser that the connection will go by
        parts = urlsplit(request.url or "")
        host, port = parts.hostname, parts.port
    except (requests.RequestException, ValueError):
        raise AddressRefused(_("The address is not a valid URL.")) from None
    if parts.scheme not in ("http", "https") or not host:
        raise AddressRefused(_("The address must start with https:// or http:// and name a host."))
    if parts.username is not None:
        raise AddressRefused(_("The address must not contain a user name or password."))
    with suppress(socket.gaierror):
        vetted_addresses(host, port or 0)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return _is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if (inner := address.ipv4_mapped or address.sixtofour) is not None:
            return _is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    unusual = address.is_multicast or address.is_reserved or any(address in network for network in _NEVER)
    return address.is_global and not unusual


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Follows only where asked: an API answers where it is asked, and credentials do not travel to another host."""
        target = super().get_redirect_target(resp) if self.max_redirects else None
        if target is not None:
            resp.close()  # requests would read the body of a redirect whole, however large or slow
        return target

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        elsewhere = self.should_strip_auth(response.request.url, prepared_request.url)  # type: ignore[no-untyped-call]
        if elsewhere:
            for name in [name for name in prepared_request.headers if name.lower() not in _IMPERSONAL]:
                del prepared_request.headers[name]


class _BoundedAdapter(HTTPAdapter):
    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        bounds = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S) if timeout is None else timeout
        return super().send(request, stream, bounds, verify, cert, proxies)


class _Refusal(Exception):
    """Takes an AddressRefused through urllib3, which would report it, being an OSError, as a broken connection."""


class _GuardedConnection(HTTPConnection):
    """Connects to vetted addresses; the host's name stays in `Host`, in SNI and in what the certificate must match."""

    def _new_conn(self) -> socket.socket:
        try:
            return connect_vetted(self.host, self.port, timeout_s=self.timeout, options=self.socket_options or ())
        except AddressRefused as error:
            raise _Refusal from error
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection within {self.timeout:g} seconds") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error

    def getresponse(self) -> Any:
        """The read timeout bounds the whole head of the answer: without that, headers may drip in for hours."""
        late = threading.Event()
        connection = self.sock

        def cut() -> None:
            late.set()
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # wakes the reader; ssl's own would race with it

        timer = threading.Timer(float(self.timeout or READ_TIMEOUT_S), cut)
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()
        except Exception:
            if late.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()
        if late.is_set():  # headers that end with the connection look complete
            raise TimeoutError
        return response


class _GuardedTlsConnection(_GuardedConnection, HTTPSConnection):
    pass


class _GuardedPool(HTTPConnectionPool):
    ConnectionCls = _GuardedConnection


class _GuardedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTlsConnection


class _GuardedAdapter(_BoundedAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _GuardedPool, "https": _GuardedTlsPool}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        try:
            return super().send(request, *args, **kwargs | {"proxies": None})
        except _Refusal as refusal:
            raise AddressRefused(str(refusal.__cause__), request=request) from None


def http_session(
    *, user_agent: str = USER_AGENT, guarded: bool = False, follow_redirects: bool = False
) -> requests.Session:
    """A session that ignores proxies and .netrc of the environment and always has a timeout.

    guarded: for URLs that people give. Raises AddressRefused before connecting to anything but public addresses and
    those that PIM_ALLOW_PRIVATE_HOSTS opens, on every hop; the read timeout bounds the whole head of an answer.
    follow_redirects: at most three, within http and https; to another host without cookies, credentials and headers
    of the caller's own.
    """
    session = _Session()
    session.trust_env = False
    session.max_redirects = MAX_REDIRECTS if follow_redirects else 0
    session.headers.update({"User-Agent": user_agent, "Accept-Encoding": "gzip, deflate"})
    adapter = _GuardedAdapter if guarded else _BoundedAdapter
    session.mount("https://", adapter())
    session.mount("http://", adapter())
    return session


def read_capped(response: requests.Response, *, max_bytes: int, deadline_s: float) -> bytes:
    """The whole body of a response requested with stream=True, decompressed; the connection is released or closed.

    max_bytes bounds the decompressed size. deadline_s bounds the whole transfer in seconds however slowly bytes
    drip in; it is looked at after each read, so a silent peer can add one read timeout.
    Raises ResponseTooLarge, requests.Timeout past the deadline, requests.ConnectionError when the body is cut
    short, and requests.exceptions.ContentDecodingError when it cannot be decompressed.
    """
    until = time.monotonic() + deadline_s
    body = bytearray()
    try:
        inflate = _decompressor(response.headers.get("Content-Encoding", ""))
        while piece := response.raw.read1(_CHUNK, decode_content=False):
            body += piece if inflate is None else inflate.decompress(piece, max_bytes + 1 - len(body))
            if len(body) > max_bytes:
                raise ResponseTooLarge(f"the answer is larger than {max_bytes} bytes")
            if inflate is not None and inflate.unused_data:
                raise requests.exceptions.ContentDecodingError("the compressed answer goes on after its end")
            if time.monotonic() > until:
                raise requests.Timeout(f"the answer was not complete after {deadline_s:g} seconds")
        if inflate is not None and body and not inflate.eof:
            raise requests.exceptions.ContentDecodingError("the compressed answer is cut short")
    except zlib.error as error:
        raise requests.exceptions.ContentDecodingError(f"the answer cannot be decompressed: {error}") from None
    except PeerSilent as error:
        raise requests.Timeout(str(error)) from None
    except ProtocolError as error:
        raise requests.ConnectionError(f"the answer is cut short: {error}") from None
    finally:
        response.close()
    return bytes(body)


def read_start(response: requests.Response, *, max_bytes: int, deadline_s: float) -> bytes:
    """At most the first max_bytes of a body requested with stream=True, as sent; what has not come by then is left.

    For showing only: a body that is cut short or late is no error. The connection is closed.
    """
    until = time.monotonic() + deadline_s
    body = bytearray()
    try:
        while len(body) < max_bytes and time.monotonic() < until:
            piece = response.raw.read1(max_bytes - len(body), decode_content=False)
            if not piece:
                break
            body += piece
    except (TransportError, OSError):
        pass
    finally:
        response.close()
    return bytes(body)


def failure_text(error: requests.RequestException) -> str:
    """What went wrong, in words that may be shown and logged: never the URL, whose path or query may be a secret."""
    match error:
        case AddressRefused() | ResponseTooLarge():
            return str(error)
        case requests.exceptions.SSLError():
            return _("The TLS connection failed: %(cause)s") % {"cause": _root(error)}
        case requests.ConnectTimeout():
            return _("No connection in time.")
        case requests.Timeout():
            return _("No complete answer in time.")
        case requests.TooManyRedirects():
            return _("More than %(limit)d redirects.") % {"limit": MAX_REDIRECTS}
        case requests.ConnectionError():
            return _("The connection failed: %(cause)s") % {"cause": _root(error)}
    return _("The request failed (%(kind)s).") % {"kind": type(error).__name__}


def _root(error: BaseException) -> BaseException:
    """The error of the operating system or of TLS at the bottom of what requests and urllib3 wrap around it."""
    wrapped = [getattr(error, "reason", None), *error.args, error.__cause__]
    inner = next((one for one in wrapped if isinstance(one, BaseException)), None)
    return error if inner is None else _root(inner)


def _decompressor(encoding: str) -> "zlib._Decompress | None":
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # recognises gzip and zlib headers
    raise requests.exceptions.ContentDecodingError(f"content encoding {encoding!r} was not asked for")
