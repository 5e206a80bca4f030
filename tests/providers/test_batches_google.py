"""Jobs of Google's, done by the adapter and the real SDK with an upstream on loopback."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from providers import google_batches
from providers.batches import BatchLine, BatchProgress
from providers.images import ReferenceImage
from providers.outcome import Outcome
from providers.request import UpstreamRequest
from providers.simulator import BatchBehaviour, Simulator, faults
from tests.providers.batching import SECONDS, Adapter, answers, done, finished, google, line, lines, over, refusal, run
from tests.providers.bodies import encoded
from tests.providers.wire import KEY, PICTURE, Upstream, Wire, answer, answering

CREATE = ":batchGenerateContent"


@pytest.fixture(params=["inline", "file"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the requests travel: a limit of nothing sends the smallest batch in a file."""
    if request.param == "file":
        monkeypatch.setattr(google_batches, "INLINE", 0)
    return str(request.param)


@pytest.fixture
def in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_batches, "INLINE", 0)


class TestAJob:
    def test_is_drawn_line_by_line_at_half_price(self, way: str) -> None:
        with Simulator() as sim:
            outcomes = run(google(sim.url), lambda adapter: done(adapter, lines(5)))
            assert {key: (outcome.name, outcome.billed) for key, outcome in outcomes.items()} == {
                f"k{number}": ("ok", "yes") for number in range(5)
            }
            assert all(
                (image.width, image.height) == (1024, 1024) for each in outcomes.values() for image in each.images
            )
            assert all(outcome.usage and outcome.usage.output_image == 1120 for outcome in outcomes.values())
            (record,) = sim.batches
            assert sum(record.bill.values()) == sim.bill == 5 * sim_price(sim) / 2

    def test_shows_the_key_where_the_upstream_wants_it(self, way: str) -> None:
        with Simulator(keys=[KEY]) as sim:
            outcomes = run(google(sim.url, auth="bearer"), lambda adapter: done(adapter, lines(1)))
            assert {request.auth for request in sim.requests} == {"authorization"}
        assert outcomes["k0"].name == "ok"

    def test_travels_as_its_size_commands(self, way: str) -> None:
        with Simulator() as sim:
            run(google(sim.url), lambda adapter: adapter.submit_batch("job", lines(2), SECONDS))
            source = sim.requests[-1].json["batch"]["inputConfig"]
            uploaded = [request for request in sim.requests if request.path.startswith("/upload/")]
        assert ("fileName" in source, "requests" in source, len(uploaded)) == (
            (True, False, 2) if way == "file" else (False, True, 0)
        )

    def test_carries_reference_images_and_all_else_that_was_asked(self, way: str) -> None:
        asked = line("k", images=(ReferenceImage(PICTURE, "image/png"),), system_instruction="be brief", grounding=True)
        with Simulator() as sim:
            outcomes = run(google(sim.url), lambda adapter: done(adapter, [asked]))
        usage = outcomes["k"].usage
        assert outcomes["k"].name == "ok"
        assert usage is not None
        assert usage.input_image == 1120

    def test_that_succeeded_has_its_failed_lines_among_the_answers(self, way: str) -> None:
        with Simulator(batches=BatchBehaviour(failing=0.25)) as sim:
            outcomes = run(google(sim.url), lambda adapter: done(adapter, lines(8)))
            failed = {key for key, outcome in outcomes.items() if outcome.name != "ok"}
            assert failed == {"k3", "k7"}
            assert all(outcomes[key].billed == "no" for key in failed)
            assert set(sim.batches[0].bill) == set(outcomes) - failed

    def test_tells_refusals_from_failures(self, way: str) -> None:
        struck = [faults.image_safety(path="/lines/k0"), faults.internal(path="/lines/k1")]
        with Simulator(faults=struck) as sim:
            outcomes = run(google(sim.url), lambda adapter: done(adapter, lines(3)))
            assert [(outcome.name, outcome.billed) for outcome in outcomes.values()] == [
                ("blocked", "yes"), ("overloaded", "no"), ("ok", "yes"),
            ]  # fmt: skip
            assert set(sim.batches[0].bill) == {"k0", "k2"}

    def test_counts_while_it_goes_on(self) -> None:
        async def looks(adapter: Adapter) -> list[BatchProgress]:
            job = await adapter.submit_batch("job", lines(4), SECONDS)
            return [job, *[await adapter.batch_progress(job.id, SECONDS) for _ in range(3)]]

        with Simulator(batches=BatchBehaviour(polls=2)) as sim:
            seen = run(google(sim.url), looks)
        assert [(job.state, job.total, job.succeeded, job.failed) for job in seen] == [
            ("pending", 4, 0, 0), ("pending", 4, 0, 0), ("running", 4, 2, 0), ("succeeded", 4, 4, 0),
        ]  # fmt: skip

    def test_that_is_over_is_looked_at_without_decoding_its_results(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def work(adapter: Adapter) -> BatchProgress:
            job = await finished(adapter, lines(2))
            monkeypatch.delattr("providers.batch_results.ImageExtractor")
            return await adapter.batch_progress(job.id, SECONDS)

        with Simulator() as sim:
            assert run(google(sim.url), work).succeeded == 2

    def test_that_is_cancelled_keeps_what_was_done(self, way: str) -> None:
        async def work(adapter: Adapter) -> tuple[BatchProgress, dict[str, Outcome]]:
            job = await adapter.submit_batch("job", lines(4), SECONDS)
            for _ in range(2):
                await adapter.batch_progress(job.id, SECONDS)
            await adapter.cancel_batch(job.id, SECONDS)
            job = await adapter.batch_progress(job.id, SECONDS)
            return job, await answers(adapter, job)

        with Simulator() as sim:
            job, outcomes = run(google(sim.url), work)
            assert (job.state, job.succeeded) == ("cancelled", 2)
            assert {key: outcome.billed for key, outcome in outcomes.items()} == {"k0": "yes", "k1": "yes"}
            assert set(sim.batches[0].bill) == {"k0", "k1"}

    def test_that_expires_keeps_what_was_done(self, way: str) -> None:
        with Simulator(batches=BatchBehaviour(expires_at=0.5)) as sim:

            async def work(adapter: Adapter) -> tuple[str, dict[str, Outcome]]:
                job = await finished(adapter, lines(4))
                return job.state, await answers(adapter, job)

            state, outcomes = run(google(sim.url), work)
        assert (state, set(outcomes)) == ("expired", {"k0", "k1"})

    def test_that_is_not_over_has_no_answers(self) -> None:
        async def work(adapter: Adapter) -> Outcome:
            job = await adapter.submit_batch("job", lines(1), SECONDS)
            return await refusal(answers(adapter, job))

        with Simulator() as sim:
            outcome = run(google(sim.url), work)
        assert (outcome.name, outcome.billed) == ("bad_response", "no")
        assert "not over" in outcome.detail

    def test_that_nobody_knows_is_gone(self) -> None:
        unknown = BatchProgress(id="batches/unknown", state="succeeded")
        with Simulator() as sim:
            asked: list[Any] = [
                lambda adapter: refusal(adapter.batch_progress(unknown.id, SECONDS)),
                lambda adapter: refusal(adapter.cancel_batch(unknown.id, SECONDS)),
                lambda adapter: refusal(answers(adapter, unknown)),
            ]
            for ask in asked:
                outcome = run(google(sim.url), ask)
                assert (outcome.name, outcome.billed) == ("model_gone", "no")

    @pytest.mark.parametrize("name", ["batch_of_openais", "batches/../files/x", "batches/a?key=b", "operations/x"])
    def test_with_a_name_that_is_none_is_not_asked_for(self, name: str) -> None:
        with Simulator() as sim:
            outcome = run(google(sim.url), lambda adapter: refusal(adapter.batch_progress(name, SECONDS)))
            assert (outcome.name, sim.requests) == ("invalid", [])


class TestABatchThatCannotBe:
    @pytest.mark.parametrize(
        ("batch", "why"),
        [
            ([], "at least one line"),
            ([line("a"), line("b", model="gemini-3-pro-image")], "all for one model"),
            ([line("a"), line("a")], "same key"),
            ([line("a", model="imagen-4.0-generate-001")], "Imagen"),
        ],
    )
    def test_is_refused_before_anything_is_sent(self, batch: list[BatchLine], why: str) -> None:
        with Simulator() as sim:
            outcome = run(google(sim.url), lambda adapter: refusal(adapter.submit_batch("job", batch, SECONDS)))
            assert (outcome.name, outcome.billed, sim.requests) == ("invalid", "no", [])
        assert why in outcome.detail

    def test_for_its_size_is_told_to_be_made_several(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(google_batches, "LARGEST_FILE", 500)
        with Simulator() as sim:
            outcome = run(google(sim.url), lambda adapter: refusal(adapter.submit_batch("job", lines(9), SECONDS)))
            assert (outcome.name, outcome.billed, sim.requests) == ("invalid", "no", [])
        assert "several" in outcome.detail


class TestASubmission:
    def test_whose_answer_was_lost_may_have_cost_something_and_is_found_by_its_name(self, way: str) -> None:
        async def work(adapter: Adapter) -> tuple[Outcome, dict[str, Outcome]]:
            lost = await refusal(adapter.submit_batch("mine", lines(2), SECONDS))
            job = await adapter.find_batch("mine", SECONDS)
            assert job is not None
            return lost, await answers(adapter, await over(adapter, job))

        with Simulator(faults=[faults.reset(path=CREATE, count=1)]) as sim:
            lost, outcomes = run(google(sim.url), work)
            assert (lost.name, lost.billed, set(outcomes)) == ("transport", "maybe", {"k0", "k1"})
            assert len(sim.batches) == 1

    @pytest.mark.parametrize(
        ("fault", "name", "billed"),
        [
            (faults.overloaded(path=CREATE), "overloaded", "no"),
            (faults.rate_limited(path=CREATE), "rate_limited", "no"),
            (faults.internal(path=CREATE), "overloaded", "maybe"),
            (faults.bad_key(), "auth", "no"),
            (faults.region(), "region", "no"),
        ],
    )
    def test_that_was_refused_says_why_and_what_it_may_have_cost(
        self, fault: faults.Fault, name: str, billed: str
    ) -> None:
        with Simulator(faults=[fault]) as sim:
            outcome = run(google(sim.url), lambda adapter: refusal(adapter.submit_batch("job", lines(1), SECONDS)))
        assert (outcome.name, outcome.billed) == (name, billed)

    def test_that_got_no_further_than_its_upload_costs_nothing(self, in_a_file: None) -> None:
        with Simulator(faults=[faults.internal(path="/upload/")]) as sim:
            outcome = run(google(sim.url), lambda adapter: refusal(adapter.submit_batch("job", lines(1), SECONDS)))
            assert (outcome.name, outcome.billed, sim.batches) == ("overloaded", "no", [])

    def test_that_is_not_answered_in_time_may_have_cost_something(self) -> None:
        with Simulator(faults=[faults.hang(path=CREATE)]) as sim:
            outcome = run(google(sim.url), lambda adapter: refusal(adapter.submit_batch("job", lines(1), 0.5)))
        assert (outcome.name, outcome.billed) == ("timeout", "maybe")

    def test_that_is_answered_with_nonsense_may_have_cost_something(self) -> None:
        async def main() -> Outcome:
            async with Upstream(answering(answer(b'{"name": "https://elsewhere.example/"}'))) as upstream:
                adapter = google(upstream.url)
                outcome = await refusal(adapter.submit_batch("job", lines(1), SECONDS))
                await adapter.aclose()
                return outcome

        outcome = asyncio.run(main())
        assert (outcome.name, outcome.billed) == ("bad_response", "maybe")


class TestASearch:
    def test_goes_through_all_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(google_batches, "PAGE", 1)

        async def work(adapter: Adapter) -> tuple[BatchProgress, BatchProgress | None]:
            first, *_ = [await adapter.submit_batch(f"job-{number}", lines(1), SECONDS) for number in range(3)]
            return first, await adapter.find_batch("job-0", SECONDS)

        with Simulator() as sim:
            first, found = run(google(sim.url), work)
        assert found == first

    def test_for_what_is_not_there_finds_nothing(self) -> None:
        async def work(adapter: Adapter) -> BatchProgress | None:
            await adapter.submit_batch("job-10", lines(1), SECONDS)
            return await adapter.find_batch("job-1", SECONDS)

        with Simulator() as sim:
            assert run(google(sim.url), work) is None


def result_line(key: str) -> bytes:
    """A line of a file of results."""
    image = {"inlineData": {"mimeType": "image/png", "data": encoded(PICTURE)}}
    response = {"candidates": [{"content": {"parts": [image]}, "finishReason": "STOP"}]}
    return json.dumps({"key": key, "response": response}).encode() + b"\n"


def job_over() -> bytes:
    """The answer to a look at a job whose results are in a file."""
    metadata = {"state": "BATCH_STATE_SUCCEEDED", "output": {"responsesFile": "files/batch-b"}}
    return answer(json.dumps({"name": "batches/b", "metadata": metadata, "done": True}).encode())


class TestResults:
    def test_are_handed_over_while_more_of_them_come(self) -> None:
        """The upstream sends a line only when the line before has reached the caller."""

        async def main() -> list[str]:
            fetched = asyncio.Event()

            async def script(wire: Wire) -> None:
                await wire.request()
                await wire.send(job_over())
                await wire.request()
                whole = b"".join(map(result_line, "abc"))
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole))
                for key in "abc":
                    await wire.send(result_line(key))
                    await fetched.wait()
                    fetched.clear()

            async with Upstream(script) as upstream:
                adapter, keys = google(upstream.url), []
                async with asyncio.timeout(SECONDS):
                    async for each in adapter.batch_answers("batches/b", SECONDS):
                        assert [image.data for image in each.outcome.images] == [PICTURE]
                        keys.append(each.key)
                        fetched.set()
                await adapter.aclose()
            return keys

        assert asyncio.run(main()) == ["a", "b", "c"]

    @pytest.mark.parametrize("framing", ["length", "chunked", "close"])
    def test_that_break_off_can_be_fetched_again(self, in_a_file: None, framing: Any) -> None:
        async def work(adapter: Adapter) -> tuple[Outcome, dict[str, Outcome]]:
            job = await finished(adapter, lines(4))
            return await refusal(answers(adapter, job)), await answers(adapter, job)

        with Simulator(faults=[faults.cut(0.6, framing, path=":download", count=1)]) as sim:
            broken, outcomes = run(google(sim.url), work)
        assert (broken.name in ("transport", "bad_response"), broken.billed) == (True, "no")
        assert len(outcomes) == 4

    def test_that_break_off_inline_can_be_fetched_again(self) -> None:
        async def work(adapter: Adapter) -> tuple[Outcome, dict[str, Outcome]]:
            job = await finished(adapter, lines(4))
            sim.inject(faults.cut(0.6, path="/batches/", count=1))
            return await refusal(answers(adapter, job)), await answers(adapter, job)

        with Simulator() as sim:
            broken, outcomes = run(google(sim.url), work)
        assert (broken.name, broken.billed, len(outcomes)) == ("transport", "no", 4)

    def test_elsewhere_are_not_followed_to(self, in_a_file: None) -> None:
        async def work(adapter: Adapter) -> Outcome:
            job = await finished(adapter, lines(1))
            sim.inject(faults.redirect(f"{elsewhere.url}/loot", path=":download"))
            return await refusal(answers(adapter, job))

        with Simulator() as elsewhere, Simulator() as sim:
            outcome = run(google(sim.url), work)
            assert elsewhere.requests == []
        assert "redirect" in outcome.detail


class TestAnUpload:
    def test_goes_to_our_upstream_whatever_address_it_is_given(self, in_a_file: None) -> None:
        start = answer(b"{}", headers=["X-Goog-Upload-URL: http://127.0.0.1:9/loot", "X-Goog-Upload-Status: active"])
        end = answer(b'{"file": {"name": "files/f"}}', headers=["X-Goog-Upload-Status: final"])

        async def script(wire: Wire) -> None:
            for reply in (start, end, job_over()):
                await wire.request()
                await wire.send(reply)

        async def main() -> list[Any]:
            async with Upstream(script) as upstream:
                adapter = google(upstream.url, auth="bearer")
                await adapter.submit_batch("job", lines(1), SECONDS)
                await adapter.aclose()
            return upstream.requests

        first, second, third = asyncio.run(main())
        assert second.target == "/loot"
        assert json.loads(second.body)["key"] == "k0"
        assert json.loads(third.body)["batch"]["inputConfig"] == {"fileName": "files/f"}
        assert first.headers["authorization"] == f"Bearer {KEY}"

    def test_of_many_pieces_arrives_whole(self, in_a_file: None) -> None:
        big = ReferenceImage(PICTURE + bytes(7_000_000), "image/png")
        batch = [
            BatchLine(f"k{n}", UpstreamRequest(model="gemini-3-pro-image", prompt="x", images=(big,))) for n in range(2)
        ]
        with Simulator() as sim:
            outcomes = run(google(sim.url), lambda adapter: done(adapter, batch))
            pieces = [request for request in sim.requests if request.path.startswith("/upload/")]
        assert len(pieces) == 4  # the start, and 18 MB in pieces of 8
        assert [outcome.name for outcome in outcomes.values()] == ["ok", "ok"]

    def test_leaves_no_file_behind(self, in_a_file: None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with Simulator(faults=[faults.overloaded(path="/upload/")]) as sim:
            run(google(sim.url), lambda adapter: refusal(adapter.submit_batch("job", lines(1), SECONDS)))
        assert list(tmp_path.iterdir()) == []


def sim_price(sim: Simulator) -> Any:
    """USD for an image of the size that all lines here ask for."""
    from providers.simulator.models import find

    model = find("gemini-3.1-flash-image")
    assert model is not None
    return model.prices["1K"]
