"""Where an HTTP/1.1 body ends: after so many bytes, after its last chunk, or with the connection (RFC 9112, section 6).

The body goes to a sink piece by piece, as views of the connection's own buffer: a sink takes what it needs at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol

import h11

Sink = Callable[[memoryview], object]

MAX_LINE: Final = 4096
"""Bytes of a line that announces a chunk, or of a trailer."""
MAX_TRAILERS: Final = 100
"""Trailers after the last chunk; nobody we know sends any."""

_BODILESS: Final = frozenset({204, 304})
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")


class FramingError(ValueError):
    """The body is not framed as HTTP/1.1 has it, or ended early."""


class Framing(Protocol):
    """A body on its way. *ended* turns true with its last byte."""

    ended: bool

    def feed(self, view: memoryview, sink: Sink) -> int:
        """Pass on to *sink* what of *view* is body, and return how many bytes of *view* belonged to this answer.

        Raises:
            FramingError: *view* cannot be what follows.
        """
        ...

    def close(self) -> None:
        """Tell that the connection has ended.

        Raises:
            FramingError: the body has not.
        """
        ...


def framing_of(method: bytes, response: h11.Response) -> Framing:
    """How the body of *response* to a *method* is framed; h11 has made sure that the headers do not contradict each other."""
    headers = dict(response.headers)
    if method == b"HEAD" or response.status_code in _BODILESS:
        return Length(0)
    if b"transfer-encoding" in headers:
        return Chunks()
    if b"content-length" in headers:
        return Length(int(headers[b"content-length"]))
    return UntilClose()


class Length:
    """So many bytes."""

    def __init__(self, length: int) -> None:
        self._length = self._left = length
        self.ended = not length

    def feed(self, view: memoryview, sink: Sink) -> int:
        """See :class:`Framing`."""
        body = view[: self._left]
        self._left -= len(body)
        self.ended = not self._left
        if body:
            sink(body)
        return len(body)

    def close(self) -> None:
        """See :class:`Framing`."""
        if self._left:
            came = self._length - self._left
            raise FramingError(f"the connection ended after {came} of the body's {self._length} bytes")


class UntilClose:
    """Whatever comes before the connection ends."""

    def __init__(self) -> None:
        self.ended = False

    def feed(self, view: memoryview, sink: Sink) -> int:
        """See :class:`Framing`."""
        sink(view)
        return len(view)

    def close(self) -> None:
        """See :class:`Framing`."""
        self.ended = True


class Chunks:
    """Chunks, each behind a line with its length, up to one of no length and the trailers behind that."""

    def __init__(self) -> None:
        self.ended = False
        self._left = 0
        self._line = b""
        self._trailers = 0
        self._next: Callable[[bytes], None] = self._begin

    def feed(self, view: memoryview, sink: Sink) -> int:
        """See :class:`Framing`."""
        at = 0
        while at < len(view) and not self.ended:
            if self._left:
                body = view[at : at + self._left]
                self._left -= len(body)
                at += len(body)
                sink(body)
            else:
                at += self._read_line(bytes(view[at : at + MAX_LINE]))
        return at

    def close(self) -> None:
        """See :class:`Framing`."""
        if not self.ended:
            raise FramingError("the connection ended before the body's last chunk")

    def _read_line(self, text: bytes) -> int:
        length = text.find(b"\n") + 1 or len(text)
        self._line += text[:length]
        if self._line.endswith(b"\n"):
            line, self._line = self._line, b""
            self._next(line)
        elif len(self._line) > MAX_LINE:
            raise FramingError("a line between the body's chunks is too long")
        return length

    def _begin(self, line: bytes) -> None:
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise FramingError("the length of a chunk cannot be read")
        self._left = int(found[1], 16)
        self._next = self._end if self._left else self._trailer

    def _end(self, line: bytes) -> None:
        if line not in (b"\r\n", b"\n"):
            raise FramingError("a chunk is longer than it says")
        self._next = self._begin

    def _trailer(self, line: bytes) -> None:
        self._trailers += 1
        self.ended = line in (b"\r\n", b"\n")
        if self._trailers > MAX_TRAILERS:
            raise FramingError("the body has too many trailers")
