"""What is to be done with each row of a bulk run, after what the manifest knows of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from gateway.bulk.run import changed
from gateway.cli.manifest import Entry, Manifest, identity, now
from gateway.request import ImageRequest
from gateway.state.claims import KEPT
from providers.errors import InvalidRequest

MARGIN: Final = 3600.0
"""Seconds before the end of the time for which a key is remembered, from which on nobody relies on it."""

Standing = Literal["done", "new", "lost", "failed", "refused", "unknown"]
"""``lost``: done, but its files are gone or changed. ``refused``: the model refused it. ``unknown``: a call was under way."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file: its *key*, what it asks for (*asked*, a hash), and how it stands."""

    key: str
    asked: str
    request: ImageRequest
    standing: Standing
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a run goes on. *again*: what was refused, or may have been paid for, is asked once more.

    *lasting*: the state outlives the process, so that a call which was under way is known by its idempotency key.
    """

    manifest: Manifest
    again: bool
    lasting: bool

    def rows(self, requests: Iterable[tuple[str, ImageRequest]]) -> list[Row]:
        """How each row stands. Reads the files of those that are done.

        Raises:
            InvalidRequest: reference images cannot be read.
        """
        return [self._row(key, request) for key, request in requests]

    def is_to_do(self, row: Row) -> bool:
        """Whether the row is to be drawn now."""
        if row.standing == "unknown":
            return self.again or self._is_remembered(row)
        return row.standing in ("new", "lost", "failed") or (row.standing == "refused" and self.again)

    def begun(self, row: Row, expected: Decimal) -> Entry:
        """The entry of a row for which a call is about to be made that is expected to cost so much (USD)."""
        return Entry(
            key=row.key,
            asked=row.asked,
            state="begun",
            at=now(),
            stem=self.manifest.stem(row.key, row.asked, row.request.n),
            prompt=row.request.prompt,
            requested_size=row.request.size,
            tries=self._tries(row),
            usd=f"{expected:f}",
        )

    def request(self, row: Row, entry: Entry) -> ImageRequest:
        """The request of a row, with the place for its images, and the key under which it is paid for once."""
        place = self.manifest.folder / entry.stem
        if not self.lasting:  # nobody would ask for the key again, and what is kept under it would fill the memory
            return changed(row.request, save_to=place)
        key = f"bulk/{self.manifest.run}/{row.key}/{row.asked[:16]}/{entry.tries}"
        return changed(row.request, idempotency_key=key, save_to=place, allow_second_charge=self.again)

    def _row(self, key: str, request: ImageRequest) -> Row:
        try:
            asked = identity(request)
        except InvalidRequest as error:
            raise InvalidRequest(f"{key}: {error}") from None
        entry = self.manifest.of(key, asked)
        return Row(key, asked, request, self._standing(entry), entry)

    def _standing(self, entry: Entry | None) -> Standing:
        if entry is None:
            return "new"
        if entry.state == "done":
            return "done" if self.manifest.is_intact(entry) else "lost"
        if entry.state == "begun" or entry.error == "OutcomeUnknown":
            return "unknown"
        return "refused" if entry.error == "ContentBlocked" else "failed"

    def _is_remembered(self, row: Row) -> bool:
        """Whether the idempotency key still tells what came of a call that was under way."""
        return self.lasting and row.entry is not None and row.entry.age < KEPT.total_seconds() - MARGIN

    @staticmethod
    def _tries(row: Row) -> int:
        """How many times the row has failed for good: each further try has a key of its own."""
        if row.entry is None:
            return 0
        return row.entry.tries + (row.standing in ("failed", "refused"))
