"""Single flight between processes that share a state: one of them takes its turn, the others wait for what comes of it.

A turn is a claim in the state store. A result goes to the others by way of the cache; what is not in there, an error first
of all, by way of the claim itself, and to nobody who comes later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import anyio.to_thread

from gateway.archive import Archive, Lost
from gateway.cache.single_flight import Ticket
from gateway.clock import Clock
from gateway.result import ImageResult, Judge
from gateway.state.claiming import GRACE, Looks, claimed
from gateway.state.claims import Claim, Held, New, Saved
from gateway.state.stores import ClaimStore
from providers.errors import DeadlineExceeded, GatewayError

_BEGINNING: Final = "flight-"
"""What the keys of these claims begin with; those of idempotency keys are bare hashes."""


@dataclass(slots=True)
class Turn:
    """The turn of the request *owner* at the claim *key*, until it is told what came of it or *over* otherwise."""

    claims: ClaimStore
    archive: Archive
    key: str
    owner: str
    terms: str
    over: bool = False

    async def tell(self, ended: ImageResult | GatewayError) -> None:
        """Leave *ended* to those who wait, if it can be kept; else one of them takes over."""
        try:
            reference = await anyio.to_thread.run_sync(self.archive.keep, ended)
            if not self.over:
                await self.claims.finish(self.key, self.owner, f"{self.owner} {self.terms} {reference}")
                self.over = True
        except (GatewayError, OSError):
            return

    def end(self) -> None:
        """Let go of it: those who wait look into the cache, and one of them takes over if nothing is there."""
        if not self.over:
            self.over = True
            self.claims.abandon(self.key, self.owner)


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns at *claims*; *judge* takes verdicts on results that come from another process."""

    claims: ClaimStore
    archive: Archive
    clock: Clock
    judge: Judge | None = None

    async def taken(self, ticket: Ticket) -> Turn | ImageResult | GatewayError:
        """The turn, after waiting for another process, or what came of that one's if it was on the same terms.

        Where the state store cannot be asked, everybody has a turn.

        Raises:
            DeadlineExceeded: another process did not end in time.
        """
        turn = Turn(self.claims, self.archive, _BEGINNING + ticket.key, ticket.request_id, ticket.terms)
        looks, waited = Looks(self.clock, ticket.seconds), False
        while True:
            match await self._answer(turn, ticket):
                case Held(owner):
                    waited = True
                    if not looks.left:
                        raise DeadlineExceeded(f"request {owner} for the same image has not ended in time")
                case Saved(reference):
                    owner, terms, kept = reference.split(" ")
                    ended = await self._ended(kept) if waited and terms == ticket.terms else None
                    if ended is not None:
                        return ended
                    self.claims.abandon(turn.key, owner)  # it was told to those who waited
                case _:
                    return turn
            await looks.pause()

    async def _answer(self, turn: Turn, ticket: Ticket) -> object:
        claim = Claim(key=turn.key, fingerprint=ticket.key, owner=turn.owner, lease=ticket.seconds + GRACE, again=True)
        try:
            return await claimed(self.claims, claim)
        except GatewayError:
            turn.over = True
            return New()

    async def _ended(self, reference: str) -> ImageResult | GatewayError | None:
        try:
            return await anyio.to_thread.run_sync(self.archive.find, reference, self.judge)
        except (Lost, OSError):
            return None
