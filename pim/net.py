"""The only outbound HTTP client: no surprises from the environment, no redirects, and bounds on time and size."""

import time
import zlib
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError, ReadTimeoutError

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0  # between two pieces of an answer, not for the whole of it: see read_capped
USER_AGENT = "pim/1.0 (Language=Python)"

_CHUNK = 64 * 1024


class ResponseTooLarge(requests.RequestException):
    """A body beyond the size its caller is ready to hold."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Never follow: an API answers where it is asked, and credentials do not travel to another host."""
        return None


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


def http_session(*, user_agent: str = USER_AGENT) -> requests.Session:
    """A session that ignores proxies and .netrc of the environment, follows no redirect and always has a timeout."""
    session = _Session()
    session.trust_env = False
    session.headers.update({"User-Agent": user_agent, "Accept-Encoding": "gzip, deflate"})
    session.mount("https://", _BoundedAdapter())
    session.mount("http://", _BoundedAdapter())
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
    except ReadTimeoutError as error:
        raise requests.Timeout(str(error)) from None
    except ProtocolError as error:
        raise requests.ConnectionError(f"the answer is cut short: {error}") from None
    finally:
        response.close()
    return bytes(body)


def _decompressor(encoding: str) -> "zlib._Decompress | None":
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # recognises gzip and zlib headers
    raise requests.exceptions.ContentDecodingError(f"content encoding {encoding!r} was not asked for")
