"""A walk whose calls are not given up when another has brought the images: they may be billed, so the cache keeps theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from gateway.cache.read_through import Payer
from gateway.chain import conclusion
from gateway.chain.attempts import Call, Desk, Tried
from gateway.chain.chain import Walk
from gateway.result import ImageResult


def walk_of(desk: Desk, tried: list[Tried], payer: Payer | None, conclude: Callable[[Walk], ImageResult]) -> Walk:
    """The walk of an order whose attempts are noted in *tried*: a patient one for a *payer*."""
    if payer is None:
        return Walk(desk=desk, tried=tried)
    return PatientWalk(desk=desk, tried=tried, payer=payer, conclude=conclude)


@dataclass(kw_only=True, eq=False)
class PatientWalk(Walk):
    """Gives the *payer* what *conclude* makes of it as soon as all images are there, and goes on for what was sent.

    What comes of that arrives *late*. In the result such calls count as given up: they may be billed.
    """

    payer: Payer
    conclude: Callable[[Walk], ImageResult]
    _sent: list[Call] = field(default_factory=list)
    _parted: bool = False
    _late: list[Tried] = field(default_factory=list)
    _scopes: defaultdict[Call, anyio.CancelScope] = field(default_factory=lambda: defaultdict(anyio.CancelScope))
    """A call may be given up in the moment in which it was let in, before its own task has begun."""

    async def run(self) -> None:
        """See :class:`~gateway.chain.chain.Walk`."""
        await Walk.run(self)
        for tried in self._late:
            alone = Walk(desk=self.desk, tried=[tried], delivered=[tried])
            result = conclusion.result_of(alone, tried.attempt.duration, self.desk.clock.today(), None)
            if result is not None:
                await self.payer.late(result)

    async def _walk(self) -> None:
        with anyio.CancelScope() as self._way:
            await Walk._walk(self)

    async def _carry_out(self, call: Call) -> None:
        book = self.tried
        with self._scopes[call]:
            await Walk._carry_out(self, call)
        if call in self._sent:
            self._late += [each for each in book if each.ordinal == call.ordinal and each.is_judged("accept")]

    async def _give_up_the_rest(self) -> None:
        """Give up only what was not sent yet, and tell the payer. The calls' own endings go to the book as it was."""
        if self._parted:
            return
        self._parted = True
        self._way.cancel()
        begun = [call for call in self._under_way if call.key is not None]
        self._sent = [call for call in begun if call.exchange.sent]
        for call in self._under_way:
            if call not in self._sent:
                self._scopes[call].cancel()
        self.tried = [*self.tried, *map(self.desk.given_up, begun)]
        await self.payer.landed(self.conclude(self))
