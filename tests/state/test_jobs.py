"""The records of batch jobs, the same for every backend."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.state.stores import JOBS_KEPT, Record
from tests.state.books import Place
from tests.state.redis_server import RedisServer


def line(name: str, text: str) -> Record:
    return Record("line", name, text)


def test_what_is_written_is_read_by_another_process_one_kind_at_a_time(place: Place) -> None:
    async def main() -> None:
        jobs = place.opened().jobs
        assert await jobs.put(
            "posters", [Record("head", "", "H"), line("1", "a"), line("2", "b"), Record("mark", "x", "m")]
        )
        again = place.opened().jobs
        assert await again.read("posters", "line") == {"1": "a", "2": "b"}
        assert await again.read("posters", "mark") == {"x": "m"}
        assert await again.read("posters", "chunk") == {}
        assert await again.read("another", "line") == {}

    place.run(main)


def test_a_line_is_replaced_without_touching_the_others(place: Place) -> None:
    async def main() -> None:
        jobs = place.opened().jobs
        await jobs.put("posters", [line(str(number), "waiting") for number in range(1000)])
        await jobs.put("posters", [line("7", "done")])
        kept = await jobs.read("posters", "line")
        assert len(kept) == 1000
        assert [name for name, text in kept.items() if text == "done"] == ["7"]

    place.run(main)


def test_what_must_not_be_there_yet_keeps_all_of_it_from_being_written(place: Place) -> None:
    async def main() -> None:
        chunk = Record("chunk", "c-1", "mine")
        stores = [place.opened().jobs for _ in range(4)]
        wrote = await asyncio.gather(
            *(stores[n % 4].put("posters", [chunk._replace(text=str(n)), line(str(n), "x")], chunk) for n in range(20))
        )
        assert wrote.count(True) == 1
        winner = str(wrote.index(True))
        assert await stores[0].read("posters", "chunk") == {"c-1": winner}
        assert await stores[0].read("posters", "line") == {winner: "x"}

    place.run(main)


def test_only_what_has_a_head_is_listed_and_what_is_discarded_is_gone(place: Place) -> None:
    async def main() -> None:
        jobs = place.opened().jobs
        await jobs.put("first", [Record("head", "", "1")])
        await jobs.put("second", [Record("head", "", "2"), line("1", "a")])
        await jobs.put("half-written", [line("1", "a")])
        assert await jobs.heads() == {"first": "1", "second": "2"}
        await jobs.discard("second")
        assert await jobs.heads() == {"first": "1"}
        assert await jobs.read("second", "line") == {}

    place.run(main)


def test_sqlite_forgets_a_job_thirty_days_after_the_last_write(tmp_path: Any) -> None:
    place = Place("sqlite", f"sqlite:///{tmp_path / 'state.db'}")

    async def main() -> None:
        jobs = place.opened().jobs
        await jobs.put("old", [Record("head", "", "1")])
        await jobs.put("busy", [Record("head", "", "2")])
        place.wall.moves(JOBS_KEPT.total_seconds() - 60)
        await jobs.put("busy", [line("1", "a")])
        place.wall.moves(120)
        await jobs.put("new", [Record("head", "", "3")])
        assert set(await jobs.heads()) == {"busy", "new"}

    place.run(main)


def test_redis_keeps_a_job_for_thirty_days(shared_redis: RedisServer) -> None:
    place = Place("redis", f"{shared_redis.url}?timeout=20&prefix=kept")

    async def main() -> None:
        state = place.opened()
        await state.jobs.put("posters", [Record("head", "", "1"), Record("request", "1", "r")])
        engine: Any = state.engine
        for kind in ("head", "request"):
            (left,) = await engine.ask(("TTL", engine.key("batch", "posters", kind)))
            assert JOBS_KEPT.total_seconds() - 60 < left <= JOBS_KEPT.total_seconds()

    place.run(main)
