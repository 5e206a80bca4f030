"""What a gateway tells of its work: events as data, for whoever listens, and one log entry for each that ends something.

No event holds a key, a header, a body or an image; a prompt only where ``gateway.record_prompts`` asks for it, and none is
ever logged.
"""

from __future__ import annotations

import inspect
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Final

from gateway.forking import survives
from gateway.health.health import State
from gateway.result import CostBasis
from providers.outcome import Billed, OutcomeName, Usage
from providers.sizes import Size

LOGGER_NAME: Final = "image_gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStarted:
    """A request came in. *model* is what it asks for, in order of preference; None: the router picks.

    *prompt* is None unless ``gateway.record_prompts`` is on.
    """

    request_id: str
    size: Size
    n: int
    model: tuple[str, ...] | None
    task: str | None
    quality: str
    tags: Mapping[str, str]
    prompt: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """A call is about to be made. *number* counts the attempts of a request from 1; *images* is how many it asks for."""

    request_id: str
    number: int
    lane: str
    provider: str
    model: str
    size: Size
    images: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """A call ended, however it did.

    *usd* is what it did or may have cost and *basis* who says so; None if it was provably free. *seconds* is how long it
    took, *retry_after* seconds that the upstream hinted at. *detail* is sanitised and at most 200 characters. *usage* is
    the tokens the upstream reported. *import_seconds* of it went into importing the SDK, which a process does once.
    """

    request_id: str
    number: int
    lane: str
    provider: str
    model: str
    size: Size
    outcome: OutcomeName
    billed: Billed
    usd: Decimal | None
    basis: CostBasis | None
    seconds: float
    retry_after: float | None = None
    detail: str = ""
    usage: Usage | None = None
    import_seconds: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnded:
    """A request ended, however it did.

    *outcome* is ``"ok"`` or the name of the error's class. *lane*, *size* (what the pixels say) and *usd* (the price of
    the images delivered) are None where nothing was delivered; *total_usd* adds every attempt that was or may have been
    billed. *images* is how many were delivered, *attempts* how many calls were made; *cached*: another request paid for them.
    """

    request_id: str
    outcome: str
    requested_size: Size
    seconds: float
    attempts: int
    total_usd: Decimal
    lane: str | None = None
    size: Size | None = None
    downgraded: bool = False
    images: int = 0
    cached: bool = False
    usd: Decimal | None = None
    task: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneChanged:
    """A lane was shut, or let calls through again. *reason* is the outcome that shut it; *until* is seconds from now."""

    lane: str
    state_before: State
    state_after: State
    reason: str
    until: float | None


Event = RequestStarted | AttemptStarted | AttemptEnded | RequestEnded | LaneChanged

Listener = Callable[[Event], None]
"""Is told of an event on the thread and at the moment it happens: it must be quick, and it must not block."""

ENTRIES: Final[Mapping[type[Event], str]] = {
    AttemptEnded: "image_attempt",
    RequestEnded: "image_request",
    LaneChanged: "image_lane",
}
"""The name of the log entry for each event that has one. Its fields are those of the event."""


@dataclass(slots=True, eq=False)
class _Subscription:
    """A listener, and whether it has failed before."""

    listener: Listener
    failed: bool = False

    def tell(self, event: Event) -> None:
        """Nothing that a listener does wrong may cost an image; its first failure is logged, without its words."""
        try:
            self.listener(event)
        except Exception as error:
            if not self.failed:
                self.failed = True
                with suppress(Exception):  # it may be the log itself that failed
                    warn(f"a listener of events failed with {type(error).__name__} at {type(event).__name__}")


_of_the_context: ContextVar[tuple[_Subscription, ...]] = ContextVar("listeners", default=())


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell *listener* of the events of the calls made within the block, whichever gateway makes them."""
    token = _of_the_context.set((*_of_the_context.get(), _Subscription(listener)))
    try:
        yield
    finally:
        _of_the_context.reset(token)


class Emitter:
    """Tells the log, the listeners of one gateway, and those of the calling context. Any thread may use it."""

    def __init__(self) -> None:
        self._log = _Subscription(_log)
        self._listeners: tuple[_Subscription, ...] = ()
        self.after_fork()
        survives(self)

    def after_fork(self) -> None:
        """Free the lock."""
        self._lock = threading.Lock()

    def on_event(self, listener: Listener) -> Callable[[], None]:
        """Tell *listener* of every event from now on, until what is returned is called.

        Raises:
            TypeError: *listener* is a coroutine function; nobody would await it.
        """
        if inspect.iscoroutinefunction(listener):
            raise TypeError("on_event: expected a plain function, which may start a task; got a coroutine function")
        subscription = _Subscription(listener)
        with self._lock:
            self._listeners = (*self._listeners, subscription)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(each for each in self._listeners if each is not subscription)

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Tell everybody of *event*. Never raises an :class:`Exception`.

        The log comes first: what a listener sets up for the time of an attempt (a span) is still there then.
        """
        for subscription in (self._log, *self._listeners, *_of_the_context.get()):
            subscription.tell(event)


def entry(event: Event) -> dict[str, Any]:
    """The fields of *event* as they are logged: money as text, seconds to the millisecond, tokens by kind."""
    return {each.name: _plain(getattr(event, each.name)) for each in fields(event)}


def warn(sentence: str) -> None:
    """Log *sentence*, which somebody should read, at warning level."""
    structlog = _configured_structlog()
    logger = structlog.get_logger(LOGGER_NAME) if structlog is not None else logging.getLogger(LOGGER_NAME)
    logger.warning(_one_line(sentence))


def _log(event: Event) -> None:
    """Log *event* at info level, if it is one that is logged.

    The entry goes through structlog as the application configured it. Where no application did, it goes to the standard
    library's logger ``image_gateway``, which stays silent by default: structlog's own default would print to standard
    output.
    """
    name = ENTRIES.get(type(event))
    if name is None:
        return
    structlog = _configured_structlog()
    if structlog is not None:
        structlog.get_logger(LOGGER_NAME).info(name, **{key: _one_line(value) for key, value in entry(event).items()})
        return
    logger = logging.getLogger(LOGGER_NAME)
    if logger.isEnabledFor(logging.INFO):  # making the entry costs more than asking
        logger.info("%s %s", name, entry(event))  # a mapping's own text is escaped


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Usage):
        return {each.name: count for each in fields(value) if (count := getattr(value, each.name)) is not None}
    return dict(value) if isinstance(value, Mapping) else value


def _one_line(value: Any) -> Any:
    """*value*; in its texts, whatever breaks lines, moves the cursor or turns the direction of writing is escaped."""
    if isinstance(value, Mapping):
        return {_one_line(key): _one_line(item) for key, item in value.items()}
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in value)


def _configured_structlog() -> Any:
    structlog = sys.modules.get("structlog")  # importing it takes as long as the rest of this package
    return structlog if structlog is not None and structlog.is_configured() else None
