"""A gateway at work, as its listeners, its log and OpenTelemetry see it."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from gateway import AllAttemptsFailed, AsyncGateway, Gateway, GatewayError, NoLaneAvailable
from gateway.configuration import config as configuration
from gateway.events import AttemptEnded, AttemptStarted, Event, LaneChanged, RequestEnded, RequestStarted
from gateway.telemetry import instrument
from providers.exchange import Exchange
from providers.outcome import Outcome, Usage
from providers.request import UpstreamRequest
from providers.simulator import Simulator
from tests.gateway.spans import Collected
from tests.gateway.upstreams import Answer, Studio, draws, fails, hangs, lane, picture_of, relay, studio, tables, two
from tests.relays.relay import Asked, Relay, as_json
from tests.test_docs import blocks

ROOT = Path(__file__).parents[2]
KEY = "sk-canary-0123456789abcdef"


@pytest.fixture
def collected() -> Collected:
    return Collected()


@pytest.fixture(autouse=True)
def nothing_stays_current(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test no span is current, and OpenTelemetry complained of nothing."""
    yield
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert [record.getMessage() for record in caplog.records if record.name.startswith("opentelemetry")] == []


def heard_by(gateway: AsyncGateway | Gateway) -> list[Event]:
    """Every event of *gateway* from now on."""
    heard: list[Event] = []
    gateway.on_event(heard.append)
    return heard


def only(kind: type[Any], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def traced(painters: Studio, collected: Collected) -> Callable[[], None]:
    return instrument(painters.gateway, collected.tracer_provider, collected.meter_provider)


def test_a_request_tells_its_story_in_order() -> None:
    painters = two()
    painters.script("first", fails("overloaded", seconds=2.0, retry_after=7.0))
    heard = heard_by(painters.gateway)
    result = painters.draw(size="2K", task="poster", tags={"team": "posters"})
    kinds = [type(event).__name__ for event in heard if not isinstance(event, LaneChanged)]
    assert kinds == [
        "RequestStarted", "AttemptStarted", "AttemptEnded", "AttemptStarted", "AttemptEnded", "RequestEnded",
    ]  # fmt: skip
    assert {event.request_id for event in heard if not isinstance(event, LaneChanged)} == {result.request_id}
    failed, drawn = only(AttemptEnded, heard)
    assert (failed.number, failed.lane, failed.outcome, failed.billed) == (1, "first/painter", "overloaded", "no")
    assert (failed.usd, failed.basis, failed.seconds, failed.retry_after) == (None, None, 2.0, 7.0)
    assert (drawn.number, drawn.lane, drawn.provider, drawn.model) == (2, "second/painter", "second", "painter")
    assert (drawn.usd, drawn.seconds, drawn.tags) == (Decimal("0.06"), 5.0, {"team": "posters"})
    (ended,) = only(RequestEnded, heard)
    assert (ended.outcome, ended.lane, ended.size, ended.requested_size) == ("ok", "second/painter", "2K", "2K")
    assert (ended.usd, ended.total_usd, ended.attempts, ended.images) == (Decimal("0.06"), Decimal("0.06"), 2, 1)
    assert (ended.task, ended.tags, ended.seconds) == ("poster", {"team": "posters"}, result.elapsed)


def test_a_smaller_image_is_told_as_one() -> None:
    painters = studio(first=relay())
    painters.script("first", draws(picture_of("1K")))
    heard = heard_by(painters.gateway)
    painters.draw(size="2K")
    (ended,) = only(RequestEnded, heard)
    assert (ended.size, ended.requested_size, ended.downgraded) == ("1K", "2K", True)


def test_every_attempt_that_started_ends_and_has_its_own_number() -> None:
    painters = two()
    painters.script("first", fails("timeout"), fails("overloaded"))
    heard = heard_by(painters.gateway)
    painters.draw(n=3)
    began = [(event.number, event.lane, event.size) for event in only(AttemptStarted, heard)]
    ended = [(event.number, event.lane, event.size) for event in only(AttemptEnded, heard)]
    assert sorted(began) == sorted(ended)
    assert len({number for number, *_ in began}) == len(began) > 3
    assert min(number for number, *_ in began) == 1


def test_a_request_that_fails_says_how_and_what_it_cost() -> None:
    painters = studio(first=relay(lane(sizes=("1K",))))
    painters.script("first", fails("timeout", billed="maybe"))
    heard = heard_by(painters.gateway)
    with pytest.raises(AllAttemptsFailed) as failed:
        painters.draw()
    (ended,) = only(RequestEnded, heard)
    assert (ended.outcome, ended.lane, ended.usd) == ("AllAttemptsFailed", None, None)
    assert (ended.total_usd, ended.attempts) == (Decimal("0.05"), len(failed.value.attempts))


def test_a_request_that_no_lane_can_serve_ends_too(caplog: pytest.LogCaptureFixture) -> None:
    painters = two(sizes=("1K",))
    heard = heard_by(painters.gateway)
    with caplog.at_level(logging.INFO, "image_gateway"), pytest.raises(NoLaneAvailable) as failed:
        painters.draw(size="4K", fallback=())
    started, ended = heard
    assert isinstance(started, RequestStarted)
    assert isinstance(ended, RequestEnded)
    assert (ended.outcome, ended.attempts, ended.total_usd) == (type(failed.value).__name__, 0, Decimal(0))
    entries = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert [entry.split()[0] for entry in entries] == ["image_request"]


def test_a_cancelled_request_ends_with_what_it_may_have_cost(collected: Collected) -> None:
    painters = studio(first=relay())
    painters.script("first", hangs())
    heard = heard_by(painters.gateway)
    traced(painters, collected)

    async def job() -> None:
        task = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(2.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    painters.time.run(job)
    attempt, request = heard[-2:]
    assert isinstance(attempt, AttemptEnded)
    assert isinstance(request, RequestEnded)
    assert (attempt.outcome, attempt.billed) == ("cancelled", "maybe")
    assert (request.outcome, request.total_usd, request.attempts) == ("CancelledError", Decimal("0.05"), 1)
    assert collected.tree == ["image_request > generate_content painter", " > image_request"]


@pytest.mark.parametrize("recorded", [False, True])
def test_the_prompt_is_told_only_where_it_is_recorded(collected: Collected, recorded: bool) -> None:
    table = {"gateway": {"record_prompts": recorded}, **tables(first=relay())}
    painters = Studio(configuration.load(table, environ={}))
    heard = heard_by(painters.gateway)
    traced(painters, collected)
    painters.draw("the mayor")
    (started,) = only(RequestStarted, heard)
    assert started.prompt == ("the mayor" if recorded else None)
    assert ("the mayor" in collected.told()) is recorded


def test_no_prompt_is_logged_even_where_it_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    painters = Studio(configuration.load({"gateway": {"record_prompts": True}, **tables(first=relay())}, environ={}))
    painters.draw("the mayor")
    assert caplog.records
    assert [record for record in caplog.records if "mayor" in record.getMessage()] == []


def test_a_lane_that_is_shut_and_comes_back_is_told() -> None:
    painters = studio({"order": []}, first=relay())
    painters.script("first", fails("rate_limited", retry_after=60.0))
    heard = heard_by(painters.gateway)
    with pytest.raises(GatewayError):
        painters.draw()
    (shut,) = only(LaneChanged, heard)
    assert (shut.lane, shut.state_before, shut.state_after) == ("first/painter", "closed", "open")
    assert (shut.reason, shut.until) == ("rate_limited", 60.0)


def test_a_listener_that_fails_costs_no_image(caplog: pytest.LogCaptureFixture) -> None:
    painters = two()
    caplog.clear()

    def broken(event: Event) -> None:
        raise RuntimeError("a bug")

    painters.gateway.on_event(broken)
    heard = heard_by(painters.gateway)
    assert painters.draw().images
    assert [type(event).__name__ for event in (heard[0], heard[-1])] == ["RequestStarted", "RequestEnded"]
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["a listener of events failed with RuntimeError at RequestStarted"]


def test_an_attempts_span_is_current_for_its_upstream(collected: Collected) -> None:
    painters = studio(first=relay(lane(sizes=("1K",)), max_concurrency=3))
    tracer = collected.tracer_provider.get_tracer("an HTTP client")

    def instrumented(answer: Answer) -> Answer:
        async def call(request: UpstreamRequest, exchange: Exchange) -> Outcome:
            with tracer.start_as_current_span("POST"):
                return await answer(request, exchange)

        return call

    usage = Usage(input_text=12, output_image=1120)
    painters.script("first", *(instrumented(draws(seconds=seconds, usage=usage)) for seconds in (3.0, 2.0, 1.0)))
    traced(painters, collected)
    painters.draw(n=3)
    calls = {span.context.span_id: span for span in collected.spans if span.name == "generate_content painter"}
    posts = [span for span in collected.spans if span.name == "POST"]
    assert {span.parent.span_id for span in posts if span.parent} == set(calls)
    assert len(posts) == 3
    assert {span.parent and span.parent.span_id for span in calls.values()} == {collected.spans[-1].context.span_id}
    assert collected.values("image_gateway.images", "image_gateway.lane") == {("first/painter",): 3}
    assert collected.values("image_gateway.cost", "image_gateway.billed") == {("yes",): pytest.approx(0.15)}
    assert collected.values("gen_ai.client.token.usage", "gen_ai.token.type") == {("input",): 36, ("output",): 3360}
    assert collected.values("gen_ai.client.operation.duration", "server.address") == {("relay.example",): 6.0}


def test_the_spans_of_a_sync_gateway_are_below_the_callers(collected: Collected) -> None:
    tracer = collected.tracer_provider.get_tracer("application")
    with Relay(lambda asked: as_json({"error": {"message": "no", "code": 400}}, 400)) as upstream:
        table = relay(lane(sizes=("1K",))) | {"base_url": upstream.url}
        with Gateway.from_config(tables(first=table)) as gateway, tracer.start_as_current_span("page"):
            instrument(gateway, collected.tracer_provider, collected.meter_provider)
            with pytest.raises(GatewayError):
                gateway.generate("a fox")
    assert collected.tree == [
        "image_request > generate_content painter", "page > image_request", " > page",
    ]  # fmt: skip
    assert [span.status.status_code for span in collected.spans[:2]] == [StatusCode.ERROR] * 2


def test_no_key_is_in_spans_or_metrics_though_the_upstream_plays_it_back(collected: Collected) -> None:
    def echo(asked: Asked) -> tuple[int, str, bytes]:
        return as_json({"error": {"message": f"bad request: {dict(asked.headers)}", "code": 400}}, 400)

    with Relay(echo) as upstream:
        table = relay(lane(sizes=("1K",)), keys=(KEY,)) | {"base_url": upstream.url}
        with Gateway.from_config(tables(first=table)) as gateway:
            instrument(gateway, collected.tracer_provider, collected.meter_provider)
            heard = heard_by(gateway)
            with pytest.raises(GatewayError):
                gateway.generate("a fox")
    assert "bad request" in collected.told()
    assert KEY not in collected.told()
    assert KEY not in repr(heard)


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (0, "1 google/gemini-3.1-flash-image ok yes 0.067\n"),
        (1, "generate_content gemini-3.1-flash-image\nimage_request\n"),
    ],
)
def test_the_examples_in_the_docs_print_what_they_say(number: int, printed: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    with Simulator() as google:
        table = f'kind = "google"\nbase_url = "{google.google_url}"\napi_key = "env:GEMINI_API_KEY"'
        settings = f'[router]\nmodels = ["gemini-3.1-flash-image"]\n[providers.google]\n{table}\n'
        (tmp_path / "gateway.toml").write_text(settings, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", blocks(text, "python")[number]], cwd=tmp_path, text=True, capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "GEMINI_API_KEY": KEY}, check=False,
        )  # fmt: skip
    assert (done.stdout, done.stderr) == (printed, "")
    assert number == 0 or printed in blocks(text, "")
