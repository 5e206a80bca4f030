"""Spans and metrics, made of events."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from gateway import telemetry
from gateway.configuration import config as configuration
from gateway.configuration.config import Config
from gateway.events import AttemptEnded, AttemptStarted, Emitter, LaneChanged, Listener, RequestEnded, RequestStarted
from gateway.telemetry import instrument
from providers.outcome import Usage
from tests.gateway.spans import Collected

KEY = "sk-canary-0123456789abcdef"
LANE = {"model": "painter", "upstream_model": "painter-2026-preview", "sizes": ["1K", "2K"], "price": {"1K": 0.05}}
TABLES = {
    "providers": {
        "first": {
            "kind": "openai", "base_url": "https://relay.example:8443/tenant-7431/v1", "dialect": "chat",
            "api_key": KEY, "lanes": [{**LANE, "price": {"1K": 0.05, "2K": 0.05}}],
        },
        "native": {"kind": "google", "api_key": KEY},
    }
}  # fmt: skip

REQUEST_STARTED = RequestStarted(
    request_id="r1", size="2K", n=1, model=("painter",), task="poster", quality="standard", tags={"team": "posters"}
)
ATTEMPT_STARTED = AttemptStarted(
    request_id="r1", number=1, lane="first/painter", provider="first", model="painter", size="2K"
)
ATTEMPT_ENDED = AttemptEnded(
    request_id="r1", number=1, lane="first/painter", provider="first", model="painter", size="2K", outcome="ok",
    billed="yes", usd=Decimal("0.05"), basis="catalogue", seconds=4.0,
)  # fmt: skip
FAILED = replace(
    ATTEMPT_ENDED, outcome="overloaded", billed="maybe", usd=Decimal("0.02"), retry_after=3.0, detail="too busy"
)
REQUEST_ENDED = RequestEnded(
    request_id="r1", outcome="ok", requested_size="2K", seconds=5.0, attempts=1, total_usd=Decimal("0.07"),
    lane="first/painter", size="2K", images=1, usd=Decimal("0.05"),
)  # fmt: skip
REQUEST_FAILED = RequestEnded(
    request_id="r1",
    outcome="AllAttemptsFailed",
    requested_size="2K",
    seconds=5.0,
    attempts=1,
    total_usd=Decimal("0.02"),
)


class Pretended:
    """A gateway of which only the events are real."""

    def __init__(self, loaded: Config) -> None:
        self.config = loaded
        self.emitter = Emitter()

    def on_event(self, listener: Listener) -> Callable[[], None]:
        return self.emitter.on_event(listener)

    def tell(self, *events: Any) -> None:
        for event in events:
            self.emitter.emit(event)


@pytest.fixture(scope="module")
def loaded() -> Config:
    return configuration.load(TABLES, environ={})


@pytest.fixture
def collected() -> Collected:
    return Collected()


@pytest.fixture
def gateway(loaded: Config, collected: Collected) -> Iterator[Pretended]:
    pretended = Pretended(loaded)
    undo = instrument(pretended, collected.tracer_provider, collected.meter_provider)
    yield pretended
    undo()


@pytest.fixture(autouse=True)
def nothing_stays_current(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test no span is current, and OpenTelemetry complained of nothing."""
    yield
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert [record.getMessage() for record in caplog.records if record.name.startswith("opentelemetry")] == []


def current() -> str:
    """The name of the current span."""
    return str(getattr(trace.get_current_span(), "name", ""))


def test_a_request_is_a_span_and_each_attempt_one_below_it(gateway: Pretended, collected: Collected) -> None:
    second = replace(ATTEMPT_STARTED, number=2), replace(ATTEMPT_ENDED, number=2)
    gateway.tell(REQUEST_STARTED, ATTEMPT_STARTED, FAILED, *second, REQUEST_ENDED)
    attempt = "image_request > generate_content painter-2026-preview"
    assert collected.tree == [attempt, attempt, " > image_request"]
    assert [span.kind for span in collected.spans] == [SpanKind.CLIENT, SpanKind.CLIENT, SpanKind.INTERNAL]
    assert [span.status.status_code for span in collected.spans] == [
        StatusCode.ERROR, StatusCode.UNSET, StatusCode.UNSET,
    ]  # fmt: skip


def test_an_attempt_says_what_the_convention_asks_for(gateway: Pretended, collected: Collected) -> None:
    usage = Usage(input_text=12, input_image=258, output_text=3, output_image=1120, thoughts=100)
    gateway.tell(ATTEMPT_STARTED, replace(ATTEMPT_ENDED, usage=usage))
    assert dict(collected.spans[0].attributes or {}) == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "painter-2026-preview",
        "gen_ai.output.type": "image",
        "gen_ai.usage.input_tokens": 270,
        "gen_ai.usage.output_tokens": 1223,
        "gen_ai.usage.reasoning.output_tokens": 100,
        "server.address": "relay.example",
        "server.port": 8443,
        "image_gateway.request_id": "r1",
        "image_gateway.attempt": 1,
        "image_gateway.lane": "first/painter",
        "image_gateway.size": "2K",
        "image_gateway.billed": "yes",
        "image_gateway.cost.usd": 0.05,
        "image_gateway.cost.basis": "catalogue",
    }


def test_a_request_says_what_was_asked_and_what_came(gateway: Pretended, collected: Collected) -> None:
    gateway.tell(REQUEST_STARTED, REQUEST_ENDED)
    assert dict(collected.spans[0].attributes or {}) == {
        "image_gateway.request_id": "r1",
        "image_gateway.requested_size": "2K",
        "image_gateway.requested_images": 1,
        "image_gateway.requested_model": ("painter",),
        "image_gateway.task": "poster",
        "image_gateway.quality": "standard",
        "image_gateway.tag.team": "posters",
        "image_gateway.lane": "first/painter",
        "image_gateway.size": "2K",
        "image_gateway.downgraded": False,
        "image_gateway.images": 1,
        "image_gateway.cached": False,
        "image_gateway.attempts": 1,
        "image_gateway.cost.usd": 0.05,
        "image_gateway.cost.total_usd": 0.07,
    }


def test_what_failed_says_how(gateway: Pretended, collected: Collected) -> None:
    gateway.tell(REQUEST_STARTED, ATTEMPT_STARTED, FAILED, REQUEST_FAILED)
    attempt, request = collected.spans
    assert (attempt.attributes or {})["error.type"] == "overloaded"
    assert (attempt.attributes or {})["image_gateway.retry_after"] == 3.0
    assert attempt.status.description == "too busy"
    assert (request.attributes or {})["error.type"] == "AllAttemptsFailed"
    assert request.status.status_code is StatusCode.ERROR


def test_several_images_of_one_call_are_choices(gateway: Pretended, collected: Collected) -> None:
    gateway.tell(replace(ATTEMPT_STARTED, images=3), ATTEMPT_ENDED)
    assert (collected.spans[0].attributes or {})["gen_ai.request.choice.count"] == 3


def test_the_vendors_own_wire_has_the_vendors_name(gateway: Pretended, collected: Collected) -> None:
    native: dict[str, Any] = {"lane": "native/gemini-3-pro-image", "provider": "native", "model": "gemini-3-pro-image"}
    gateway.tell(replace(ATTEMPT_STARTED, **native), replace(ATTEMPT_ENDED, **native))
    attributes = collected.spans[0].attributes or {}
    assert attributes["gen_ai.provider.name"] == "gcp.gemini"
    assert "server.address" not in attributes


def test_a_lane_that_is_not_configured_any_more_is_called_by_its_name(gateway: Pretended, collected: Collected) -> None:
    gone: dict[str, Any] = {"lane": "gone/painter", "provider": "gone"}
    gateway.tell(replace(ATTEMPT_STARTED, **gone), replace(ATTEMPT_ENDED, **gone))
    attributes = collected.spans[0].attributes or {}
    assert (attributes["gen_ai.provider.name"], attributes["gen_ai.request.model"]) == ("gone", "painter")


def test_prompts_are_told_where_they_are_recorded_and_nowhere_else(gateway: Pretended, collected: Collected) -> None:
    gateway.tell(REQUEST_STARTED, ATTEMPT_STARTED, ATTEMPT_ENDED, REQUEST_ENDED)
    assert "gen_ai.input.messages" not in collected.told()
    gateway.tell(replace(REQUEST_STARTED, prompt="the mayor"), ATTEMPT_STARTED, ATTEMPT_ENDED, REQUEST_ENDED)
    messages = (collected.spans[2].attributes or {})["gen_ai.input.messages"]
    assert json.loads(str(messages)) == [{"role": "user", "parts": [{"type": "text", "content": "the mayor"}]}]
    assert collected.told().count("the mayor") == 1


def test_neither_a_key_nor_the_path_of_an_address_is_told(gateway: Pretended, collected: Collected) -> None:
    gateway.tell(REQUEST_STARTED, ATTEMPT_STARTED, FAILED, REQUEST_FAILED)
    assert "relay.example" in collected.told()
    assert KEY not in collected.told()
    assert "tenant-7431" not in collected.told()


def test_the_span_of_an_attempt_is_current_while_it_lasts(gateway: Pretended) -> None:
    seen = [current()]
    for event in (REQUEST_STARTED, ATTEMPT_STARTED, ATTEMPT_ENDED, REQUEST_ENDED):
        gateway.tell(event)
        seen.append(current())
    assert seen == ["", "image_request", "generate_content painter-2026-preview", "image_request", ""]


def test_the_spans_of_the_application_are_around_and_those_of_its_http_client_below(
    gateway: Pretended, collected: Collected
) -> None:
    tracer = collected.tracer_provider.get_tracer("application")
    with tracer.start_as_current_span("page"):
        gateway.tell(REQUEST_STARTED, ATTEMPT_STARTED)
        with tracer.start_as_current_span("POST"):
            pass
        gateway.tell(ATTEMPT_ENDED, REQUEST_ENDED)
        assert current() == "page"
    attempt = "generate_content painter-2026-preview"
    assert collected.tree == [f"{attempt} > POST", f"image_request > {attempt}", "page > image_request", " > page"]


def test_attempts_side_by_side_do_not_get_into_each_others_spans(gateway: Pretended, collected: Collected) -> None:
    tracer = collected.tracer_provider.get_tracer("application")

    async def attempt(number: int) -> None:
        gateway.tell(replace(ATTEMPT_STARTED, number=number))
        await asyncio.sleep(0)
        with tracer.start_as_current_span(f"POST {number}"):
            await asyncio.sleep(0)
        gateway.tell(replace(ATTEMPT_ENDED, number=number))

    async def request() -> None:
        gateway.tell(REQUEST_STARTED)
        async with asyncio.TaskGroup() as group:
            for number in (1, 2, 3):
                group.create_task(attempt(number))
        gateway.tell(REQUEST_ENDED)

    asyncio.run(request())
    numbers = {span.context.span_id: (span.attributes or {}).get("image_gateway.attempt") for span in collected.spans}
    calls = [span for span in collected.spans if span.name.startswith("POST")]
    assert [(span.name, numbers[span.parent.span_id]) for span in calls if span.parent] == [
        ("POST 1", 1), ("POST 2", 2), ("POST 3", 3),
    ]  # fmt: skip
    assert collected.tree.count("image_request > generate_content painter-2026-preview") == 3


def test_an_attempt_that_ends_in_another_context_is_ended_all_the_same(
    gateway: Pretended, collected: Collected
) -> None:
    began = contextvars.copy_context()
    began.run(gateway.tell, ATTEMPT_STARTED)
    gateway.tell(ATTEMPT_ENDED)
    assert [span.name for span in collected.spans] == ["generate_content painter-2026-preview"]
    copied = contextvars.copy_context()
    copied.run(gateway.tell, ATTEMPT_STARTED)
    of_a_task = copied.copy()
    of_a_task.run(gateway.tell, ATTEMPT_ENDED)
    assert of_a_task.run(current) == ""


def test_an_attempt_is_below_its_request_wherever_it_is_made(gateway: Pretended, collected: Collected) -> None:
    elsewhere = contextvars.copy_context()
    gateway.tell(REQUEST_STARTED)
    elsewhere.run(gateway.tell, ATTEMPT_STARTED, ATTEMPT_ENDED)
    gateway.tell(REQUEST_ENDED)
    assert collected.tree == ["image_request > generate_content painter-2026-preview", " > image_request"]


def test_the_end_of_one_attempt_leaves_the_others_where_they_are(gateway: Pretended) -> None:
    first, second = contextvars.copy_context(), contextvars.copy_context()
    first.run(gateway.tell, ATTEMPT_STARTED)
    second.run(gateway.tell, replace(ATTEMPT_STARTED, number=2))
    second.run(gateway.tell, ATTEMPT_ENDED)
    assert second.run(current) == "generate_content painter-2026-preview"
    assert first.run(current) == "generate_content painter-2026-preview"


def test_a_request_takes_attempts_whose_end_was_not_told_out_of_the_context(gateway: Pretended) -> None:
    gateway.tell(REQUEST_STARTED, ATTEMPT_STARTED, REQUEST_ENDED)
    assert current() == ""


def test_an_attempt_may_end_after_its_request(gateway: Pretended, collected: Collected) -> None:
    gateway.tell(REQUEST_STARTED)
    late = contextvars.copy_context()
    late.run(gateway.tell, ATTEMPT_STARTED)
    gateway.tell(REQUEST_ENDED)
    late.run(gateway.tell, ATTEMPT_ENDED)
    assert collected.tree == [" > image_request", "image_request > generate_content painter-2026-preview"]


def test_an_attempt_that_ended_before_its_call_went_out_has_a_span_too(
    gateway: Pretended, collected: Collected
) -> None:
    gateway.tell(REQUEST_STARTED, replace(FAILED, outcome="timeout"), REQUEST_FAILED)
    assert (collected.spans[0].attributes or {})["error.type"] == "timeout"
    assert len(collected.spans) == 2


def test_spans_whose_end_is_never_told_do_not_pile_up(
    gateway: Pretended, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "MAX_OPEN", 3)
    for number in range(1, 6):
        contextvars.copy_context().run(gateway.tell, replace(ATTEMPT_STARTED, number=number))
    lost = [span.attributes or {} for span in collected.spans]
    assert [(each["image_gateway.attempt"], each["error.type"]) for each in lost] == [(1, "_OTHER"), (2, "_OTHER")]


def test_nothing_is_traced_or_measured_after_it_is_undone(loaded: Config, collected: Collected) -> None:
    pretended = Pretended(loaded)
    undo = instrument(pretended, collected.tracer_provider, collected.meter_provider)
    contextvars.copy_context().run(pretended.tell, REQUEST_STARTED)
    undo()
    assert [span.name for span in collected.spans] == ["image_request"]  # not left open
    pretended.tell(REQUEST_STARTED, ATTEMPT_STARTED, ATTEMPT_ENDED, REQUEST_ENDED)
    assert len(collected.spans) == 1
    assert collected.points("gen_ai.client.operation.duration") == []


def test_attempts_are_timed_with_the_boundaries_of_the_convention(gateway: Pretended, collected: Collected) -> None:
    gateway.tell(ATTEMPT_ENDED, replace(FAILED, number=2, seconds=1.5))
    name = "gen_ai.client.operation.duration"
    assert collected.values(name, "error.type") == {(None,): 4.0, ("overloaded",): 1.5}
    point = collected.points(name)[0]
    assert point.explicit_bounds == (
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    )  # fmt: skip
    assert point.attributes == {
        "gen_ai.operation.name": "generate_content", "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "painter-2026-preview", "server.address": "relay.example", "server.port": 8443,
        "image_gateway.lane": "first/painter", "image_gateway.size": "2K",
    }  # fmt: skip


def test_tokens_are_counted_where_the_upstream_reports_them(gateway: Pretended, collected: Collected) -> None:
    gateway.tell(
        replace(ATTEMPT_ENDED, usage=Usage(input_text=12, output_image=1120, thoughts=80)),
        replace(ATTEMPT_ENDED, number=2, usage=Usage(total=99)),
        replace(ATTEMPT_ENDED, number=3),
    )
    name = "gen_ai.client.token.usage"
    assert collected.values(name, "gen_ai.token.type") == {("input",): 12, ("output",): 1200}
    assert collected.points(name)[0].explicit_bounds == (
        1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
    )  # fmt: skip


def test_money_is_counted_by_whether_it_was_billed(gateway: Pretended, collected: Collected) -> None:
    free = replace(FAILED, number=3, billed="no", usd=None, basis=None)
    gateway.tell(ATTEMPT_ENDED, replace(FAILED, number=2), free, replace(ATTEMPT_ENDED, request_id="r2"))
    costs = collected.values("image_gateway.cost", "image_gateway.lane", "image_gateway.billed")
    assert costs == {("first/painter", "yes"): pytest.approx(0.10), ("first/painter", "maybe"): pytest.approx(0.02)}


def test_requests_are_timed_and_their_images_counted(gateway: Pretended, collected: Collected) -> None:
    smaller = replace(REQUEST_ENDED, request_id="r2", size="1K", downgraded=True, images=2)
    gateway.tell(REQUEST_ENDED, smaller, replace(REQUEST_FAILED, request_id="r3", seconds=9.0))
    assert collected.values("image_gateway.request.duration", "error.type") == {
        (None,): 10.0, ("AllAttemptsFailed",): 9.0,
    }  # fmt: skip
    by = ("image_gateway.lane", "image_gateway.size", "image_gateway.downgraded")
    assert collected.values("image_gateway.images", *by) == {
        ("first/painter", "2K", False): 1, ("first/painter", "1K", True): 2,
    }  # fmt: skip


def test_the_state_of_a_lane_is_the_last_it_went_to(gateway: Pretended, collected: Collected) -> None:
    opened = LaneChanged(
        lane="first/painter", state_before="closed", state_after="open", reason="overloaded", until=10.0
    )
    gateway.tell(opened)
    gateway.tell(replace(opened, state_before="open", state_after="half_open", until=None))
    assert collected.values("image_gateway.lane.state", "image_gateway.lane", "image_gateway.state") == {
        ("first/painter", "closed"): 0, ("first/painter", "open"): 0, ("first/painter", "half_open"): 1,
    }  # fmt: skip


def test_without_the_extra_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; import gateway.telemetry"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = failed.stderr.strip().splitlines()[-1]
    assert last == (
        "providers.errors.ConfigError: gateway.telemetry needs OpenTelemetry: pip install image-gateway[otel]"
    )


def test_only_the_api_of_opentelemetry_is_needed() -> None:
    code = "import sys, gateway.telemetry; print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_a_log_entry_of_an_attempt_is_written_within_its_span(gateway: Pretended) -> None:
    spans: list[str] = []

    class Watching(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            spans.append(current())

    watching = Watching()
    logger = logging.getLogger("image_gateway")
    logger.addHandler(watching)
    try:
        gateway.tell(REQUEST_STARTED, ATTEMPT_STARTED, ATTEMPT_ENDED, REQUEST_ENDED)
    finally:
        logger.removeHandler(watching)
    assert spans == ["generate_content painter-2026-preview", "image_request"]
