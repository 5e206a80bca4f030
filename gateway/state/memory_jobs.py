"""Batch jobs in this process alone, gone with it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence

from gateway.state.stores import HEAD, Kind, Record


class MemoryJobs:
    """The records in dictionaries."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[Kind, dict[str, str]]] = {}
        self._lock = threading.Lock()

    async def put(self, job: str, records: Sequence[Record], unless: Record | None = None) -> bool:
        """See :class:`~gateway.state.stores.JobStore`."""
        with self._lock:
            kept = self._kept.setdefault(job, defaultdict(dict))
            if unless is not None and unless.name in kept[unless.kind]:
                return False
            for record in records:
                kept[record.kind][record.name] = record.text
            return True

    async def read(self, job: str, kind: Kind) -> dict[str, str]:
        """See :class:`~gateway.state.stores.JobStore`."""
        with self._lock:
            return dict(self._kept[job][kind]) if job in self._kept else {}

    async def heads(self) -> dict[str, str]:
        """See :class:`~gateway.state.stores.JobStore`."""
        with self._lock:
            return {job: kept[HEAD][""] for job, kept in self._kept.items() if "" in kept[HEAD]}

    async def discard(self, job: str) -> None:
        """See :class:`~gateway.state.stores.JobStore`."""
        with self._lock:
            self._kept.pop(job, None)
