"""The page's server: on loopback, for one browser, and for nobody else.

Every path begins with a token that is new each time, so that other pages and users of the machine cannot guess it. The Host
header has to be our own address (DNS rebinding), a POST has to carry the token in a header as well (which a page of another
origin cannot add without asking), and the answers forbid everything that the page does not need.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Final

from gateway.trial.desk import Desk
from providers.errors import GatewayError, InvalidRequest

HOST: Final = "127.0.0.1"
MAX_BODY: Final = 64 * 1024
"""Bytes of a request's body: verdicts on sixteen images with the longest reasons."""
TIMEOUT: Final = 30.0
"""Seconds that a request may take to arrive."""
TOKEN_HEADER: Final = "X-Trial-Token"  # noqa: S105 - its name, not its value
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
STATIC: Final = {
    "": ("trial.html", "text/html; charset=utf-8"),
    "trial.css": ("trial.css", "text/css; charset=utf-8"),
    "trial.js": ("trial.js", "text/javascript; charset=utf-8"),
    "report.js": ("report.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
"""By path the files of the page, and their media types."""

Content = tuple[bytes, str]


@contextmanager
def serving(desk: Desk, port: int = 0) -> Iterator[str]:
    """Serve *desk*'s page for as long as the block lasts, at the address that is given. *port* 0: any free one.

    Raises:
        InvalidRequest: the port is taken.
    """
    token = secrets.token_urlsafe(24)
    try:
        server = _Server((HOST, port), partial(_Handler, desk, token))
    except (OSError, OverflowError) as error:
        raise InvalidRequest(f"port: {port} cannot be used: {getattr(error, 'strerror', None) or error}") from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/{token}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT
    server: _Server
    _sent = 0

    def __init__(self, desk: Desk, token: str, request: socket.socket, address: Any, server: _Server) -> None:
        self._desk, self._token = desk, token
        super().__init__(request, address, server)

    def do_GET(self) -> None:
        """A file of the page, an image, or what to show."""
        path = self._path()
        if path is not None:
            self._answer(lambda: self._found(path))

    def do_POST(self) -> None:
        """A verdict, an undo, or the end."""
        path, body = self._path(), self._body()
        if path is None or body is None:
            return
        if not secrets.compare_digest(self.headers.get(TOKEN_HEADER, "").encode(), self._token.encode()):
            self._refuse(403)
            return
        act = {"verdicts": self._judge, "undo": self._undo, "reveal": self._reveal}.get(path)
        self._answer(lambda: None if act is None else _json(act(body)))
        if path == "reveal" and self._sent == 200:
            self._desk.finished.set()  # only now, when the browser has the report

    def log_message(self, *words: Any) -> None:
        """Nothing: the address holds the token."""

    def version_string(self) -> str:
        """The Server header."""
        return "image-gateway"

    def _path(self) -> str | None:
        """The path behind the token; None, with the request refused, if it is not for us."""
        own = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in own or (origin is not None and origin.removeprefix("http://") not in own):
            self._refuse(403)
            return None
        token, slash, rest = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self._token.encode()) or not slash:
            self._refuse(404)
            return None
        return rest

    def _body(self) -> Any:
        """What was posted, as JSON; None, with the request refused, if it is not that or too long."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and int(length) <= MAX_BODY):
            self._refuse(413)
            return None
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            self._refuse(400)
            return None
        return body

    def _found(self, path: str) -> Content | None:
        if path in STATIC:
            name, kind = STATIC[path]
            return (files("gateway.trial") / "page" / name).read_bytes(), kind
        if path == "state":
            return _json(self._desk.state())
        match path.split("/"):
            case ["images", name]:
                return self._desk.image(name)
            case ["references", key, number] if number.isascii() and number.isdigit():
                return self._desk.reference(key, int(number))
        return None

    def _judge(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._desk.judge(str(body.get("key")), {"verdicts": body.get("verdicts")})

    def _undo(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._desk.undo()

    def _reveal(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._desk.reveal()

    def _answer(self, find: Callable[[], Content | None]) -> None:
        try:
            found = find()
        except InvalidRequest as error:
            self._send(409, _json({"error": str(error)}))
        except (OSError, GatewayError) as error:
            told = error.strerror if isinstance(error, OSError) else str(error)
            self._send(500, _json({"error": f"the trial's folder cannot be used any more: {told}"}))
        else:
            self._send(404 if found is None else 200, found or _json({"error": "there is no such page"}))

    def _refuse(self, status: int) -> None:
        self._send(status, _json({"error": "not for you"}))

    def _send(self, status: int, content: Content) -> None:
        data, kind = content
        self._sent = status
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _json(document: Any) -> Content:
    return json.dumps(document, default=float).encode(), "application/json"
