"""The stand-in behind a threaded HTTP/1.1 server: for one `with` block, or until stopped."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import ThreadingMixIn
from typing import Any, BinaryIO, cast
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from code2asin.stand_in.app import StandIn
from code2asin.stand_in.catalogue import Catalogue
from code2asin.stand_in.state import Behaviour, Stats


class _Answer(ServerHandler):
    http_version = "1.1"

    def close(self) -> None:
        """Without the log line of the parent."""
        super(ServerHandler, self).close()


class _Connection(WSGIRequestHandler):
    """One thread per connection, many requests on it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes

    def handle(self) -> None:
        self.close_connection = False
        while not self.close_connection:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                return
            answer = _Answer(self.rfile, cast(BinaryIO, self.wfile), self.get_stderr(), self.get_environ())
            answer.request_handler = self  # type: ignore[attr-defined]  # where the standard library expects it
            answer.run(self.server.get_app())  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the counters say what happened."""


class StandInServer(ThreadingMixIn, WSGIServer):
    """Serves a StandIn on `host`:`port` (0: any free port); `stop` ends every thread it started."""

    request_queue_size = 128
    daemon_threads = False

    def __init__(self, app: StandIn, host: str, port: int) -> None:
        super().__init__((host, port), _Connection)
        self.set_app(app)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Close idle connections too, then wait for the threads. The serving loop must have ended."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # closed by the client
                    connection.shutdown(socket.SHUT_RD)
        self.server_close()


class Running:
    """A served stand-in: its address, counters and switches."""

    def __init__(self, app: StandIn, url: str) -> None:
        self._app = app
        self.url = url

    @property
    def token_url(self) -> str:
        return f"{self.url}/auth/o2/token"

    def stats(self) -> Stats:
        return self._app.stats()

    def set(self, *, reset_stats: bool = False, revoke_tokens: bool = False, **changes: Any) -> None:
        """Change switches, the fields of Behaviour; raises ValueError, changing nothing, for a bad one."""
        self._app.set(reset_stats=reset_stats, revoke_tokens=revoke_tokens, **changes)


@contextmanager
def running(catalogue: Catalogue, **switches: Any) -> Iterator[Running]:
    """Serve `catalogue` on a free local port; `switches` are fields of Behaviour, such as rate and burst."""
    app = StandIn(catalogue, behaviour=Behaviour().changed(switches))
    server = StandInServer(app, "127.0.0.1", 0)
    loop = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="amazon-stand-in")
    loop.start()
    try:
        yield Running(app, server.url)
    finally:
        server.shutdown()
        loop.join()
        server.stop()
