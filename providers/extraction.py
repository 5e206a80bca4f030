"""Images taken out of a JSON body while it arrives.

A 4K answer is 28 MB of JSON around 21 MB of image. :class:`ImageExtractor` scans the body piece by piece, decodes each
base64 image as its text comes in, and leaves a short marker in its place, so that what remains to be parsed is a few
hundred bytes. It serves a JSON string that is base64 (``inlineData.data``, ``b64_json``) and a data URI anywhere inside a
string (``image_url.url``, markdown).

Only text that starts like the base64 of a PNG, JPEG or WebP file is touched. If it turns out to be something else (a
character that is not base64, a length that no base64 has) the text is put back as it was.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pybase64

from providers.spool import FileBytes, FileRoom, MemoryRoom, Room

MIN_IMAGE: Final = 48
"""Bytes below which decoded text is no image file: the smallest possible PNG has 67, JPEG 107, WebP 26 + data."""

MAX_ROOM: Final = 64 * 2**20
"""Bytes set aside at most on the word of an upstream; the largest 4K images have 25 MB."""

MARKER_LENGTH: Final = 40
"""Characters of a marker: a random token of 16 bytes and a number, in hexadecimal, which is base64 in both alphabets."""

_SLASH = rb"(?:/|_|\\/|\\u002[fF]|\\u005[fF])"
_SIGNATURE: Final = re.compile(rb"iVBORw0KGgo|" + _SLASH + rb"9j" + _SLASH + rb"|UklGR")
_LONGEST_SIGNATURE: Final = 14  # \u002f9j\u002f
_SPECIAL: Final = re.compile(rb'["\\]|base64,')
_CHARACTER = rb"(?:[A-Za-z0-9+/_-]|\\/|\\u00(?:2[bBdDfF]|5[fF]))"
# Possessive: what could be given back again is remembered for each character, in over a hundred bytes.
_RUN: Final = re.compile(rb"(?:[A-Za-z0-9+/_-]++|" + _CHARACTER + rb")*+")
_ENOUGH: Final = re.compile(_CHARACTER + rb"{%d}" % (MIN_IMAGE // 3 * 4))
_CHARACTERS: Final = re.compile(rb"[A-Za-z0-9+/_-]*")
_PADDING: Final = re.compile(rb"(?:=|\\u003[dD])*+")
_ESCAPED: Final = re.compile(rb"\\u00(?:2[bBdDfF]|3[dD]|5[fF])")
_PARTIAL_ESCAPE: Final = re.compile(rb"\\(?:u(?:0(?:0[235]?)?)?)?")
_LONGEST_ESCAPE: Final = 6
_FIRST_LOOK: Final = 4096
_ENOUGH_ROOM: Final = MIN_IMAGE // 3 * 4 * _LONGEST_ESCAPE
_STANDARD: Final = b"+/"
_URL_SAFE: Final = b"-_"
_STANDARD_ONLY: Final = re.compile(rb"[+/]")


class ExtractionError(ValueError):
    """The body cannot be taken in: it is over a limit, or it ended too early."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one answer may hold: *images* and *text* in bytes, each summed over the answer.

    A 4K image is 5 to 25 MB; a model returns up to ten of them when it shows its drafts.
    """

    images: int = 256 * 2**20
    text: int = 32 * 2**20


class ImageExtractor:
    """Feed it a body, then :meth:`close` it; ``document`` and ``images`` are the result.

    *expected* is the bytes of the whole body, if they are known, so that room for the image can be made at once. Images go
    to files in *folder*, if there is one.
    """

    def __init__(self, limits: Limits = Limits(), expected: int = 0, folder: Path | None = None) -> None:
        self.images: dict[str, bytes] = {}
        self._folder = folder
        self._expected = expected
        self._limits = limits
        self._token = secrets.token_hex(16)
        self._text = bytearray()
        self._held = b""
        self._fed = 0  # bytes of the pieces before this one
        self._image_bytes = 0
        self._run: _Base64Run | None = None
        self._step: Callable[[ImageExtractor, bytes, int], int] = ImageExtractor._outside

    @property
    def document(self) -> bytes:
        """The body with a marker in place of each image."""
        return bytes(self._text)

    def feed(self, piece: bytes | memoryview) -> None:
        """Take in the next piece of the body.

        Raises:
            ExtractionError: a limit was passed.
        """
        self._take(piece)
        self._fed += len(piece)

    def _take(self, piece: bytes | memoryview) -> None:
        if self._run is not None and not self._held and self._run.gulp(piece):
            self._count_image_bytes(self._run)
            return
        data = bytes(piece)
        if self._held:
            data, self._held = self._held + data, b""
        position, end = 0, len(data)
        while position < end:
            reached = self._step(self, data, position)
            if reached < 0:  # undecided until more has come
                self._held = data[~reached:]
                return
            position = reached

    def close(self) -> None:
        """Tell that the body is over.

        Raises:
            ExtractionError: the body ended inside a string.
        """
        if self._run is not None:
            raise ExtractionError("the answer ended in the middle of an image")
        self._emit(self._held)
        self._held = b""
        if self._step is not ImageExtractor._outside:
            raise ExtractionError("the answer ended in the middle of a text")

    def discard(self) -> None:
        """Remove what was written to files."""
        if self._run is not None:
            self._run.discard()
        for image in self.images.values():
            if isinstance(image, FileBytes):
                image.discard()

    # Each step takes the data and a position, and returns the position it reached; ~position means: this step cannot
    # decide from there on without more data.

    def _outside(self, data: bytes, position: int) -> int:
        quote = data.find(b'"', position)
        if quote < 0:
            self._emit(data[position:])
            return len(data)
        self._emit(data[position : quote + 1])
        self._step = ImageExtractor._at_string
        return quote + 1

    def _at_string(self, data: bytes, position: int) -> int:
        return self._at_start(data, position, bare=True)

    def _at_data_uri(self, data: bytes, position: int) -> int:
        return self._at_start(data, position, bare=False)

    def _at_start(self, data: bytes, position: int, *, bare: bool) -> int:
        left = len(data) - position
        if _SIGNATURE.match(data, position) and (left < _ENOUGH_ROOM or _ENOUGH.match(data, position)):
            self._run = _Base64Run(self._room(), bare=bare)
            self._step = ImageExtractor._in_run
        elif left < _LONGEST_SIGNATURE and b'"' not in data[position:]:
            return ~position
        else:
            self._step = ImageExtractor._in_text
        return position

    def _in_text(self, data: bytes, position: int) -> int:
        found = _SPECIAL.search(data, position)
        if found is None:
            keep = max(position, len(data) - len(b"base64"))
            self._emit(data[position:keep])
            return ~keep
        stop = found.end()
        if found[0] == b"\\":
            stop += 1
            if stop > len(data):
                self._emit(data[position : found.start()])
                return ~found.start()
        elif found[0] == b'"':
            self._step = ImageExtractor._outside
        else:
            self._step = ImageExtractor._at_data_uri
        self._emit(data[position:stop])
        return stop

    def _in_run(self, data: bytes, position: int) -> int:
        run = self._run
        assert run is not None
        # Texts that only begin like images must not cost more than their length: look twice as far as they have come.
        end = min(len(data), position + max(_FIRST_LOOK, 2 * run.size))
        quote = data.find(b'"', position, end)
        stop = quote if quote >= 0 else _before_partial_escape(data, position, end)
        raw = data[position:stop]
        if run.push(_unescape(raw)):
            self._count_image_bytes(run)
            if quote >= 0:
                self._end_run(run)
                return stop
            return stop if stop == end or end < len(data) else ~stop
        return self._leave_run(run, data, position)

    def _leave_run(self, run: _Base64Run, data: bytes, position: int) -> int:
        """Something in the data is not base64: find it, and decide what the text before it was."""
        good = position if run.is_padded else _match_end(_RUN, data, position)
        padded = _match_end(_PADDING, data, good)
        whole = run.push(_unescape(data[position:good])) and run.push(_unescape(data[good:padded]))
        if not whole:
            self._give_back(run)
            return position
        if padded == len(data):
            return padded
        if _PARTIAL_ESCAPE.fullmatch(data, padded):
            return ~padded
        if run.bare and data[padded : padded + 1] != b'"':
            self._give_back(run)
        else:
            self._end_run(run)
        return padded

    def _end_run(self, run: _Base64Run) -> None:
        image = run.finish()
        if image is None:
            self._give_back(run)
            return
        self._count_image_bytes(run)
        marker = f"{self._token}{len(self.images):08x}"
        self.images[marker] = image
        self._image_bytes += len(image)
        self._run, self._step = None, ImageExtractor._in_text
        self._emit(marker.encode())

    def _give_back(self, run: _Base64Run) -> None:
        self._run, self._step = None, ImageExtractor._in_text
        self._emit(run.text())
        run.discard()

    def _room(self) -> Room:
        """Where an image goes; in memory, the first one gets room for what the rest of the body can hold."""
        if self._folder is not None:
            return FileRoom(self._folder)
        left = max(0, self._expected - self._fed)
        self._expected = 0
        return MemoryRoom(min(left * 3 // 4, self._limits.images, MAX_ROOM))

    def _count_image_bytes(self, run: _Base64Run) -> None:
        if self._image_bytes + run.size > self._limits.images:
            raise ExtractionError(f"the answer's images are over the limit of {self._limits.images} bytes")

    def _emit(self, text: bytes) -> None:
        if len(self._text) + len(text) > self._limits.text:
            raise ExtractionError(f"the answer's text is over the limit of {self._limits.text} bytes")
        self._text += text


class _Base64Run:
    """Base64 text being decoded into *room*, in a form from which the same text can be made again."""

    def __init__(self, room: Room, *, bare: bool) -> None:
        self.bare = bare
        self.size = 0
        self._room = room
        self._carry = b""  # fewer than four characters that wait for the rest of their group
        self._padding = 0
        self._alphabet: bytes | None = None  # unknown until a character tells the two alphabets apart

    @property
    def is_padded(self) -> bool:
        """Whether the text has come to its padding, after which no more base64 can follow."""
        return self._padding > 0

    def push(self, characters: bytes) -> bool:
        """Decode *characters*; False, with nothing taken, if they are not base64 or do not go on what came before."""
        body = characters.rstrip(b"=")
        if b"=" in body or (body and self._padding):
            return False
        joined = self._carry + body
        whole = len(joined) & ~3
        alphabet = self._alphabet or _alphabet_of(joined)
        decoded = _decode(memoryview(joined)[:whole], alphabet)
        if decoded is None or not _CHARACTERS.fullmatch(joined, whole):
            return False
        self._alphabet = alphabet
        self._room.write(decoded)
        self.size += len(decoded)
        self._carry = joined[whole:]
        self._padding += len(characters) - len(body)
        return True

    def gulp(self, piece: bytes | memoryview) -> bool:
        """:meth:`push`, at a fifth of its cost, for a *piece* in the middle of a long text; False, with nothing taken, if
        that is not what it is.
        """
        if self._alphabet is not _STANDARD or self._padding:
            return False
        head = -len(self._carry) % 4
        whole = head + ((len(piece) - head) & ~3)
        first = _strictly_decoded(self._carry + bytes(piece[:head]))
        rest = _strictly_decoded(memoryview(piece)[head:whole])
        if first is None or rest is None or not _CHARACTERS.fullmatch(piece, whole):
            return False
        self._room.write(first)
        self._room.write(rest)
        self.size += len(first) + len(rest)
        self._carry = bytes(piece[whole:])
        return True

    def finish(self) -> bytes | None:
        """The decoded bytes, without a copy; None if the text as a whole is not base64 or too short for an image."""
        tail = _decode(self._carry + b"=" * (-len(self._carry) % 4), self._alphabet)
        if tail is None or self.size < MIN_IMAGE or not self._is_whole(tail):
            return None
        self._room.write(tail)
        self.size += len(tail)
        return self._room.value()

    def _is_whole(self, tail: bytes) -> bool:
        """Whether the last characters say no more than *tail*: a text that is cut, to go on elsewhere, says more."""
        return pybase64.b64encode(tail, altchars=self._alphabet).rstrip(b"=") == self._carry

    def text(self) -> bytes:
        """The text that was pushed."""
        encoded = pybase64.b64encode(self._room.value(), altchars=self._alphabet)
        return encoded + self._carry + b"=" * self._padding

    def discard(self) -> None:
        """Forget what was decoded."""
        self._room.discard()


def _alphabet_of(characters: bytes) -> bytes | None:
    """The two characters by which the alphabet of *characters* differs from the other one; None if neither is there."""
    if b"-" in characters or b"_" in characters:
        return _URL_SAFE
    return _STANDARD if b"+" in characters or b"/" in characters else None


def _decode(characters: bytes | memoryview, alphabet: bytes | None) -> bytes | None:
    """The bytes that *characters*, whole groups of four, stand for; None if any of them is not of the alphabet."""
    if alphabet == _URL_SAFE and _STANDARD_ONLY.search(characters):
        return None
    try:
        return pybase64.b64decode(characters, altchars=_URL_SAFE if alphabet == _URL_SAFE else None, validate=True)
    except binascii.Error:
        return None


def _strictly_decoded(characters: bytes | memoryview) -> bytes | None:
    """The bytes that *characters* stand for; None if they are not whole groups of the standard alphabet, unpadded."""
    if bytes(characters[-1:]) == b"=":
        return None
    try:
        return pybase64.b64decode(characters, validate=True)
    except binascii.Error:
        return None


def _unescape(raw: bytes) -> bytes:
    """*raw* with the JSON escapes of base64 characters undone."""
    if b"\\" not in raw:
        return raw
    raw = raw.replace(b"\\/", b"/")  # by far the commonest; one of 64 characters where PHP wrote the JSON
    return _ESCAPED.sub(lambda found: bytes([int(found[0][2:], 16)]), raw) if b"\\" in raw else raw


def _before_partial_escape(data: bytes, position: int, end: int) -> int:
    """*end*, or the start of an escape in *data* that it cuts in two."""
    start = data.rfind(b"\\", max(position, end - _LONGEST_ESCAPE + 1), end)
    return start if start >= 0 and _PARTIAL_ESCAPE.fullmatch(data, start, end) else end


def _match_end(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    found = pattern.match(data, position)
    return found.end() if found else position
