"""The turns of an event loop, counted: what happens within one holds up everything else."""

from __future__ import annotations

import asyncio
from typing import Any


class Turns:
    """How many turns the running event loop has taken since."""

    def __init__(self) -> None:
        self.taken = 0
        self._loop: Any = asyncio.get_running_loop()
        self._run_once = self._loop._run_once
        self._loop._run_once = self._counted

    def _counted(self) -> None:
        self.taken += 1
        self._run_once()
