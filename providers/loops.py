"""Things that belong to the event loop that made them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One *T* for each event loop, made on first use: connections and limiters belong to the loop that opened them."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def get(self) -> T:
        """The running loop's own."""
        loop = asyncio.get_running_loop()
        if loop not in self._made:
            made = self._make()
            with self._lock:
                self._forget_closed_loops()
                self._made[loop] = made
        return self._made[loop]

    def pop(self) -> T | None:
        """Take the running loop's own out, if there is one."""
        with self._lock:
            return self._made.pop(asyncio.get_running_loop(), None)

    def _forget_closed_loops(self) -> None:
        """Connections refer to their loop, so that the weak references alone would keep both for ever."""
        for loop in [loop for loop in self._made if loop.is_closed()]:
            del self._made[loop]
