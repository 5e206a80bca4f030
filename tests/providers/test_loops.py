"""Each event loop has its own of what belongs to event loops."""

from __future__ import annotations

import asyncio
import gc
import threading

from providers.loops import PerLoop


class Connections:
    """Refers to the loop that made it, as connections do."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()


async def taken(owned: PerLoop[Connections]) -> Connections:
    return owned.get()


class TestEachLoop:
    def test_has_one_and_the_same(self) -> None:
        async def main() -> tuple[Connections, Connections]:
            return owned.get(), owned.get()

        owned = PerLoop(Connections)
        first, second = asyncio.run(main())
        assert first is second

    def test_has_its_own_also_in_threads(self) -> None:
        def in_a_thread() -> None:
            together.wait(30)
            made.append(asyncio.run(taken(owned)))

        owned, together = PerLoop(Connections), threading.Barrier(8)
        made: list[Connections] = []
        threads = [threading.Thread(target=in_a_thread) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len({id(each.loop) for each in made}) == len({*map(id, made)}) == 8

    def test_can_take_its_own_out_and_get_a_new_one(self) -> None:
        async def main() -> tuple[Connections, Connections | None, Connections | None, Connections]:
            return owned.get(), owned.pop(), owned.pop(), owned.get()

        owned = PerLoop(Connections)
        first, out, nothing, second = asyncio.run(main())
        assert out is first
        assert nothing is None
        assert second is not first

    def test_that_is_closed_is_forgotten_with_what_it_owned(self) -> None:
        owned = PerLoop(Connections)
        for _ in range(5):
            asyncio.run(taken(owned))
        gc.collect()
        assert sum(isinstance(each, Connections) for each in gc.get_objects()) == 1

    def test_that_is_open_is_not_forgotten_when_another_one_closes(self) -> None:
        async def main() -> tuple[Connections, Connections]:
            first = owned.get()
            for _ in range(3):
                await asyncio.to_thread(asyncio.run, taken(owned))
            return first, owned.get()

        owned = PerLoop(Connections)
        first, later = asyncio.run(main())
        assert first is later
