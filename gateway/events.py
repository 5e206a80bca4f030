"""What the gateway tells its logs: one event per attempt and one per request, with stable names and no prompts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

LOGGER_NAME: Final = "image_gateway"

Listener = Callable[[str, Mapping[str, Any]], None]
"""Is told the name and the fields of an event, on the thread and at the moment it happens; it must not block or raise."""

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell *listener* of the events of the calls made within the block, as well as the logs."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def emit(event: str, **fields: Any) -> None:
    """Log *event* at info level, after telling those who are :func:`listening`.

    The log entry goes through structlog as the application configured it. Where no application did, it goes to the
    standard library's logger ``image_gateway``, which stays silent by default: structlog's own default would print to
    standard output.
    """
    for listener in _listeners.get():
        listener(event, fields)
    structlog = _configured_structlog()
    if structlog is not None:
        structlog.get_logger(LOGGER_NAME).info(event, **fields)
    else:
        logging.getLogger(LOGGER_NAME).info("%s %s", event, fields)


def warn(sentence: str) -> None:
    """Log *sentence*, which somebody should read, at warning level."""
    structlog = _configured_structlog()
    logger = structlog.get_logger(LOGGER_NAME) if structlog is not None else logging.getLogger(LOGGER_NAME)
    logger.warning(sentence)


def _configured_structlog() -> Any:
    structlog = sys.modules.get("structlog")  # importing it takes as long as the rest of this package
    return structlog if structlog is not None and structlog.is_configured() else None
