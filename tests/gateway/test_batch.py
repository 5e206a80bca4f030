"""Batches against the simulator: what is sent, what comes back under which key, what it costs, and what is never lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway import (
    AsyncGateway,
    BudgetExceeded,
    ConfigError,
    ContentBlocked,
    GatewayError,
    ImageResult,
    InvalidRequest,
    ProviderPreferences,
)
from gateway.batch import ahead, shipping
from gateway.batch.lease import LEASE
from gateway.batch.status import BatchStatus
from gateway.configuration import config
from gateway.money import money
from gateway.money.entries import micro
from gateway.state.claims import Answer, Claim
from gateway.state.sqlite_claims import SqliteClaims
from gateway.state.stores import Record
from gateway.sync import Gateway
from providers.batches import BatchAnswer, BatchProgress
from providers.errors import AllAttemptsFailed, NoLaneAvailable
from providers.images import ReferenceImage
from providers.outcome import Outcome, Usage
from providers.provider import Provider, ProviderSettings, load_provider
from providers.simulator import BatchBehaviour, Simulator, faults
from tests.gateway.batch_worker import Mortal
from tests.gateway.leaping import Leaping

MODEL = "gemini-3.1-flash-image"
PRICE = Decimal("0.0335")
FULL = Decimal("0.067")
NOBODY = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""

Adapter = Callable[[Any], Any]


@dataclass
class Stage:
    """A simulator and gateways over one state; *adapter* wraps the adapters."""

    simulator: Simulator
    tables: dict[str, Any]
    adapter: Adapter = lambda adapter: adapter
    time: Leaping = field(default_factory=Leaping)

    def load(self, settings: ProviderSettings) -> Provider:
        made: Provider = self.adapter(load_provider(settings))
        return made

    def gateway(self) -> AsyncGateway:
        return AsyncGateway(config.load(self.tables, environ={}), clock=self.time.clock, load=self.load)

    def run(self, job: Callable[[AsyncGateway], Coroutine[Any, Any, Any]]) -> Any:
        async def whole() -> Any:
            async with self.gateway() as gateway:
                return await job(gateway)

        return asyncio.run(whole())

    def drawn(self, requests: Any, **more: Any) -> dict[str, ImageResult | GatewayError]:
        """What comes of *requests*, by key."""

        async def job(gateway: AsyncGateway) -> dict[str, ImageResult | GatewayError]:
            return await fetched(gateway, await gateway.batch.submit(requests, **more))

        found: dict[str, ImageResult | GatewayError] = self.run(job)
        return found

    @property
    def creations(self) -> int:
        return sum(":batchGenerateContent" in request.path for request in self.simulator.requests)

    @property
    def looks(self) -> int:
        return sum(request.method == "GET" and "/batches/" in request.path for request in self.simulator.requests)


async def fetched(gateway: AsyncGateway, job: Any, **more: Any) -> dict[str, ImageResult | GatewayError]:
    found: dict[str, ImageResult | GatewayError] = {}
    async for key, ended in gateway.batch.fetch(job, **more):
        assert key not in found
        found[key] = ended
    return found


async def spent(gateway: AsyncGateway) -> Decimal:
    return sum((entry.usd for entry in await entries(gateway)), Decimal(0))


async def entries(gateway: AsyncGateway) -> Any:
    state = gateway._dispatcher.setups.current.state
    await state.engine.flush()
    return await state.ledger.entries()


def tables_of(url: str, state: str = "memory") -> dict[str, Any]:
    lane = {"model": MODEL, "batch_price": {"512": 0.0225, "1K": 0.0335}}
    google = {"kind": "google", "base_url": url, "api_key": "canary-key-0123456789", "lanes": [lane]}
    return {"gateway": {"state": state}, "providers": {"google": google}}


def foxes(count: int, **fields: Any) -> dict[str, dict[str, Any]]:
    return {f"fox-{number}": {"prompt": f"fox {number}", **fields} for number in range(1, count + 1)}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Makes stages, with the options of a simulator's batches."""
    running: list[Simulator] = []

    def made(*found: Any, **behaviour: Any) -> Stage:
        simulator = Simulator(batches=BatchBehaviour(**behaviour), faults=found)
        simulator.start()
        running.append(simulator)
        return Stage(simulator, tables_of(simulator.google_url, f"sqlite:///{tmp_path / 'state.db'}"))

    yield made
    for simulator in running:
        simulator.stop()


def colour(result: ImageResult | GatewayError) -> bytes:
    assert isinstance(result, ImageResult)
    return result.images[0].data


# What is asked and what comes back


def test_each_result_is_that_of_its_key_whatever_the_order_and_who_else_answers(make: Callable[..., Stage]) -> None:
    class Shuffled(Mortal):
        async def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:
            answers = [answer async for answer in self._adapter.batch_answers(batch_id, timeout)]
            stranger = Outcome(name="ok", billed="yes", parts=answers[0].outcome.parts)
            for answer in (BatchAnswer("77", stranger), BatchAnswer("whoever", stranger), *reversed(answers)):
                yield answer

    stage = make()
    stage.adapter = lambda adapter: Shuffled(adapter, "never")
    found = stage.drawn(foxes(6))
    assert list(found) == [f"fox-{number}" for number in (6, 5, 4, 3, 2, 1)]
    straight = make().drawn(foxes(6))
    assert {key: colour(result) for key, result in found.items()} == {
        key: colour(result) for key, result in straight.items()
    }
    assert len({colour(result) for result in found.values()}) == 6


def test_prompts_in_a_sequence_are_numbered_and_pairs_keep_their_keys(make: Callable[..., Stage]) -> None:
    assert list(make().drawn(["a fox", {"prompt": "a hen"}, ("pig", "a pig")])) == ["1", "2", "pig"]


def test_a_result_says_what_one_call_for_it_would_at_half_the_price(make: Callable[..., Stage]) -> None:
    result = make().drawn(foxes(1))["fox-1"]
    assert isinstance(result, ImageResult)
    assert (result.lane, result.size, result.requested_size) == (f"google/{MODEL}", "1K", "1K")
    assert result.cost.usd == result.total_cost.usd == PRICE
    assert [attempt.outcome for attempt in result.attempts] == ["ok"]
    assert (result.images[0].width, result.images[0].height) == (1024, 1024)


def test_reference_images_travel_along_and_images_go_where_they_are_wanted(
    make: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = make()
    first = stage.drawn(foxes(1))["fox-1"]
    reference = tmp_path / "fox.jpg"
    reference.write_bytes(colour(first))
    result = stage.drawn({"night": {"prompt": "night", "images": [reference], "save_to": tmp_path / "night"}})["night"]
    assert (tmp_path / "night.jpg").read_bytes() == colour(result)
    assert stage.simulator.batches[-1].succeeded == 1


def test_a_place_to_save_is_the_one_that_was_meant_wherever_somebody_fetches(
    make: Callable[..., Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make()
    (tmp_path / "elsewhere").mkdir()

    async def job(gateway: AsyncGateway) -> None:
        monkeypatch.chdir(tmp_path)
        made = await gateway.batch.submit({"a": {"prompt": "a fox", "save_to": "fox"}})
        monkeypatch.chdir(tmp_path / "elsewhere")
        await fetched(gateway, made)

    stage.run(job)
    assert (tmp_path / "fox.jpg").exists()


def test_a_slow_taker_does_not_keep_an_upstream_waiting_nor_the_gateway_from_closing(
    make: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "HELD", 2)
    stage = make()

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(8))
        fetching = gateway.batch.fetch(made)
        first = await anext(fetching)
        await gateway.aclose()  # waits for what is being taken in
        assert (await gateway.batch.status(made)).succeeded == 8
        assert [first[0], *[key async for key, ended in fetching if isinstance(ended, ImageResult)]] == list(foxes(8))

    stage.run(job)


def test_who_fetches_again_gets_everything_again_also_in_another_process(make: Callable[..., Stage]) -> None:
    stage = make()
    first = stage.drawn(foxes(4), name="foxes")
    looks = stage.looks
    again = stage.run(lambda gateway: fetched(gateway, "foxes"))
    assert {key: colour(result) for key, result in again.items()} == {
        key: colour(result) for key, result in first.items()
    }
    assert stage.looks == looks, "what is kept needs no upstream"


def test_two_who_fetch_at_once_both_get_everything_and_nothing_is_sent_twice(make: Callable[..., Stage]) -> None:
    stage = make(failing=0.25)

    async def job(gateway: AsyncGateway) -> None:
        await gateway.batch.submit(foxes(8), name="foxes")
        async with stage.gateway() as other:
            both = await asyncio.gather(fetched(gateway, "foxes"), fetched(other, "foxes"))
        assert [set(found) for found in both] == [set(foxes(8))] * 2
        assert await spent(gateway) == stage.simulator.bill == 8 * PRICE

    stage.run(job)
    assert stage.creations == 2  # the whole, and what had failed


def test_without_waiting_there_is_what_is_there(make: Callable[..., Stage]) -> None:
    stage = make(polls=3)

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(2))
        assert await fetched(gateway, made, wait=False) == {}
        assert stage.time.slept == []
        assert len(await fetched(gateway, made)) == 2

    stage.run(job)


# What is refused before anything is sent


@pytest.mark.parametrize(
    ("requests", "told"),
    [
        ({"a": "fox", "b": {"prompt": "fox", "size": "3K"}}, "b: size: expected one of"),
        ({"a": "fox", "b": {"prompt": "fox", "colour": "red"}}, "b: colour: there is no such field"),
        ([("a", "fox"), ("a", "hen")], "a: two requests have this key"),
        ({"a": {"prompt": "fox", "idempotency_key": "x"}}, "a: idempotency_key: a batch keeps"),
        ({"a": {"prompt": "fox", "images": ["missing.png"]}}, "a: images[0] (missing.png): cannot be read"),
        ({"a": {"prompt": "fox", "providers": ProviderPreferences(ignore="gogle")}}, "a: providers: 'gogle' is not"),
        ({"a": {"prompt": "fox", "n": 2}}, "draws 1 image(s) for a line, not 2; give it as several lines"),
        ({"a": {"prompt": "fox", "size": "4K"}}, "a can be served by no lane as a line of a batch: "),
        ({}, "requests: expected 1 to 100,000 of them, not 0"),
        ("a fox", "requests: expected a sequence of requests"),
    ],
)
def test_one_bad_line_keeps_all_from_being_sent_and_is_named(
    make: Callable[..., Stage], requests: Any, told: str
) -> None:
    stage = make()

    async def job(gateway: AsyncGateway) -> None:
        with pytest.raises(GatewayError) as caught:
            await gateway.batch.submit(requests)
        assert told in str(caught.value)
        assert await entries(gateway) == []
        assert await gateway.batch.jobs() == []

    stage.run(job)
    assert stage.simulator.requests == []


def test_a_lane_without_a_batch_price_is_told_as_the_reason(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.tables["providers"]["google"]["lanes"] = [{"model": MODEL}]

    async def job(gateway: AsyncGateway) -> None:
        with pytest.raises(NoLaneAvailable, match="has no batch_price"):
            await gateway.batch.submit(["a fox"])

    stage.run(job)


def test_a_limit_is_held_against_the_batch_price(make: Callable[..., Stage]) -> None:
    stage = make()
    assert isinstance(stage.drawn({"a": {"prompt": "fox", "max_cost": 0.04}})["a"], ImageResult)
    with pytest.raises(BudgetExceeded, match="a can be served by no lane as a line of a batch"):
        stage.drawn({"a": {"prompt": "fox", "max_cost": 0.03}})


def test_a_budget_that_does_not_suffice_for_all_has_none_sent_and_nothing_reserved(make: Callable[..., Stage]) -> None:
    stage = make()
    stage.tables["budgets"] = [{"usd": 0.10, "per": "day"}]

    async def job(gateway: AsyncGateway) -> None:
        with pytest.raises(BudgetExceeded):
            await gateway.batch.submit(foxes(3), name="foxes")
        assert await spent(gateway) == 0
        assert await gateway.batch.jobs() == []
        assert len(await fetched(gateway, await gateway.batch.submit(foxes(2), name="foxes"))) == 2

    stage.run(job)
    assert stage.creations == 1


def test_a_budget_that_begins_meanwhile_does_not_count_what_was_reserved_before_it(make: Callable[..., Stage]) -> None:
    class Refusing(Mortal):
        async def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:
            async for answer in self._adapter.batch_answers(batch_id, timeout):
                yield BatchAnswer(answer.key, Outcome(name="blocked", billed="no"))

    stage = make()
    stage.adapter = lambda adapter: Refusing(adapter, "never")

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(10))
        gateway.reload({**stage.tables, "budgets": [{"usd": 1, "per": "month", "mode": "hard"}]})
        await gateway.generate("an owl")
        await fetched(gateway, made)
        assert list((await gateway.ledger.used()).values()) == [micro(FULL)]

    stage.run(job)


def test_a_job_that_the_upstream_refuses_as_a_whole_is_none(make: Callable[..., Stage]) -> None:
    stage = make(faults.bad_key(path=":batchGenerateContent", count=1))

    async def job(gateway: AsyncGateway) -> None:
        with pytest.raises(GatewayError) as caught:
            await gateway.batch.submit(foxes(3), name="foxes")
        assert [attempt.outcome for attempt in caught.value.attempts] == ["auth"]
        assert await spent(gateway) == 0
        assert await gateway.batch.jobs() == []

    stage.run(job)


def test_a_refused_key_gives_way_to_the_next_and_the_job_stays_with_that(make: Callable[..., Stage]) -> None:
    stage = make(faults.bad_key(path=":batchGenerateContent", count=1))
    stage.tables["providers"]["google"]["api_key"] = ["canary-key-0123456789", "canary-key-9876543210"]
    assert len(stage.drawn(foxes(2))) == 2
    hashes = [request.key_sha256 for request in stage.simulator.requests]
    assert stage.creations == 2
    assert hashes[0] != hashes[1]
    assert set(hashes[1:]) == {hashes[1]}


KEYS = ["canary-key-0123456789", "canary-key-9876543210"]


def with_keys(stage: Stage, *names: str) -> None:
    stage.tables["providers"]["google"]["api_key"] = list(names)


async def submitted(gateway: AsyncGateway) -> None:
    await gateway.batch.submit(foxes(2), name="foxes")


def test_a_job_stays_with_its_key_when_the_keys_change_places(make: Callable[..., Stage]) -> None:
    stage = make()
    with_keys(stage, *KEYS)
    stage.run(submitted)
    with_keys(stage, "canary-key-of-another-project", *reversed(KEYS))

    async def job(gateway: AsyncGateway) -> None:
        assert len(await fetched(gateway, "foxes")) == 2

    stage.run(job)
    (used,) = {request.key_sha256 for request in stage.simulator.requests}
    assert used == hashlib.sha256(KEYS[0].encode()).hexdigest()


def test_a_job_whose_key_is_gone_asks_for_it_and_goes_on_when_it_is_back(make: Callable[..., Stage]) -> None:
    stage = make()
    with_keys(stage, KEYS[0])
    stage.run(submitted)
    asked = len(stage.simulator.requests)

    async def in_vain(gateway: AsyncGateway) -> None:
        with pytest.raises(ConfigError) as caught:
            await fetched(gateway, "foxes")
        assert str(caught.value).startswith(
            f"providers.google.api_key: batch foxes is under way at google/{MODEL} with a key that is not configured any more"
        )
        assert len(stage.simulator.requests) == asked
        assert (await gateway.batch.jobs())[0].pending == 2

    async def job(gateway: AsyncGateway) -> None:
        assert len(await fetched(gateway, "foxes")) == 2

    stage.time.ahead += 60
    with_keys(stage, KEYS[1])
    stage.run(in_vain)
    with_keys(stage, *reversed(KEYS))
    stage.run(job)


def test_no_key_is_written_down_with_a_job_nor_a_digest_that_other_programs_know(make: Callable[..., Stage]) -> None:
    stage = make()

    async def job(gateway: AsyncGateway) -> None:
        await submitted(gateway)
        texts = await gateway._dispatcher.setups.current.state.jobs.read("foxes", "chunk")
        (chunk,) = [json.loads(text) for text in texts.values()]
        assert len(chunk["digest"]) == 16
        assert chunk["digest"] not in hashlib.sha256(KEYS[0].encode()).hexdigest()
        assert KEYS[0] not in str(texts)

    stage.run(job)


def test_a_job_that_was_written_down_without_a_digest_is_that_of_the_first_key(make: Callable[..., Stage]) -> None:
    stage = make()

    async def job(gateway: AsyncGateway) -> None:
        await submitted(gateway)
        jobs = gateway._dispatcher.setups.current.state.jobs
        ((name, text),) = (await jobs.read("foxes", "chunk")).items()
        plain = {**json.loads(text), "credential": 0}
        del plain["digest"]
        await jobs.put("foxes", [Record("chunk", name, json.dumps(plain))])
        assert len(await fetched(gateway, "foxes")) == 2

    stage.run(job)


# Names


def test_the_same_requests_under_the_same_name_are_one_job(make: Callable[..., Stage]) -> None:
    stage = make()

    async def job(gateway: AsyncGateway) -> None:
        first = await gateway.batch.submit(foxes(3), name="foxes")
        assert (await gateway.batch.submit(foxes(3), name="foxes")).created == first.created
        with pytest.raises(InvalidRequest, match="name: foxes is another batch"):
            await gateway.batch.submit(foxes(4), name="foxes")
        with pytest.raises(InvalidRequest, match="there is no batch 'hens'"):
            await gateway.batch.status("hens")

    stage.run(job)
    assert stage.creations == 1


# Failures


def test_a_line_that_fails_in_passing_travels_three_times_and_then_fails_for_good(make: Callable[..., Stage]) -> None:
    stage = make(faults.internal(path="/lines/2"))

    async def job(gateway: AsyncGateway) -> None:
        found = await fetched(gateway, await gateway.batch.submit(foxes(3)))
        error = found["fox-2"]
        assert isinstance(error, AllAttemptsFailed)
        assert [attempt.outcome for attempt in error.attempts] == ["overloaded"] * 3
        assert isinstance(found["fox-1"], ImageResult)
        assert Counter(entry.number for entry in await entries(gateway)) == {1: 3, 2: 1, 3: 1}
        assert {entry.state for entry in await entries(gateway)} == {"settled"}

    stage.run(job)
    assert [each.total for each in stage.simulator.batches] == [3, 1, 1]


def test_a_line_that_was_refused_does_not_travel_again(make: Callable[..., Stage]) -> None:
    stage = make(faults.image_safety(path="/lines/2"))
    found = stage.drawn(foxes(2))
    assert isinstance(found["fox-2"], ContentBlocked)
    assert isinstance(found["fox-1"], ImageResult)
    assert stage.creations == 1


def test_a_line_to_which_there_is_no_answer_travels_again(make: Callable[..., Stage]) -> None:
    class Forgetful(Mortal):
        async def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:
            async for answer in self._adapter.batch_answers(batch_id, timeout):
                if answer.key != "2" or stage.creations > 1:
                    yield answer

    stage = make()
    stage.adapter = lambda adapter: Forgetful(adapter, "never")
    result = stage.drawn(foxes(3))["fox-2"]
    assert isinstance(result, ImageResult)
    assert [(each.outcome, each.billed) for each in result.attempts] == [("bad_response", "maybe"), ("ok", "yes")]
    assert result.total_cost.usd == 2 * PRICE, "the first may have been billed"


def test_a_line_travels_again_only_as_far_as_its_limit_goes(make: Callable[..., Stage]) -> None:
    class Silent(Mortal):
        async def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:
            for never in ():
                yield never

    stage = make()
    stage.adapter = lambda adapter: Silent(adapter, "never")
    found = stage.drawn({"one": {"prompt": "a fox", "max_cost": 0.06}, "two": {"prompt": "a fox", "max_cost": 0.07}})
    assert [(key, len(ended.attempts)) for key, ended in sorted(found.items())] == [("one", 1), ("two", 2)]


def test_a_job_that_expires_has_the_rest_sent_again(make: Callable[..., Stage]) -> None:
    stage = make(expires_at=0.5)

    async def job(gateway: AsyncGateway) -> None:
        found = await fetched(gateway, await gateway.batch.submit(foxes(4)))
        assert set(found) == set(foxes(4))
        assert await spent(gateway) == stage.simulator.bill

    stage.run(job)
    assert [each.total for each in stage.simulator.batches] == [4, 2, 1]


def test_a_job_whose_answer_was_lost_is_found_and_not_sent_again(make: Callable[..., Stage]) -> None:
    stage = make(faults.reset(path=":batchGenerateContent", count=1))
    assert len(stage.drawn(foxes(3))) == 3
    assert stage.creations == 1


def test_of_a_job_that_cannot_be_sent_at_all_nothing_is_left(make: Callable[..., Stage]) -> None:
    stage = make()
    google = stage.tables["providers"]["google"]
    alive, google["base_url"] = google["base_url"], NOBODY

    async def in_vain(gateway: AsyncGateway) -> None:
        with pytest.raises(AllAttemptsFailed) as caught:
            await gateway.batch.submit(foxes(3), name="foxes")
        (attempt,) = caught.value.attempts
        assert (attempt.outcome, attempt.billed) == ("transport", "no")
        assert attempt.detail.startswith("nothing was sent: ConnectError")
        assert await gateway.batch.jobs() == []
        assert [(entry.state, entry.usd) for entry in await entries(gateway)] == [("settled", 0)] * 3

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(2), name="foxes")
        assert (made.total, made.unconfirmed) == (2, 0)
        assert len(await fetched(gateway, made)) == 2

    stage.run(in_vain)
    google["base_url"] = alive
    stage.run(job)


def refusing(number: int, name: str, billed: str = "no") -> Callable[[Any], Mortal]:
    """What puts itself before an adapter, whose submission of that *number* ends in *name*."""
    submissions: list[Any] = []

    class Refusing(Mortal):
        async def submit_batch(self, *order: Any) -> BatchProgress:
            submissions.append(order)
            if len(submissions) == number:
                raise refused(name, billed)
            progress: BatchProgress = await self._adapter.submit_batch(*order)
            return progress

    return lambda adapter: Refusing(adapter, "never")


@pytest.mark.parametrize(("name", "billed"), [("transport", "maybe"), ("timeout", "maybe"), ("rate_limited", "no")])
def test_a_job_that_may_have_arrived_or_has_to_wait_is_kept_and_says_so(
    make: Callable[..., Stage], name: str, billed: str
) -> None:
    stage = make()
    stage.adapter = refusing(1, name, billed)

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(3))
        assert (made.pending, made.unconfirmed) == (3, 3)
        assert "3 of the pending, not confirmed by an upstream" in str(made)
        assert len(await fetched(gateway, made)) == 3
        assert (await gateway.batch.status(made)).unconfirmed == 0

    stage.run(job)


def test_what_could_not_be_sent_waits_if_the_rest_of_the_job_was(
    make: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "MAX_LINES", 2)
    stage = make()
    stage.adapter = refusing(2, "transport")

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(3))
        assert (made.pending, made.unconfirmed) == (3, 1)
        found = await fetched(gateway, made)
        assert all(isinstance(ended, ImageResult) for ended in found.values())
        assert len(found) == 3

    stage.run(job)


def test_a_job_that_may_still_be_arriving_is_not_sent_twice(make: Callable[..., Stage]) -> None:
    begun = asyncio.Event()
    posted: list[tuple[Any, ...]] = []

    class Slow(Mortal):
        """Takes half a minute to take a job in, whether somebody waits for it or not."""

        async def submit_batch(self, *order: Any) -> BatchProgress:
            posted.append((stage.time.ahead, *order))
            begun.set()
            if len(posted) == 1:
                await asyncio.Event().wait()
            progress: BatchProgress = await self._adapter.submit_batch(*order)
            return progress

        async def find_batch(self, name: str, timeout: float) -> BatchProgress | None:
            at, *order = posted[0]
            if not stage.creations and stage.time.ahead >= at + 30:
                await self._adapter.submit_batch(*order)
            found: BatchProgress | None = await self._adapter.find_batch(name, timeout)
            return found

    stage = make()
    stage.adapter = lambda adapter: Slow(adapter, "never")

    async def job(gateway: AsyncGateway) -> None:
        submitting = asyncio.create_task(gateway.batch.submit(foxes(3), name="foxes"))
        await begun.wait()
        submitting.cancel()
        await asyncio.wait([submitting])
        found = await fetched(gateway, await gateway.batch.submit(foxes(3), name="foxes"))
        assert len(found) == 3

    stage.run(job)
    assert (len(posted), stage.creations) == (1, 1)


def test_an_upstream_that_is_full_is_asked_again_later(make: Callable[..., Stage]) -> None:
    stage = make(faults.overloaded(path=":batchGenerateContent", count=2))

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(3))
        assert made.details[0].startswith("overloaded")
        assert made.pending == 3
        assert len(await fetched(gateway, made)) == 3

    stage.run(job)
    assert stage.creations == 3
    assert stage.time.slept[0] >= 9


def test_a_result_file_that_breaks_off_is_read_again(make: Callable[..., Stage]) -> None:
    class BreakingOff(Mortal):
        broken = False

        async def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:
            count = 0
            async for answer in self._adapter.batch_answers(batch_id, timeout):
                count += 1
                if count == 4 and not BreakingOff.broken:
                    BreakingOff.broken = True
                    raise refused("transport")
                yield answer

    stage = make(failing=0.4)
    stage.adapter = lambda adapter: BreakingOff(adapter, "never")

    async def job(gateway: AsyncGateway) -> None:
        found = await fetched(gateway, await gateway.batch.submit(foxes(5)))
        assert {key: [attempt.outcome for attempt in ended.attempts] for key, ended in found.items()} == {
            "fox-1": ["ok"], "fox-2": ["ok"], "fox-3": ["cancelled", "ok"], "fox-4": ["ok"], "fox-5": ["cancelled", "ok"],
        }  # fmt: skip
        assert await spent(gateway) == stage.simulator.bill == 5 * PRICE

    stage.run(job)


def refused(name: Any, billed: Any = "no") -> Exception:
    from providers.batches import BatchRefused

    return BatchRefused(Outcome(name=name, billed=billed, detail="for a test"))


def test_who_gives_up_while_it_asks_for_the_lead_keeps_nobody_waiting(
    make: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = SqliteClaims.claim, asyncio.Event()

    async def first_silent(claims: SqliteClaims, claim: Claim) -> Answer:
        answer = await take(claims, claim)
        if not taken.is_set():
            taken.set()
            await asyncio.Event().wait()
        return answer

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(1))
        monkeypatch.setattr(SqliteClaims, "claim", first_silent)
        looking = asyncio.create_task(gateway.batch.status(made))
        await taken.wait()
        looking.cancel()
        await asyncio.wait([looking])
        assert len(await fetched(gateway, made)) == 1

    stage = make()
    stage.run(job)
    assert stage.time.ahead < LEASE / 10


def test_what_an_upstream_does_not_know_any_more_has_failed_and_may_have_cost(make: Callable[..., Stage]) -> None:
    class Amnesiac(Mortal):
        async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:
            raise refused("invalid")

    stage = make()
    stage.adapter = lambda adapter: Amnesiac(adapter, "never")

    async def job(gateway: AsyncGateway) -> None:
        found = await fetched(gateway, await gateway.batch.submit(foxes(2)))
        assert all(isinstance(ended, GatewayError) for ended in found.values())
        assert await spent(gateway) == 2 * PRICE

    stage.run(job)
    assert stage.creations == 1


# Chunks and looks


def test_more_lines_than_a_chunk_takes_go_in_several(
    make: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "MAX_LINES", 4)
    stage = make()
    assert list(stage.drawn(foxes(10))) == list(foxes(10))
    assert [each.total for each in stage.simulator.batches] == [4, 4, 2]
    assert len({each.name for each in stage.simulator.batches}) == 3


def test_lines_of_different_models_go_to_lanes_of_their_own(make: Callable[..., Stage]) -> None:
    stage = make()
    other = {"model": "gemini-3-pro-image", "batch_price": {"1K": 0.067}}
    stage.tables["providers"]["google"]["lanes"].append(other)
    found = stage.drawn({"a": {"prompt": "fox", "model": "nano-banana-pro"}, "b": "hen"})
    assert {key: ended.model for key, ended in found.items() if isinstance(ended, ImageResult)} == {
        "a": "gemini-3-pro-image", "b": MODEL,
    }  # fmt: skip
    assert len(stage.simulator.batches) == 2


def test_openais_edits_and_generations_go_in_chunks_of_their_own(tmp_path: Path) -> None:
    with Simulator("openai", batches=BatchBehaviour(failing=0.25)) as simulator:
        lane = {"model": "gpt-image-2", "batch_price": {"1K": 0.025}}
        table = {
            "kind": "openai",
            "base_url": simulator.openai_url,
            "api_key": "canary-key-0123456789",
            "lanes": [lane],
        }
        stage = Stage(
            simulator, {"gateway": {"state": "memory"}, "providers": {"openai": {**table, "dialect": "images"}}}
        )

        async def job(gateway: AsyncGateway) -> None:
            first = await fetched(gateway, await gateway.batch.submit(["a fox"]))
            reference = ReferenceImage(colour(first["1"]), "image/png")
            requests = foxes(8) | {f"hen-{n}": {"prompt": "a hen", "images": [reference]} for n in range(4)}
            found = await fetched(gateway, await gateway.batch.submit(requests))
            assert set(found) == set(requests)
            assert all(isinstance(ended, ImageResult) for ended in found.values())
            assert await spent(gateway) == simulator.bill == 13 * Decimal("0.025")

        stage.run(job)
        assert sorted(each.total for each in simulator.batches) == [1, 1, 2, 4, 8]


def test_looks_grow_rarer_from_ten_seconds_to_five_minutes(make: Callable[..., Stage]) -> None:
    stage = make(polls=80)
    stage.drawn(foxes(1))
    slept = stage.time.slept
    assert 9 < slept[0] <= 10
    assert all(later >= earlier - 1 for earlier, later in pairwise(slept))
    assert 295 < slept[-1] <= 300


def test_asking_for_the_status_over_and_over_does_not_trouble_the_upstream(make: Callable[..., Stage]) -> None:
    stage = make()

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(2))
        for _ in range(20):
            made = await gateway.batch.status(made)
        assert made.pending == 2
        stage.time.ahead += 11
        await gateway.batch.status(made)

    stage.run(job)
    assert stage.looks == 1


def test_the_status_tells_lines_and_money(make: Callable[..., Stage]) -> None:
    stage = make(faults.image_safety(path="/lines/2"), polls=1)

    async def job(gateway: AsyncGateway) -> None:
        made: BatchStatus = await gateway.batch.submit(foxes(3), name="foxes")
        assert (made.state, made.reserved, made.settled) == ("running", 3 * PRICE, 0)
        await fetched(gateway, made)
        made = await gateway.batch.status(made)
        assert (made.state, made.succeeded, made.failed, made.pending) == ("done", 2, 1, 0)
        assert (made.reserved, made.settled) == (0, stage.simulator.bill)
        assert made.look is None
        assert "3: 2 succeeded, 1 failed, 0 pending" in str(made)

    stage.run(job)


# Cancelling


def test_cancelling_keeps_what_is_drawn_and_the_rest_costs_nothing(make: Callable[..., Stage]) -> None:
    stage = make(polls=2)

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(8))
        stage.time.ahead += 11
        await gateway.batch.status(made)
        stage.time.ahead += 11
        await gateway.batch.status(made)
        made = await gateway.batch.cancel(made)
        assert made.state == "cancelling"
        found = await fetched(gateway, made)
        assert set(found) == set(foxes(8))
        good = [ended for ended in found.values() if isinstance(ended, ImageResult)]
        bad = [ended for ended in found.values() if isinstance(ended, GatewayError)]
        assert len(good) == stage.simulator.batches[0].succeeded > 0
        assert {ended.attempts[-1].outcome for ended in bad} == {"cancelled"}
        assert await spent(gateway) == stage.simulator.bill == len(good) * PRICE
        assert (await gateway.batch.status(made)).state == "cancelled"

    stage.run(job)
    assert stage.creations == 1


def test_what_was_never_sent_is_cancelled_at_once(make: Callable[..., Stage]) -> None:
    stage = make(faults.overloaded(path=":batchGenerateContent"))

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(3))
        stage.time.ahead += 60
        made = await gateway.batch.cancel(made)
        assert (made.state, made.failed) == ("cancelled", 3)
        assert await spent(gateway) == 0

    stage.run(job)


def test_cancelling_what_is_over_changes_nothing(make: Callable[..., Stage]) -> None:
    stage = make()

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(2))
        await fetched(gateway, made)
        assert (await gateway.batch.cancel(made)).state == "done"

    stage.run(job)


# Deadlines


def test_what_is_not_back_by_the_deadline_is_drawn_by_the_chain_at_its_price(make: Callable[..., Stage]) -> None:
    stage = make(polls=8)

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(8), deadline=45)
        found = await fetched(gateway, made)
        assert set(found) == set(foxes(8))
        costs = Counter(ended.cost.usd for ended in found.values() if isinstance(ended, ImageResult))
        assert set(costs) == {PRICE, FULL}
        assert costs[PRICE] == stage.simulator.batches[0].succeeded
        assert await spent(gateway) == stage.simulator.bill
        assert {entry.state for entry in await entries(gateway)} == {"settled"}
        assert (await gateway.batch.status(made)).twice == 0

    stage.run(job)


def test_an_answer_after_the_line_went_to_the_chain_is_kept_and_both_are_in_the_books(
    make: Callable[..., Stage],
) -> None:
    told: list[str] = []

    class Deaf(Mortal):
        """Cancels nothing, and says that all goes on until long after the deadline."""

        async def cancel_batch(self, batch_id: str, timeout: float) -> None:
            told.append(batch_id)

        async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:
            progress: BatchProgress = await self._adapter.batch_progress(batch_id, timeout)
            return progress if stage.time.ahead > 1000 else BatchProgress(id=batch_id, state="running")

    stage = make(polls=1)
    stage.adapter = lambda adapter: Deaf(adapter, "never")

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(2), deadline=30)
        first = await fetched(gateway, made)
        assert {ended.cost.usd for ended in first.values() if isinstance(ended, ImageResult)} == {FULL}
        stage.time.ahead += 1000
        again = await fetched(gateway, made)
        assert {key: colour(ended) for key, ended in again.items()} == {
            key: colour(ended) for key, ended in first.items()
        }
        made = await gateway.batch.status(made)
        assert (made.twice, made.settled, made.reserved) == (2, 2 * (FULL + PRICE), 0)
        assert await spent(gateway) == stage.simulator.bill == 2 * (FULL + PRICE)
        assert {entry.state for entry in await entries(gateway)} == {"settled"}

    stage.run(job)
    assert len(told) == 1


def test_what_is_reserved_for_a_line_that_the_chain_took_over_is_given_back_when_no_answer_comes(
    make: Callable[..., Stage],
) -> None:
    class Mute(Mortal):
        """Says that all goes on until long after the deadline, and then that nothing was drawn."""

        async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:
            return BatchProgress(id=batch_id, state="cancelled" if stage.time.ahead > 1000 else "running")

        async def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:
            for never in ():
                yield never

    stage = make(polls=8)
    stage.adapter = lambda adapter: Mute(adapter, "never")

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(2), deadline=30)
        await fetched(gateway, made)
        assert await spent(gateway) == 2 * (FULL + PRICE)
        stage.time.ahead += 1000
        await fetched(gateway, made)
        assert await spent(gateway) == 2 * FULL
        assert {entry.state for entry in await entries(gateway)} == {"settled"}

    stage.run(job)


def test_the_chain_may_spend_what_is_left_of_a_limit(make: Callable[..., Stage]) -> None:
    class Deaf(Mortal):
        async def cancel_batch(self, batch_id: str, timeout: float) -> None:
            pass

        async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:
            return BatchProgress(id=batch_id, state="running")

    stage = make()
    stage.adapter = lambda adapter: Deaf(adapter, "never")
    limits = {"all": PRICE, "too little": FULL + PRICE - Decimal("0.001"), "enough": FULL + PRICE}
    found = stage.drawn({key: {"prompt": key, "max_cost": limit} for key, limit in limits.items()}, deadline=30)
    assert [type(found[key]) for key in limits] == [BudgetExceeded, BudgetExceeded, ImageResult]


def test_what_was_never_sent_by_the_deadline_is_drawn_by_the_chain_and_paid_once(make: Callable[..., Stage]) -> None:
    stage = make(faults.overloaded(path=":batchGenerateContent"))

    async def job(gateway: AsyncGateway) -> None:
        found = await fetched(gateway, await gateway.batch.submit(foxes(2), deadline=60))
        assert all(isinstance(ended, ImageResult) for ended in found.values())
        assert await spent(gateway) == stage.simulator.bill == 2 * FULL
        assert {entry.state for entry in await entries(gateway)} == {"settled"}

    stage.run(job)


def test_who_gives_up_while_the_chain_draws_finds_the_image_later_and_pays_once(make: Callable[..., Stage]) -> None:
    class Pausing(Mortal):
        begun, go = asyncio.Event(), asyncio.Event()

        async def generate(self, request: Any, exchange: Any) -> Any:
            outcome = await self._adapter.generate(request, exchange)
            self.begun.set()
            await self.go.wait()
            return outcome

    stage = make(faults.overloaded(path=":batchGenerateContent"))
    stage.adapter = lambda adapter: Pausing(adapter, "never")

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(1), deadline=60)
        fetching = asyncio.create_task(fetched(gateway, made))
        await Pausing.begun.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        Pausing.go.set()
        assert isinstance((await fetched(gateway, made))["fox-1"], ImageResult)
        assert await spent(gateway) == stage.simulator.bill == FULL

    stage.run(job)


def test_a_late_answer_takes_the_place_of_what_the_chain_could_not_draw(make: Callable[..., Stage]) -> None:
    class Slow(Mortal):
        async def cancel_batch(self, batch_id: str, timeout: float) -> None:
            pass

        async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:
            progress: BatchProgress = await self._adapter.batch_progress(batch_id, timeout)
            return progress if stage.time.ahead > 5000 else BatchProgress(id=batch_id, state="running")

    stage = make(faults.image_safety(path=":generateContent"), polls=1)
    stage.adapter = lambda adapter: Slow(adapter, "never")

    async def job(gateway: AsyncGateway) -> None:
        made = await gateway.batch.submit(foxes(1), deadline=30)
        assert isinstance((await fetched(gateway, made))["fox-1"], ContentBlocked)
        stage.time.ahead += 5000
        assert isinstance((await fetched(gateway, made))["fox-1"], ImageResult)

    stage.run(job)


# Prices


def test_on_the_vendors_own_host_a_line_costs_half_of_what_its_tokens_would() -> None:
    table = {"google": {"kind": "google", "api_key": "env:KEY"}}
    loaded = config.load({"providers": table}, environ={"KEY": "canary-key-0123456789"})
    lane = next(lane for lane in loaded.lanes if lane.model == MODEL)
    usage = Usage(input_text=100, output_image=1120, output_text=10, thoughts=50)
    outcome = Outcome(name="ok", billed="yes", usage=usage)
    usual, batch = money.cost_of(lane, "1K", outcome), money.cost_of(money.in_batches(lane), "1K", outcome)
    assert usual is not None
    assert batch is not None
    assert (batch.usd * 2, batch.basis) == (usual.usd, "usage")
    assert money.price(money.in_batches(lane), "1K") == PRICE


def test_a_batch_lane_offers_the_sizes_that_have_a_batch_price() -> None:
    lane = replace(
        config.load(tables_of("http://127.0.0.1:9"), environ={}).lanes[0], batch_prices={"2K": Decimal("0.05")}
    )
    assert money.in_batches(lane).sizes == ("2K",)


# The sync face


def test_a_fetch_that_is_dropped_after_the_gateway_was_closed_starts_nothing(make: Callable[..., Stage]) -> None:
    stage = make()
    with Gateway(config.load(stage.tables, environ={}), clock=stage.time.clock) as gateway:
        fetching = gateway.batch.fetch(gateway.batch.submit(foxes(3)))
        next(fetching)
    fetching.close()
    assert not any(thread.name == "image-gateway" for thread in threading.enumerate())


def test_it_works_without_an_event_loop(make: Callable[..., Stage]) -> None:
    stage = make()
    with Gateway(config.load(stage.tables, environ={}), clock=stage.time.clock) as gateway:
        job = gateway.batch.submit(foxes(3), name="foxes")
        assert [each.id for each in gateway.batch.jobs()] == ["foxes"]
        for key, ended in gateway.batch.fetch(job):
            assert (key, isinstance(ended, ImageResult)) == ("fox-1", True)
            break
        assert {key for key, _ in gateway.batch.fetch("foxes")} == set(foxes(3))
        assert gateway.batch.status(job).is_over
        assert gateway.batch.cancel(job).state == "done"
