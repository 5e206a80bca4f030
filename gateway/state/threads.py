"""Threads that write for others, and for which the end of the process waits."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from typing import Final

LAST_WORDS: Final = 5.0
"""Seconds at most that the end of the process waits for what is still to be written."""

_running: set[threading.Thread] = set()


def started(work: Callable[[], None]) -> threading.Thread:
    """A thread that does *work*. It does not keep the process from ending, unless it has been told to stop and still writes."""

    def whole() -> None:
        try:
            work()
        finally:
            _running.discard(thread)

    thread = threading.Thread(target=whole, name="image-gateway-state", daemon=True)
    _running.add(thread)
    thread.start()
    return thread


@atexit.register
def _wait() -> None:
    for thread in list(_running):
        thread.join(LAST_WORDS)
