"""Claims on idempotency keys, the same for every backend."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.state import State
from gateway.state.claiming import claimed
from gateway.state.claims import Answer, Claim, Held, Mismatch, New, Saved, Unknown
from gateway.state.stores import ClaimStore
from tests.state.books import Place


def claim(owner: str, **more: Any) -> Claim:
    return Claim(**{"key": "k" * 64, "fingerprint": "f", "owner": owner, "lease": 120.0, **more})


KEY = claim("").key


def test_the_first_one_gets_the_key_and_the_second_one_learns_who_has_it(place: Place) -> None:
    async def main() -> None:
        assert await place.opened().claims.claim(claim("first")) == New()
        assert await place.opened().claims.claim(claim("second")) == Held("first")
        assert await place.opened().claims.claim(claim("second", key="z" * 64)) == New()

    place.run(main)


def test_of_many_at_once_one_gets_it(place: Place) -> None:
    async def main() -> None:
        states = [place.opened() for _ in range(4)]
        answers = await asyncio.gather(*(states[n % 4].claims.claim(claim(f"request {n}")) for n in range(40)))
        assert answers.count(New()) == 1

    place.run(main)


def test_what_came_of_it_is_found_and_another_request_is_told_apart(place: Place) -> None:
    async def main() -> None:
        claims = place.opened().claims
        await claims.claim(claim("first"))
        assert await claims.spending(KEY, "first")
        await claims.finish(KEY, "first", "the-reference")
        assert await place.opened().claims.claim(claim("second")) == Saved("the-reference")
        assert await claims.claim(claim("second", again=True)) == Saved("the-reference")
        assert await claims.claim(claim("second", fingerprint="other")) == Mismatch()

    place.run(main)


def test_a_key_under_which_nothing_was_spent_is_free_again(place: Place) -> None:
    async def main() -> None:
        state = place.opened()
        await state.claims.claim(claim("first"))
        await state.claims.spending(KEY, "first")
        state.claims.abandon(KEY, "first")
        await state.engine.flush()
        assert await state.claims.claim(claim("second")) == New()

    place.run(main)


class Silent:
    """A store that takes a key, and never says so."""

    def __init__(self, claims: ClaimStore) -> None:
        self.abandon = claims.abandon
        self.taken = asyncio.Event()
        self._claims = claims

    async def claim(self, claim: Claim) -> Answer:
        await self._claims.claim(claim)
        self.taken.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def test_who_is_cancelled_while_it_asks_holds_nothing(place: Place) -> None:
    async def main() -> None:
        state = place.opened()
        silent: Any = Silent(state.claims)
        asking = asyncio.create_task(claimed(silent, claim("first")))
        await silent.taken.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await state.engine.flush()
        assert await state.claims.claim(claim("second")) == New()

    place.run(main)


def test_a_key_in_doubt_stays_shut_until_a_second_charge_is_allowed(place: Place) -> None:
    async def main() -> None:
        state = place.opened()
        await state.claims.claim(claim("first"))
        state.claims.doubt(KEY, "first")
        await state.engine.flush()
        assert await state.claims.claim(claim("second")) == Unknown("first")
        assert await state.claims.claim(claim("second", fingerprint="other", again=True)) == Mismatch()
        assert await state.claims.claim(claim("third", again=True)) == New()
        assert await state.claims.claim(claim("fourth", again=True)) == Held("third")

    place.run(main)


def test_who_is_allowed_a_second_charge_and_spends_nothing_leaves_the_doubt_as_it_was(place: Place) -> None:
    async def main() -> None:
        state = place.opened()
        await state.claims.claim(claim("first"))
        state.claims.doubt(KEY, "first")
        for owner in ("second", "third"):
            assert await state.claims.claim(claim(owner, again=True)) == New()
            assert await state.claims.spending(KEY, owner)
            state.claims.abandon(KEY, owner)
            await state.engine.flush()
            assert await state.claims.claim(claim("other")) == Unknown("first")
        assert await state.claims.claim(claim("fourth", again=True)) == New()
        await state.claims.finish(KEY, "fourth", "the-reference")
        assert await state.claims.claim(claim("fifth")) == Saved("the-reference")

    place.run(main)


def test_a_key_in_doubt_stays_so_when_its_next_holder_never_came_back(place: Place) -> None:
    async def main() -> None:
        state = place.opened()
        await state.claims.claim(claim("first"))
        state.claims.doubt(KEY, "first")
        await state.engine.flush()
        assert await state.claims.claim(claim("second", again=True)) == New()
        await overdue(place, state)
        assert await place.opened().claims.claim(claim("third")) == Unknown("second")
        assert await state.claims.claim(claim("fourth", again=True)) == New()
        state.claims.abandon(KEY, "fourth")
        await state.engine.flush()
        assert await state.claims.claim(claim("fifth")) == Unknown("first")

    place.run(main)


def test_only_the_holder_can_change_what_is_held(place: Place) -> None:
    async def main() -> None:
        state = place.opened()
        await state.claims.claim(claim("first"))
        assert not await state.claims.spending(KEY, "stranger")
        await state.claims.finish(KEY, "stranger", "the-reference")
        state.claims.abandon(KEY, "stranger")
        state.claims.doubt(KEY, "stranger")
        await state.engine.flush()
        assert await state.claims.claim(claim("second")) == Held("first")

    place.run(main)


async def overdue(place: Place, state: State) -> None:
    """Let the lease of 120 s be over: by the injected clock, or on the server."""
    place.wall.moves(121)
    if place.name == "redis":
        server: Any = state.engine
        await server.ask(("HINCRBY", server.key("claim", KEY), "until", -121_000))


def test_a_holder_that_never_came_back_before_it_spent_loses_the_key(place: Place) -> None:
    async def main() -> None:
        state = place.opened()
        await state.claims.claim(claim("first"))
        await overdue(place, state)
        assert await place.opened().claims.claim(claim("second")) == New()
        assert not await state.claims.spending(KEY, "first")  # it comes too late, and must not go on

    place.run(main)


def test_a_holder_that_never_came_back_after_it_may_have_spent_leaves_doubt(place: Place) -> None:
    async def main() -> None:
        state = place.opened()
        await state.claims.claim(claim("first"))
        await state.claims.spending(KEY, "first")
        await overdue(place, state)
        assert await place.opened().claims.claim(claim("second")) == Unknown("first")
        assert await place.opened().claims.claim(claim("second", again=True)) == New()

    place.run(main)


async def dies(place: Place, state: State) -> None:
    """Let it look as if the process of *state* had died."""
    engine: Any = state.engine
    if place.name == "sqlite":
        engine._writer._presence.leave()
    else:
        await engine.ask(("ZADD", engine.key("workers"), 1, engine.worker))


def test_a_holder_whose_process_died_is_not_waited_for_until_its_lease_is_over(shared_place: Place) -> None:
    async def main() -> None:
        first, other = shared_place.opened(), shared_place.opened()
        await first.claims.claim(claim("first"))
        await first.claims.claim(claim("second", key="z" * 64))
        await first.claims.spending("z" * 64, "second")
        await dies(shared_place, first)
        assert await other.claims.claim(claim("third")) == New()
        assert await other.claims.claim(claim("fourth", key="z" * 64)) == Unknown("second")

    shared_place.run(main)


def test_after_a_day_the_key_is_forgotten(place: Place) -> None:
    async def main() -> None:
        state = place.opened()
        await state.claims.claim(claim("first"))
        await state.claims.finish(KEY, "first", "the-reference")
        if place.name == "redis":
            server: Any = state.engine
            ((left,), (other,)) = [
                await server.ask(("PTTL", server.key(*words))) for words in (("claim", KEY), ("workers",))
            ]
            assert 24 * 3_600_000 < left <= (24 * 3600 + 120) * 1000
            assert other > 0
        else:
            place.wall.moves(24 * 3600 + 121)
            assert await state.claims.claim(claim("second", fingerprint="other")) == New()

    place.run(main)
