"""Idempotency keys: under one key a request is carried out once, whoever asks for it how often.

What came of it is kept for a day: the result, or the error of a request that failed and was paid for. Where nobody knows
what came of it, since its process died or its last call may have been billed, the key stays shut until the caller
allows a second charge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

import anyio.to_thread

from gateway.archive import Archive, Lost
from gateway.clock import Clock
from gateway.result import ImageResult, Judge
from gateway.state.claiming import GRACE, Looks, claimed
from gateway.state.claims import Claim, Held, Mismatch, New, Saved
from gateway.state.stores import ClaimStore
from gateway.sweeper import Sweeper
from providers.errors import DeadlineExceeded, GatewayError, InvalidRequest, OutcomeUnknown
from providers.outcome import Billed
from providers.sanitise import sanitise


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """That the request *request_id* be carried out under *key*, within *seconds*.

    *fingerprint* says what it asks for. *again*: if it is unknown what came of it before, it may be paid for again.
    """

    key: str
    fingerprint: str
    request_id: str
    seconds: float
    again: bool = False

    @property
    def claim(self) -> Claim:
        """The claim that it makes."""
        hashed = hashlib.sha256(self.key.encode()).hexdigest()
        return Claim(
            key=hashed,
            fingerprint=self.fingerprint,
            owner=self.request_id,
            lease=self.seconds + GRACE,
            again=self.again,
        )


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Sees to it that what is done under a key is done once. *judge* takes verdicts on results returned again.

    *sweeper* sweeps up what was kept long ago.
    """

    claims: ClaimStore
    archive: Archive
    clock: Clock
    judge: Judge | None = None
    sweeper: Sweeper | None = None

    async def once(
        self, wish: Wish, draw: Callable[[], Awaitable[ImageResult]], billed: Callable[[], Iterable[Billed]]
    ) -> ImageResult:
        """What *draw* makes, or what it made under this key before. *billed* tells what its calls were billed.

        Raises:
            InvalidRequest: the key was used for another request.
            OutcomeUnknown: money may have been spent under the key, and nobody knows what came of it.
            DeadlineExceeded: the request under way did not end in time.
            StateUnavailable: the key cannot be claimed now; nothing was sent.
            GatewayError: whatever *draw* raises, or raised before, having cost money.
        """
        ended = await self._waited(wish)
        if isinstance(ended, GatewayError):
            raise ended
        if ended is not None:
            return ended
        try:
            if not await self.claims.spending(wish.claim.key, wish.request_id):
                raise _unknown(wish, "another request has taken it over")
            result = await draw()
        except BaseException as error:
            await self._failed(wish, error, set(billed()))
            raise
        return await self._kept(wish, result)

    async def _waited(self, wish: Wish) -> ImageResult | GatewayError | None:
        """What came of the key before, waiting for it if it is under way; None: it is ours now."""
        looks = Looks(self.clock, wish.seconds)
        while True:
            answer = await claimed(self.claims, wish.claim)
            match answer:
                case New():
                    return None
                case Saved(reference):
                    return await self._found(wish, reference)
                case Mismatch():
                    raise InvalidRequest(
                        f"idempotency_key: {sanitise(wish.key)} was used for another request; use a new key for this one"
                    )
                case Held(owner):
                    if not looks.left:
                        raise DeadlineExceeded(f"request {owner} under the same idempotency_key has not ended in time")
                    await looks.pause()
                case _:
                    raise _unknown(wish, f"request {answer.owner} ended without anybody knowing how")

    async def _found(self, wish: Wish, reference: str) -> ImageResult | GatewayError:
        try:
            return await anyio.to_thread.run_sync(self.archive.find, reference, self.judge)
        except (Lost, OSError) as error:
            told = f"it succeeded, but what came of it is lost: {sanitise(error)}"
            if not wish.again:
                raise _unknown(wish, told) from None
        raise _unknown(wish, f"{told}; the key is settled: use another one")

    async def _failed(self, wish: Wish, error: BaseException, billed: set[Billed]) -> None:
        """Settle the key of a request that failed. Unless it is simple, nothing is awaited before it is in doubt."""
        key, owner = wish.claim.key, wish.request_id
        if not billed - {"no"}:
            self.claims.abandon(key, owner)
            return
        self.claims.doubt(key, owner)
        if isinstance(error, GatewayError) and "maybe" not in billed:
            try:
                await self.claims.finish(key, owner, await anyio.to_thread.run_sync(self.archive.keep, error))
            except (GatewayError, OSError):
                return  # it stays in doubt

    async def _kept(self, wish: Wish, result: ImageResult) -> ImageResult:
        key, owner = wish.claim.key, wish.request_id
        try:
            await self.claims.finish(key, owner, await anyio.to_thread.run_sync(self.archive.keep, result))
        except (GatewayError, OSError) as error:
            self.claims.doubt(key, owner)
            warning = f"the result could not be kept under its idempotency_key: {sanitise(error)}"
            return replace(result, warnings=(*result.warnings, warning))
        except BaseException:  # cancelled: nobody has the result
            self.claims.doubt(key, owner)
            raise
        if self.sweeper is not None and self.sweeper.is_due():
            self.sweeper.sweep()
        return result


def _unknown(wish: Wish, what: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"idempotency_key: {sanitise(wish.key)}: {what}, and money may have been spent "
        f"(image-gateway spend shows what is known). To draw all the same, and perhaps pay twice: allow_second_charge=True"
    )
