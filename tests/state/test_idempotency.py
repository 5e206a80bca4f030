"""Under one key a request is carried out once: over every backend, with results that come back whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.archive import Archive
from gateway.blobs import FolderBlobs
from gateway.fingerprint import fingerprint
from gateway.idempotency import Idempotency, Wish
from gateway.request import ImageRequest
from gateway.result import Attempt, Cost, ImageResult
from gateway.state.claims import Answer, Claim
from providers.errors import (
    AllAttemptsFailed,
    ContentBlocked,
    DeadlineExceeded,
    GatewayError,
    InvalidRequest,
    OutcomeUnknown,
)
from providers.images import GeneratedImage, ReferenceImage
from providers.outcome import Billed, Part
from tests.state.books import Place

PICTURE = GeneratedImage(data=b"\x89PNG a fox", mime_type="image/png", width=1024, height=1024)


def attempt(billed: Billed = "yes") -> Attempt:
    cost = None if billed == "no" else Cost(Decimal("0.0336"), "usage")
    return Attempt(lane="google/nano", size="1K", outcome="ok", billed=billed, cost=cost, duration=4.5, detail="fine")


def drawn(request_id: str = "first") -> ImageResult:
    return ImageResult(
        images=(PICTURE,), text="Here it is.", lane="google/nano", provider="google", model="nano", requested_size="2K",
        size="1K", downgraded=True, cost=Cost(Decimal("0.0336"), "usage"), total_cost=Cost(Decimal("0.1"), "catalogue"),
        attempts=(attempt("no"), attempt("maybe"), attempt()), warnings=("smaller",), request_id=request_id, elapsed=4.5,
        parts=(Part(text="Here it is."), Part(image=PICTURE, signature="c2ln")),
    )  # fmt: skip


def wish(request_id: str, **more: Any) -> Wish:
    return Wish(**{"key": "order 7", "fingerprint": "f", "request_id": request_id, "seconds": 90.0, **more})


class Desk:
    """A caller: what it draws, how often it did, and what that was billed."""

    def __init__(
        self, place: Place, *answers: ImageResult | BaseException, billed: Sequence[Billed] = ("yes",)
    ) -> None:
        state = place.opened()
        self.state = state
        self.keys = Idempotency(state.claims, Archive(state.blobs), place.wall.clock)
        self.calls = 0
        self._answers, self._billed = list(answers), billed

    async def asks(self, request_id: str, **more: Any) -> ImageResult:
        return await self.keys.once(wish(request_id, **more), self._draw, lambda: self._billed)

    async def fails(self, request_id: str, **more: Any) -> BaseException:
        with pytest.raises(BaseException) as failed:  # noqa: PT011
            await self.asks(request_id, **more)
        await self.state.engine.flush()
        return failed.value

    async def _draw(self) -> ImageResult:
        self.calls += 1
        await asyncio.sleep(0)
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def blobs_of_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gateway.state.default_folder", lambda: tmp_path / "user")


def test_the_second_time_the_same_result_comes_back_whole_and_nothing_is_drawn(place: Place) -> None:
    async def main() -> None:
        first, second = Desk(place, drawn()), Desk(place)
        assert await first.asks("first") == drawn()
        again = await second.asks("second")
        assert again == drawn()
        assert again.images[0].data == PICTURE.data
        assert again.parts[1].image is again.images[0]
        assert (first.calls, second.calls) == (1, 0)

    place.run(main)


def test_who_asks_meanwhile_waits_for_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.wall, "moves", lambda seconds: None)  # nobody's deadline passes

    async def main() -> None:
        desks = [Desk(place, drawn(f"request {n}")) for n in range(4)]
        results = await asyncio.gather(*(desk.asks(f"request {n}") for n, desk in enumerate(desks)))
        assert sum(desk.calls for desk in desks) == 1
        assert len({result.request_id for result in results}) == 1

    place.run(main)


def test_who_waits_longer_than_its_deadline_is_told(place: Place) -> None:
    async def main() -> None:
        await Desk(place).keys.claims.claim(wish("first", seconds=600.0).claim)
        began = place.wall.now
        error = await Desk(place).fails("second")
        assert isinstance(error, DeadlineExceeded)
        assert "request first under the same idempotency_key" in str(error)
        assert (place.wall.now - began).total_seconds() == pytest.approx(90)

    place.run(main)


def test_who_has_lost_the_key_before_it_began_draws_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was stopped for longer than its lease, and another one has begun."""

    async def main() -> None:
        slow = Desk(place, drawn())
        claims, claim = slow.keys.claims, slow.keys.claims.claim

        async def claimed_and_lost(wanted: Claim) -> Answer:
            answer = await claim(wanted)
            claims.abandon(wanted.key, wanted.owner)
            await slow.state.engine.flush()
            await claim(replace(wanted, owner="other"))
            return answer

        monkeypatch.setattr(claims, "claim", claimed_and_lost)
        error = await slow.fails("slow")
        assert isinstance(error, OutcomeUnknown)
        assert "another request has taken it over" in str(error)
        assert slow.calls == 0

    place.run(main)


def test_the_key_of_another_request_is_refused(place: Place) -> None:
    async def main() -> None:
        desk = Desk(place, drawn(), drawn())
        await desk.asks("first")
        error = await desk.fails("second", fingerprint="another")
        assert isinstance(error, InvalidRequest)
        assert str(error) == "idempotency_key: order 7 was used for another request; use a new key for this one"
        assert desk.calls == 1

    place.run(main)


@pytest.mark.parametrize("billed", [(), ("no", "no")])
def test_after_a_failure_that_was_free_the_key_can_be_used_again(place: Place, billed: Sequence[Billed]) -> None:
    async def main() -> None:
        desk = Desk(place, AllAttemptsFailed("overloaded"), drawn(), billed=billed)
        assert isinstance(await desk.fails("first"), AllAttemptsFailed)
        assert await desk.asks("second") == drawn()

    place.run(main)


def test_a_failure_that_was_paid_for_is_told_again_with_its_images_and_not_paid_again(place: Place) -> None:
    async def main() -> None:
        blocked = ContentBlocked("refused: violence", attempts=(attempt(),), images=(PICTURE,))
        desk = Desk(place, blocked, drawn(), billed=("no", "yes"))
        await desk.fails("first")
        again = await desk.fails("second")
        assert (type(again), str(again)) == (ContentBlocked, "refused: violence")
        assert isinstance(again, GatewayError)
        assert (again.attempts, again.images) == (blocked.attempts, blocked.images)
        assert desk.calls == 1

    place.run(main)


@pytest.mark.parametrize("error", [AllAttemptsFailed("no answer"), asyncio.CancelledError(), ZeroDivisionError()])
def test_after_a_failure_that_may_have_been_billed_the_caller_must_allow_a_second_charge(
    place: Place, error: BaseException
) -> None:
    async def main() -> None:
        desk = Desk(place, error, drawn("third"), billed=("no", "maybe"))
        assert await desk.fails("first") is error
        told = await desk.fails("second")
        assert isinstance(told, OutcomeUnknown)
        assert str(told) == (
            "idempotency_key: order 7: request first ended without anybody knowing how, and money may have been spent "
            "(image-gateway spend shows what is known). To draw all the same, and perhaps pay twice: "
            "allow_second_charge=True"
        )
        assert await desk.asks("third", again=True) == drawn("third")
        assert await desk.asks("fourth") == drawn("third")

    place.run(main)


def test_a_second_charge_that_was_allowed_and_not_made_leaves_the_first_one_in_doubt(place: Place) -> None:
    async def main() -> None:
        first = Desk(place, AllAttemptsFailed("no answer"), billed=("maybe",))
        await first.fails("first")
        second = Desk(place, AllAttemptsFailed("overloaded"), drawn("fourth"), billed=("no",))
        assert isinstance(await second.fails("second", again=True), AllAttemptsFailed)
        told = await second.fails("third")
        assert isinstance(told, OutcomeUnknown)
        assert "request first ended without anybody knowing how" in str(told)
        assert second.calls == 1
        assert await second.asks("fourth", again=True) == drawn("fourth")

    place.run(main)


def test_cancelled_after_it_was_paid_the_key_is_in_doubt(place: Place) -> None:
    async def main() -> None:
        desk = Desk(place, asyncio.CancelledError(), billed=("yes",))
        await desk.fails("first")
        assert isinstance(await desk.fails("second"), OutcomeUnknown)

    place.run(main)


def full_disk(_: object) -> str:
    raise OSError(28, "No space left on device")


def test_a_result_that_cannot_be_kept_is_delivered_all_the_same(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        desk = Desk(place, drawn())
        monkeypatch.setattr(desk.state.blobs, "put", full_disk)
        result = await desk.asks("first")
        assert result.images == (PICTURE,)
        assert "could not be kept under its idempotency_key: [Errno 28]" in result.warnings[-1]
        await desk.state.engine.flush()
        assert isinstance(await desk.fails("second"), OutcomeUnknown)

    place.run(main)


def test_a_result_whose_image_was_changed_on_the_disk_is_not_returned_as_if_nothing_had_happened(
    shared_place: Place,
) -> None:
    async def main() -> None:
        desk = Desk(shared_place, drawn())
        await desk.asks("first")
        assert isinstance(desk.state.blobs, FolderBlobs)
        for file in desk.state.blobs.folder.rglob("*"):
            if file.is_file() and file.read_bytes() == PICTURE.data:
                file.write_bytes(b"a wolf")
        told = await desk.fails("second")
        assert isinstance(told, OutcomeUnknown)
        assert "it succeeded, but what came of it is lost: its images are not where they were kept" in str(told)

    shared_place.run(main)


REFERENCE = ReferenceImage(b"sketch", "image/png")


def test_what_is_wanted_tells_requests_apart_and_how_the_work_is_done_does_not() -> None:
    def of(*references: ReferenceImage, **fields: Any) -> str:
        return fingerprint(ImageRequest(**{"prompt": "a fox", **fields}), references)

    assert of() == of(tags={"team": "art"}, idempotency_key=None, deadline=5, max_cost=1, task="poster")
    others = [
        of(prompt="a wolf"), of(size="2K"), of(aspect_ratio="16:9"), of(model="nano-banana-pro"), of(n=2), of(seed=1),
        of(temperature=0.5), of(quality="premium"), of(REFERENCE), of(replace(REFERENCE, data=b"other")),
        of(REFERENCE, REFERENCE), of(),
    ]  # fmt: skip
    assert len(set(others)) == len(others)
