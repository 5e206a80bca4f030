"""A scripted HTTP server on a loopback socket: it gives the answer it was told to give, and keeps what it was asked."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from tests.corpus.samples import sample

_PICTURES: Final = "/images/"
"""Below this path the samples stand, each under its name; everything else gets the scripted answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says. *framing*: ``length``, ``close`` (the end of the connection ends it), ``chunked``, or
    ``short``, which declares more than comes."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    framing: str = "length"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class ScriptedServer:
    """Listens from the start; :meth:`close` it at the end."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.asked: list[Asked] = []
        self.fetched: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self._server.server_port}"

    def play(self, answer: Answer) -> None:
        """Forget what was asked, and give *answer* from now on."""
        self.asked, self.fetched, self.answer = [], [], answer

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            server.asked.append(self._asked())
            self._say(server.answer)

        def do_GET(self) -> None:
            if self.path.startswith(_PICTURES):
                server.fetched.append(self._asked())
                self._say(_picture(self.path.removeprefix(_PICTURES)))
            else:
                self.do_POST()

        def log_message(self, *args: Any) -> None:
            pass

        def _asked(self) -> Asked:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            return Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)

        def _say(self, answer: Answer) -> None:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            body = gzip.compress(answer.body) if headers.get("content-encoding") == "gzip" else answer.body
            self.send_response_only(answer.status)
            for name, value in {**headers, **_framing(answer.framing, len(body)), "connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if answer.framing == "chunked" else body)

    return Handler


def _framing(framing: str, length: int) -> dict[str, str]:
    if framing == "chunked":
        return {"transfer-encoding": "chunked"}
    return {"length": {"content-length": str(length)}, "short": {"content-length": str(length + 1)}}.get(framing, {})


def _picture(name: str) -> Answer:
    """The sample of that *name*, ``missing`` for none, or ``moved/NAME`` for a redirect to it."""
    if name == "missing":
        return Answer(status=404)
    if name.startswith("moved/"):
        return Answer(status=302, headers={"location": _PICTURES + name.removeprefix("moved/")})
    return Answer(headers={"content-type": "application/octet-stream"}, body=sample(name.partition("?")[0]))
