"""What a gateway tells of its work, to whom, and in which words."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterator, MutableMapping
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.events import (
    ENTRIES,
    AttemptEnded,
    AttemptStarted,
    Emitter,
    Event,
    LaneChanged,
    RequestEnded,
    RequestStarted,
    listening,
    warn,
)
from providers.outcome import Usage

NASTY = "two\nlines \x1b[2J \u202eesrever %s %d \u2028 \x00"
ESCAPED = r"two\nlines \x1b[2J \u202eesrever %s %d \u2028 \x00"


def request_started(request_id: str = "r1", prompt: str | None = None) -> RequestStarted:
    return RequestStarted(
        request_id=request_id, size="2K", n=1, model=None, task=None, quality="standard", tags={}, prompt=prompt
    )


def attempt_started(number: int = 1) -> AttemptStarted:
    return AttemptStarted(
        request_id="r1", number=number, lane="first/painter", provider="first", model="painter", size="2K"
    )


ATTEMPT_ENDED = AttemptEnded(
    request_id="r1", number=1, lane="first/painter", provider="first", model="painter", size="2K", outcome="ok",
    billed="yes", usd=Decimal("0.050"), basis="catalogue", seconds=4.00049,
)  # fmt: skip

REQUEST_ENDED = RequestEnded(
    request_id="r1", outcome="ok", requested_size="2K", seconds=5.0, attempts=2, total_usd=Decimal("0.1"),
    lane="first/painter", size="2K", images=1, usd=Decimal("0.05"),
)  # fmt: skip

LANE_CHANGED = LaneChanged(
    lane="first/painter", state_before="closed", state_after="open", reason="overloaded", until=10.0
)


@pytest.fixture
def entries() -> Iterator[list[MutableMapping[str, Any]]]:
    """What an application that has configured structlog gets to log."""
    with structlog.testing.capture_logs() as captured:
        structlog.configure(processors=structlog.get_config()["processors"])
        yield captured
    structlog.reset_defaults()


@pytest.fixture
def plain(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What an application without structlog gets to log."""
    monkeypatch.delitem(sys.modules, "structlog")
    caplog.set_level(logging.INFO, "image_gateway")
    return caplog


def test_each_end_is_one_entry_with_these_very_fields(entries: list[MutableMapping[str, Any]]) -> None:
    emitter = Emitter()
    usage = Usage(input_text=12, output_image=1120)
    for event in (
        request_started(prompt="a fox"),
        attempt_started(),
        replace(ATTEMPT_ENDED, usage=usage, tags={"team": "posters"}),
        LANE_CHANGED,
        replace(REQUEST_ENDED, tags={"team": "posters"}, task="poster"),
    ):
        emitter.emit(event)
    assert entries == [
        {
            "event": "image_attempt", "log_level": "info", "request_id": "r1", "number": 1, "lane": "first/painter",
            "provider": "first", "model": "painter", "size": "2K", "outcome": "ok", "billed": "yes", "usd": "0.050",
            "basis": "catalogue", "seconds": 4.0, "retry_after": None, "detail": "",
            "usage": {"input_text": 12, "output_image": 1120}, "import_seconds": 0.0, "tags": {"team": "posters"},
        },
        {
            "event": "image_lane", "log_level": "info", "lane": "first/painter", "state_before": "closed",
            "state_after": "open", "reason": "overloaded", "until": 10.0,
        },
        {
            "event": "image_request", "log_level": "info", "request_id": "r1", "outcome": "ok",
            "requested_size": "2K", "seconds": 5.0, "attempts": 2, "total_usd": "0.1", "lane": "first/painter",
            "size": "2K", "downgraded": False, "images": 1, "usd": "0.05", "cached": False, "task": "poster",
            "tags": {"team": "posters"},
        },
    ]  # fmt: skip


@pytest.mark.parametrize(("usd", "told"), [("1E+1", "10"), ("0E-7", "0.0000000"), ("0.02", "0.02")])
def test_money_is_written_out(entries: list[MutableMapping[str, Any]], usd: str, told: str) -> None:
    Emitter().emit(replace(ATTEMPT_ENDED, usd=Decimal(usd)))
    assert entries[0]["usd"] == told


def test_without_structlog_the_entries_go_to_the_standard_logger(plain: pytest.LogCaptureFixture) -> None:
    emitter = Emitter()
    for event in (attempt_started(), ATTEMPT_ENDED, REQUEST_ENDED):
        emitter.emit(event)
    lines = [record.getMessage() for record in plain.records]
    assert [line.partition(" ")[0] for line in lines] == ["image_attempt", "image_request"]
    assert "'usd': '0.050'" in lines[0]
    assert {record.name for record in plain.records} == {"image_gateway"}


def test_nothing_is_printed_where_nobody_configured_logging(capfd: pytest.CaptureFixture[str]) -> None:
    assert not structlog.is_configured()
    Emitter().emit(ATTEMPT_ENDED)
    assert capfd.readouterr() == ("", "")


def test_no_prompt_is_logged_even_where_it_is_recorded(plain: pytest.LogCaptureFixture) -> None:
    Emitter().emit(request_started(prompt="the mayor"))
    assert plain.records == []
    assert "mayor" not in repr(request_started(prompt="the mayor"))


def nasty_events() -> list[Event]:
    return [
        replace(ATTEMPT_ENDED, detail=NASTY, model=NASTY, tags={NASTY: NASTY}),
        replace(REQUEST_ENDED, task=NASTY, tags={NASTY: NASTY}),
        replace(LANE_CHANGED, lane=NASTY),
    ]


@pytest.mark.parametrize("event", nasty_events(), ids=lambda event: type(event).__name__)
def test_whatever_a_text_holds_it_is_one_escaped_line_in_the_standard_log(
    plain: pytest.LogCaptureFixture, event: Event
) -> None:
    Emitter().emit(event)
    (line,) = [logging.Formatter("%(message)s").format(record) for record in plain.records]
    assert line.isprintable()
    assert ESCAPED in line


@pytest.mark.parametrize(
    "renderer",
    [
        structlog.dev.ConsoleRenderer(colors=False),
        structlog.processors.KeyValueRenderer(),
        structlog.processors.LogfmtRenderer(),
        structlog.processors.JSONRenderer(),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ],
    ids=lambda renderer: type(renderer).__name__,
)
@pytest.mark.parametrize("event", nasty_events(), ids=lambda event: type(event).__name__)
def test_whatever_a_text_holds_it_is_one_escaped_line_in_structlog(
    capsys: pytest.CaptureFixture[str], renderer: Any, event: Event
) -> None:
    structlog.configure(processors=[renderer])
    try:
        Emitter().emit(event)
    finally:
        structlog.reset_defaults()
    line = capsys.readouterr().out
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert "esrever" in line


@pytest.mark.parametrize("configured", [False, True])
def test_a_warning_is_one_line_too(capsys: pytest.CaptureFixture[str], configured: bool) -> None:
    handler = logging.StreamHandler(sys.stdout)
    logging.getLogger("image_gateway").addHandler(handler)
    if configured:
        structlog.configure(processors=[structlog.processors.KeyValueRenderer(key_order=["event"])])
    try:
        warn(NASTY)
    finally:
        structlog.reset_defaults()
        logging.getLogger("image_gateway").removeHandler(handler)
    line = capsys.readouterr().out
    assert line[:-1].isprintable()
    assert "esrever %s %d" in line


def test_a_listener_hears_every_event_as_it_is_until_it_unsubscribes() -> None:
    emitter, heard = Emitter(), list[Event]()
    told = (request_started(), attempt_started(), ATTEMPT_ENDED, LANE_CHANGED, REQUEST_ENDED)
    unsubscribe = emitter.on_event(heard.append)
    for event in told:
        emitter.emit(event)
    unsubscribe()
    unsubscribe()
    emitter.emit(request_started(request_id="r2"))
    assert heard == list(told)


def test_a_listener_that_subscribed_twice_unsubscribes_once() -> None:
    emitter, heard = Emitter(), list[Event]()
    emitter.on_event(heard.append)
    emitter.on_event(heard.append)()
    emitter.emit(LANE_CHANGED)
    assert heard == [LANE_CHANGED]


def test_listeners_hear_the_gateway_they_asked_and_no_other() -> None:
    first, second, heard = Emitter(), Emitter(), list[Event]()
    first.on_event(heard.append)
    second.emit(LANE_CHANGED)
    assert heard == []


def test_a_listener_may_unsubscribe_while_it_is_told() -> None:
    emitter, heard = Emitter(), list[str]()

    def once(event: Event) -> None:
        heard.append("once")
        unsubscribe()

    unsubscribe = emitter.on_event(once)
    emitter.on_event(lambda event: heard.append("always"))
    emitter.emit(LANE_CHANGED)
    emitter.emit(LANE_CHANGED)
    assert heard == ["once", "always", "always"]


def test_a_coroutine_function_is_refused_at_once() -> None:
    async def listener(event: Event) -> None: ...

    with pytest.raises(TypeError, match="expected a plain function"):
        Emitter().on_event(listener)  # type: ignore[arg-type]


def test_a_listener_that_fails_stops_nobody_and_is_logged_once(plain: pytest.LogCaptureFixture) -> None:
    emitter, heard = Emitter(), list[Event]()

    def broken(event: Event) -> None:
        raise ValueError("sk-live-a-key-from-elsewhere")

    emitter.on_event(broken)
    emitter.on_event(heard.append)
    with listening(broken):
        emitter.emit(attempt_started())
        emitter.emit(attempt_started(number=2))
    assert heard == [attempt_started(), attempt_started(number=2)]
    warnings = [record.getMessage() for record in plain.records if record.levelno == logging.WARNING]
    assert warnings == ["a listener of events failed with ValueError at AttemptStarted"] * 2  # there are two of them


def test_a_log_that_fails_stops_nobody() -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("disk full")

    emitter, heard = Emitter(), list[Event]()
    emitter.on_event(heard.append)
    structlog.configure(processors=[broken])
    try:
        emitter.emit(REQUEST_ENDED)
    finally:
        structlog.reset_defaults()
    assert heard == [REQUEST_ENDED]


def test_ctrl_c_in_a_listener_is_not_swallowed() -> None:
    def pressed(event: Event) -> None:
        raise KeyboardInterrupt

    emitter = Emitter()
    emitter.on_event(pressed)
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(LANE_CHANGED)


def test_listening_hears_every_gateway_but_only_in_its_block_and_thread() -> None:
    outer, inner = list[Event](), list[Event]()
    with listening(outer.append):
        Emitter().emit(attempt_started())
        with listening(inner.append):
            Emitter().emit(ATTEMPT_ENDED)
        elsewhere = threading.Thread(target=Emitter().emit, args=[LANE_CHANGED])
        elsewhere.start()
        elsewhere.join()
    Emitter().emit(REQUEST_ENDED)
    assert outer == [attempt_started(), ATTEMPT_ENDED]
    assert inner == [ATTEMPT_ENDED]


def test_the_entry_is_logged_before_listeners_are_told() -> None:
    order: list[str] = []

    def logged(*_: object) -> str:
        order.append("log")
        raise structlog.DropEvent

    emitter = Emitter()
    emitter.on_event(lambda event: order.append("listener"))
    structlog.configure(processors=[logged])
    try:
        emitter.emit(ATTEMPT_ENDED)
    finally:
        structlog.reset_defaults()
    assert order == ["log", "listener"]


def test_the_docs_list_the_fields_of_every_entry() -> None:
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(image_\w+)` \| (`request_id.*|`lane.*) \|$", page, re.MULTILINE))
    listed = {name: re.findall(r"`(\w+)`", row) for name, row in rows.items()}
    assert listed == {name: [field.name for field in fields(kind)] for kind, name in ENTRIES.items()}
