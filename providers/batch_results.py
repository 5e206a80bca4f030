"""Results of a batch job, taken in while they arrive: lines of JSON, or the items of a list inside one document.

A job's results are gigabytes of base64. Here they are cut into results before they are looked at, and each result's images
are decoded as its text comes in, so that one result is in memory at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from providers.extraction import ExtractionError, ImageExtractor, Limits
from providers.json_body import MISSING, mended, parse

MAX_FRAME: Final = 64 * 2**20
"""Bytes of a document around its results: an upstream may repeat in it what it was asked, 20 MB."""

_TOKEN: Final = re.compile(rb'["{}\[\],]')
_OPENING: Final = b"{["
_CLOSING: Final = b"}]"
_LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Result:
    """One result as read from JSON, with a marker in place of each image."""

    document: Mapping[str, Any]
    images: Mapping[str, bytes] = field(repr=False)


class Splitter(Protocol):
    """Cuts what arrives into results."""

    def feed(self, piece: bytes) -> Iterator[Result]:
        """Take in the next piece, and give the results that it ends.

        Raises:
            ExtractionError: a limit was passed.
        """
        ...

    def close(self) -> Iterator[Result]:
        """Tell that nothing more comes, and give the result that this ends.

        Raises:
            ExtractionError: it is not whole.
        """
        ...


class _Taking:
    """One result on its way."""

    def __init__(self) -> None:
        self._extractor = ImageExtractor(Limits())
        self._broken = False
        self._empty = True

    def feed(self, piece: bytes) -> None:
        if self._broken or not piece:
            return
        self._empty = False
        try:
            self._extractor.feed(piece)
        except ExtractionError:
            self._broken, self._extractor = True, ImageExtractor(Limits())

    @property
    def is_expected(self) -> bool:
        """Whether a result has begun that is not over the limits."""
        return not (self._broken or self._empty)

    def end(self) -> Result | None:
        """The result; None if there is none that can be read."""
        if not self.is_expected:
            return None
        try:
            self._extractor.close()
        except ExtractionError:
            return None
        text, images = self._extractor.document, self._extractor.images
        document = parse(text)
        if document is MISSING and images:
            document = parse(mended(text))
        return Result(document, images) if isinstance(document, Mapping) else None


class LineSplitter:
    """Cuts JSON lines into results. A line that cannot be read, or is over the limits of an answer, is passed over."""

    def __init__(self) -> None:
        self._line = _Taking()

    def feed(self, piece: bytes) -> Iterator[Result]:
        """Take in the next piece, and give the results that it ends."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._line.feed(piece[start:end])
            yield from self._next()
            start = end + 1
        self._line.feed(piece[start:])

    def close(self) -> Iterator[Result]:
        """Tell that nothing more comes; the last line need not end with a line break.

        Raises:
            ExtractionError: it is not whole.
        """
        expected, results = self._line.is_expected, list(self._next())
        if expected and not results:
            raise ExtractionError("the results ended in the middle of a line")
        return iter(results)

    def _next(self) -> Iterator[Result]:
        result, self._line = self._line.end(), _Taking()
        if result is not None:
            yield result


class ListSplitter:
    """Cuts the objects out of the first list called *name* in a document that has any. *frame* is the document without them.

    Further lists of that name are emptied as well: Google tells the same results twice. So is the first, if *keep* is
    False, for who only wants to know how the job is doing.
    """

    def __init__(self, name: bytes, *, keep: bool = True) -> None:
        self.frame = bytearray()
        self._name = name
        self._keep = keep
        self._found = False
        self._depth = 0
        self._list: int | None = None
        """The depth inside the list that is being emptied."""
        self._item: _Taking | None = None
        self._in_string = self._escaped = False
        self._text = b""
        """The last string, as far as it may be the name; nothing if it was followed by more than a colon."""

    def feed(self, piece: bytes) -> Iterator[Result]:
        """Take in the next piece, and give the results that it ends.

        Raises:
            ExtractionError: what is around the results is over the limit.
        """
        position = 0
        while position < len(piece):
            start = position
            if self._in_string:
                position = self._to_quote(piece, start)
                self._text = (self._text + piece[start:position])[:_LONGEST_NAME]
                self._pass_on(piece[start:position])
            else:
                found = _TOKEN.search(piece, start)
                position = found.end() if found else len(piece)
                yield from self._at_token(found[0] if found else b"", piece[start:position])

    def close(self) -> Iterator[Result]:
        """Tell that nothing more comes; whether *frame* is whole shows when it is read."""
        return iter(())

    def _at_token(self, token: bytes, chunk: bytes) -> Iterator[Result]:
        """Take in *chunk*, which ends with *token* and has no other."""
        inside, depth = self._list is not None, self._depth
        self._depth += (token in _OPENING) - (token in _CLOSING) if token else 0
        if inside and token == b"{" and depth == self._list and self._keep:
            self._item, self._found = _Taking(), True
        elif token == b"]" and depth == self._list:
            self._list, self._keep = None, self._keep and not self._found
        self._pass_on(chunk)
        if not inside and token == b"[" and self._text == self._name + b'"':
            self._list = self._depth
        elif inside and token == b"}" and self._depth == self._list:
            yield from self._end_item()
        self._in_string = token == b'"'
        self._text = b"" if token else self._text

    def _to_quote(self, piece: bytes, position: int) -> int:
        """The end of the string, or of *piece*, from *position* inside the string on."""
        position += self._escaped
        self._escaped = False
        while True:
            quote = piece.find(b'"', position)
            slash = piece.find(b"\\", position, quote if quote >= 0 else len(piece))
            if slash < 0:
                self._in_string = quote < 0
                return quote + 1 or len(piece)
            position = slash + 2
            if position > len(piece):
                self._escaped = True
                return len(piece)

    def _pass_on(self, chunk: bytes) -> None:
        if self._list is None:
            self.frame += chunk
            if len(self.frame) > MAX_FRAME:
                raise ExtractionError(f"the answer's text is over the limit of {MAX_FRAME} bytes")
        elif self._item is not None:
            self._item.feed(chunk)

    def _end_item(self) -> Iterator[Result]:
        result = self._item.end() if self._item else None
        self._item = None
        if result is not None:
            yield result
