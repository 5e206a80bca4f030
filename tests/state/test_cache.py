"""The index of the cache, over every backend."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.state.stores import CacheEntry
from tests.state.books import Place
from tests.state.redis_server import RedisServer

ROOM = 10_000


def entry(key: str, *blobs: str, **more: Any) -> CacheEntry:
    facts: dict[str, Any] = {
        "key": key, "reference": f"{key}.json", "blobs": (f"{key}.json", *(blobs or (f"{key}.png",))), "bytes": 1000,
        "life": 3600.0,
    }  # fmt: skip
    return CacheEntry(**{**facts, **more})


def known(place: Place, found: CacheEntry | None) -> str:
    """The reference of what was *found*, after a moment in which others may use something."""
    place.wall.moves(0.001)
    return found.reference if found else ""


def test_what_is_kept_is_found_by_everybody(place: Place) -> None:
    async def main() -> None:
        one, other = place.opened().cache, place.opened().cache
        assert await one.find("fox") is None
        assert await one.keep(entry("fox"), ROOM) == ()
        found = await other.find("fox")
        assert found is not None
        assert (found.reference, set(found.blobs), found.bytes, found.life) == (
            "fox.json", {"fox.json", "fox.png"}, 1000, 3600.0,
        )  # fmt: skip
        assert await other.find("wolf") is None

    place.run(main)


def test_an_entry_takes_the_place_of_the_one_before(place: Place) -> None:
    async def main() -> None:
        cache = place.opened().cache
        await cache.keep(entry("fox"), ROOM)
        unused = await cache.keep(entry("fox", "better.png", reference="better.json", blobs=("better.png",)), ROOM)
        assert set(unused) == {"fox.json", "fox.png"}
        assert known(place, await cache.find("fox")) == "better.json"
        assert await cache.blobs() == {"better.png"}

    place.run(main)


@pytest.mark.parametrize("place", ["memory", "sqlite"], indirect=True)  # the clock of Redis is the server's: see below
def test_an_entry_is_not_found_when_its_life_is_over(place: Place) -> None:
    async def main() -> None:
        cache = place.opened().cache
        await cache.keep(entry("fox", life=10.0), ROOM)
        place.wall.moves(9.9)
        assert await cache.find("fox") is not None
        place.wall.moves(0.2)
        assert await cache.find("fox") is None
        assert set(await cache.keep(entry("wolf"), ROOM)) == {"fox.json", "fox.png"}

    place.run(main)


def test_redis_forgets_an_entry_by_the_clock_of_the_server(redis_server: RedisServer) -> None:
    place = Place("redis", f"{redis_server.url}?timeout=20")

    async def main() -> None:
        cache = place.opened().cache
        await cache.keep(entry("fox"), ROOM)
        redis_server.tell("ZADD", "{image-gateway}:cache:ends", "1", "fox")  # long ago
        assert await cache.find("fox") is None
        assert set(await cache.keep(entry("wolf"), ROOM)) == {"fox.json", "fox.png"}

    place.run(main)


def test_what_was_not_used_for_longest_makes_room(place: Place) -> None:
    async def main() -> None:
        cache = place.opened().cache
        for name in ("fox", "wolf", "bear"):
            await cache.keep(entry(name), 3000)
            place.wall.moves(1)
        await cache.find("fox")
        place.wall.moves(1)
        assert set(await cache.keep(entry("hare", bytes=1500), 3000)) == {
            "wolf.json",
            "wolf.png",
            "bear.json",
            "bear.png",
        }
        assert [known(place, await cache.find(name)) for name in ("fox", "wolf", "bear", "hare")] == [
            "fox.json", "", "", "hare.json",
        ]  # fmt: skip

    place.run(main)


def test_a_lower_limit_holds_from_the_next_entry_on(place: Place) -> None:
    async def main() -> None:
        cache = place.opened().cache
        for name in ("fox", "wolf", "bear"):
            await cache.keep(entry(name), ROOM)
            place.wall.moves(1)
        await cache.keep(entry("hare"), 2000)
        assert [known(place, await cache.find(name)) for name in ("fox", "wolf", "bear", "hare")] == [
            "", "", "bear.json", "hare.json",
        ]  # fmt: skip

    place.run(main)


def test_a_blob_of_two_entries_is_unused_when_both_are_gone(place: Place) -> None:
    async def main() -> None:
        cache = place.opened().cache
        await cache.keep(entry("fox", "same.png"), ROOM)
        await cache.keep(entry("wolf", "same.png"), ROOM)
        assert await cache.blobs() == {"fox.json", "wolf.json", "same.png"}
        assert await cache.drop("fox", "fox.json") == ("fox.json",)
        assert set(await cache.drop("wolf", "wolf.json")) == {"wolf.json", "same.png"}
        assert await cache.blobs() == frozenset()

    place.run(main)


def test_a_blob_that_comes_again_is_in_use(place: Place) -> None:
    async def main() -> None:
        cache = place.opened().cache
        await cache.keep(entry("fox"), ROOM)
        assert await cache.keep(entry("fox"), ROOM) == ()

    place.run(main)


def test_what_has_been_replaced_meanwhile_is_not_dropped(place: Place) -> None:
    async def main() -> None:
        cache = place.opened().cache
        await cache.keep(entry("fox", reference="better.json"), ROOM)
        assert await cache.drop("fox", "fox.json") == ()
        assert known(place, await cache.find("fox")) == "better.json"

    place.run(main)


def test_no_key_of_the_cache_stays_in_redis_for_ever(redis_server: RedisServer) -> None:
    place = Place("redis", f"{redis_server.url}?timeout=20")

    async def main() -> None:
        cache = place.opened().cache
        await cache.keep(entry("fox", life=7200.0), ROOM)
        await cache.keep(entry("wolf", life=60.0), ROOM)
        keys = redis_server.tell("KEYS", "*cache*")
        assert isinstance(keys, list)
        assert len(keys) == 5
        for key in keys:
            left = redis_server.tell("PTTL", key)
            assert isinstance(left, int)
            assert 3600_000 < left <= 7200_000

    place.run(main)
