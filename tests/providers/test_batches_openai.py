"""Jobs of OpenAI's, done by the adapter and the real SDK with an upstream on loopback."""

from __future__ import annotations

import json

import pytest

from providers import openai_batches
from providers.batches import BatchLine, BatchProgress
from providers.images import ReferenceImage
from providers.outcome import Outcome
from providers.simulator import BatchBehaviour, Simulator, faults
from tests.providers.batching import SECONDS, Adapter, answers, done, finished, line, lines, openai, over, refusal, run
from tests.providers.wire import KEY, PICTURE

MODEL = "gpt-image-2"
REFERENCE = ReferenceImage(PICTURE, "image/png")


def generations(count: int, n: int = 1) -> list[BatchLine]:
    return lines(count, model=MODEL, n=n)


class TestAJob:
    def test_is_drawn_line_by_line_at_half_price(self) -> None:
        with Simulator("openai") as sim:
            outcomes = run(openai(sim.openai_url), lambda adapter: done(adapter, generations(3, n=2)))
            assert {key: (each.name, each.billed, len(each.images)) for key, each in outcomes.items()} == {
                f"k{number}": ("ok", "yes", 2) for number in range(3)
            }
            assert all(outcome.usage and outcome.usage.output_image == 2 * 1760 for outcome in outcomes.values())
            (record,) = sim.batches
            assert sum(record.bill.values()) == sim.bill
            assert (sim.billed, float(sim.bill)) == (6, 0.15)

    def test_edits_reference_images(self) -> None:
        batch = [line("k", model=MODEL, images=(REFERENCE,))]
        with Simulator("openai") as sim:
            outcomes = run(openai(sim.openai_url), lambda adapter: done(adapter, batch))
            created = next(each.json for each in sim.requests if each.path == "/v1/batches" and each.method == "POST")
        usage = outcomes["k"].usage
        assert created["endpoint"] == "/v1/images/edits"
        assert usage is not None
        assert usage.input_image == 1120

    def test_chats_where_the_dialect_does(self) -> None:
        with Simulator("openrouter") as sim:
            batch = lines(2, model="gemini-3-pro-image")
            outcomes = run(openai(sim.openai_url, "chat"), lambda adapter: done(adapter, batch))
            assert sum(outcome.reported_cost or 0 for outcome in outcomes.values()) == sim.bill
        assert [outcome.name for outcome in outcomes.values()] == ["ok", "ok"]

    def test_has_its_failed_lines_among_the_answers(self) -> None:
        struck = [faults.moderation_blocked(path="/lines/k0")]
        with Simulator("openai", struck, batches=BatchBehaviour(failing=0.25)) as sim:
            outcomes = run(openai(sim.openai_url), lambda adapter: done(adapter, generations(4)))
            assert {key: (outcome.name, outcome.billed) for key, outcome in outcomes.items()} == {
                "k1": ("ok", "yes"), "k2": ("ok", "yes"), "k0": ("blocked", "no"), "k3": ("overloaded", "no"),
            }  # fmt: skip
            assert set(sim.batches[0].bill) == {"k1", "k2"}

    def test_that_expires_tells_what_it_did_not_come_to(self) -> None:
        async def work(adapter: Adapter) -> tuple[str, dict[str, Outcome]]:
            job = await finished(adapter, generations(4))
            return job.state, await answers(adapter, job)

        with Simulator("openai", batches=BatchBehaviour(expires_at=0.5)) as sim:
            state, outcomes = run(openai(sim.openai_url), work)
        assert state == "expired"
        assert [(outcome.name, outcome.billed) for outcome in outcomes.values()] == [
            ("ok", "yes"), ("ok", "yes"), ("timeout", "no"), ("timeout", "no"),
        ]  # fmt: skip

    def test_that_is_cancelled_keeps_what_was_done(self) -> None:
        async def work(adapter: Adapter) -> tuple[BatchProgress, dict[str, Outcome]]:
            job = await adapter.submit_batch("job", generations(4), SECONDS)
            for _ in range(2):
                await adapter.batch_progress(job.id, SECONDS)
            await adapter.cancel_batch(job.id, SECONDS)
            job = await adapter.batch_progress(job.id, SECONDS)
            return job, await answers(adapter, job)

        with Simulator("openai") as sim:
            job, outcomes = run(openai(sim.openai_url), work)
        assert (job.state, set(outcomes)) == ("cancelled", {"k0", "k1"})

    def test_is_asked_for_with_the_key_wherever_that_goes(self) -> None:
        with Simulator("openai", keys=[KEY]) as sim:
            outcomes = run(openai(sim.openai_url, auth="api-key"), lambda adapter: done(adapter, generations(1)))
            assert {request.auth for request in sim.requests} == {"api-key"}
        assert outcomes["k0"].name == "ok"

    def test_that_is_not_over_has_no_answers(self) -> None:
        async def work(adapter: Adapter) -> Outcome:
            return await refusal(answers(adapter, await adapter.submit_batch("job", generations(1), SECONDS)))

        with Simulator("openai") as sim:
            assert "not over" in run(openai(sim.openai_url), work).detail

    def test_that_nobody_knows_is_gone(self) -> None:
        with Simulator("openai") as sim:
            for ask in ("batch_progress", "cancel_batch"):
                outcome = run(
                    openai(sim.openai_url), lambda adapter, ask=ask: refusal(getattr(adapter, ask)("batch_x", SECONDS))
                )
                assert (outcome.name, outcome.billed) == ("model_gone", "no")


class TestASubmission:
    def test_whose_answer_was_lost_may_have_cost_something_and_is_found_by_its_name(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(openai_batches, "PAGE", 1)

        async def work(adapter: Adapter) -> tuple[Outcome, dict[str, Outcome]]:
            lost = await refusal(adapter.submit_batch("mine", generations(2), SECONDS))
            await adapter.submit_batch("another", generations(1), SECONDS)
            job = await adapter.find_batch("mine", SECONDS)
            assert job is not None
            assert await adapter.find_batch("nobody's", SECONDS) is None
            return lost, await answers(adapter, await over(adapter, job))

        with Simulator("openai", [faults.reset(path="/v1/batches", count=1)]) as sim:
            lost, outcomes = run(openai(sim.openai_url), work)
        assert (lost.name, lost.billed, set(outcomes)) == ("transport", "maybe", {"k0", "k1"})

    def test_that_got_no_further_than_its_upload_costs_nothing(self) -> None:
        with Simulator("openai", [faults.internal(path="/v1/files")]) as sim:
            work = lambda adapter: refusal(adapter.submit_batch("job", generations(1), SECONDS))  # noqa: E731
            outcome = run(openai(sim.openai_url), work)
            assert (outcome.name, outcome.billed, sim.batches) == ("overloaded", "no", [])

    @pytest.mark.parametrize(
        ("batch", "why"),
        [
            ([line("a", model=MODEL), line("b", model=MODEL, images=(REFERENCE,))], "into two"),
            ([line("a", model=MODEL), line("a", model=MODEL)], "same key"),
        ],
    )
    def test_that_cannot_be_is_refused_before_anything_is_sent(self, batch: list[BatchLine], why: str) -> None:
        with Simulator("openai") as sim:
            work = lambda adapter: refusal(adapter.submit_batch("job", batch, SECONDS))  # noqa: E731
            outcome = run(openai(sim.openai_url), work)
            assert (outcome.name, outcome.billed, sim.requests) == ("invalid", "no", [])
        assert why in outcome.detail

    @pytest.mark.parametrize(("limit", "most"), [("LARGEST_FILE", 100), ("MOST_LINES", 2)])
    def test_that_is_too_large_is_told_to_be_made_several(
        self, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
    ) -> None:
        monkeypatch.setattr(openai_batches, limit, most)
        with Simulator("openai") as sim:
            work = lambda adapter: refusal(adapter.submit_batch("job", generations(3), SECONDS))  # noqa: E731
            outcome = run(openai(sim.openai_url), work)
            assert (outcome.name, outcome.billed, sim.requests) == ("invalid", "no", [])
        assert "several" in outcome.detail

    def test_carries_the_extra_body_of_the_configuration(self) -> None:
        adapter = openai("http://127.0.0.1:9/v1")
        adapter._settings.options["extra_body"] = {"moderation": "low"}  # type: ignore[index]
        asked = json.loads(openai_batches.line_of("k", adapter._in_json(generations(1)[0].request)))
        assert asked["body"]["moderation"] == "low"


class TestResults:
    def test_that_break_off_can_be_fetched_again(self) -> None:
        async def work(adapter: Adapter) -> tuple[Outcome, dict[str, Outcome]]:
            job = await finished(adapter, generations(4))
            return await refusal(answers(adapter, job)), await answers(adapter, job)

        with Simulator("openai", [faults.cut(0.6, path="/content", count=1)]) as sim:
            broken, outcomes = run(openai(sim.openai_url), work)
        assert (broken.name, broken.billed, len(outcomes)) == ("transport", "no", 4)
