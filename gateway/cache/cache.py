"""The cache: results kept under a hash of everything that shapes the image, to be given again at no cost.

The index is in the state store, the images are blobs in a place of the cache's own, so that they can go when no entry
refers to them any more. What is read is checked against its hash: a file that was changed is dropped and drawn anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final

import anyio.to_thread

from gateway.archive import Archive, Lost
from gateway.blobs import Blobs, apart, blobs_at
from gateway.clock import Clock
from gateway.configuration.config import CachePolicy, Config
from gateway.events import warn
from gateway.fingerprint import digest, fingerprint
from gateway.request import FallbackStep, ImageRequest
from gateway.result import Cost, ImageResult, Judge
from gateway.router.constraints import ladder
from gateway.state.stores import CacheEntry, CacheStore
from gateway.sweeper import Sweeper
from providers.errors import GatewayError
from providers.images import ReferenceImage
from providers.sanitise import sanitise
from providers.sizes import rank

DOWNGRADED_LIFE: Final = 3600.0
"""Seconds for which a downgraded result is kept at most: the larger size, which could not be had, may be there again."""
ORPHAN: Final = timedelta(hours=1)
"""The age at which a blob that no entry refers to is swept up: its entry is written after it, or its writer has died."""

Fits = Callable[[ImageResult], bool]
"""Whether a result may be given for a request."""


def is_wanted(request: ImageRequest, policy: CachePolicy) -> bool:
    """Whether *request* is to be looked up and kept."""
    return policy.enabled if request.cache is None else request.cache


def key_of(request: ImageRequest, references: Sequence[ReferenceImage], config: Config) -> str:
    """The hash of everything that shapes the image; 64 hexadecimal digits.

    What the configuration adds counts as well: the models that the router may pick, and the task where it decides on them.
    How far a request gives way does not: that is asked of each result that is found (:func:`fits`).
    """
    unyielding = request.model_copy(update={"min_size": None, "fallback": None})
    models = config.models if request.model is None else None
    return digest([fingerprint(unyielding, references), models, request.task if request.quality == "auto" else None])


def fits(result: ImageResult, request: ImageRequest, fallback: Sequence[FallbackStep]) -> bool:
    """Whether *result*, drawn under the same key, may be given for *request*.

    One smaller than asked may only where the request itself, or else the configured *fallback*, lets it be downgraded so far.
    """
    return rank(result.size) >= rank(request.size) or result.size in ladder(request, fallback)


def given_again(result: ImageResult, request_id: str, elapsed: float) -> ImageResult:
    """*result* for another request, which pays nothing for it. A verdict on it counts for the one that paid."""
    judge = None if result._judge is None else partial(_forwarded, result._judge, result.request_id)
    return replace(
        result, cached=True, cost=_nothing(result.cost), total_cost=_nothing(result.total_cost), attempts=(),
        request_id=request_id, elapsed=elapsed, _judge=judge,
    )  # fmt: skip


def cache_blobs(policy: CachePolicy, blobs: Blobs) -> Blobs:
    """Where *policy* has the cache keep its images: beside the state's own *blobs* if it does not say.

    Raises:
        ConfigError: the store's address cannot be used, or what it needs is not installed.
    """
    return apart(blobs, "cache") if policy.store is None else blobs_at(policy.store)


class Cache:
    """Results in *blobs*, found by *index*. What goes wrong in it costs no image: it is told, or counts as not found."""

    def __init__(self, index: CacheStore, blobs: Blobs, policy: CachePolicy, clock: Clock) -> None:
        self.blobs = blobs
        self._index = index
        self._policy = policy
        self._clock = clock
        self._sweeper = Sweeper(blobs, ORPHAN, clock)

    async def find(self, key: str, fitting: Fits, judge: Judge | None = None) -> ImageResult | None:
        """A result that is kept under *key* and *fitting*; *judge* takes verdicts on it. What is damaged is dropped."""
        for each in (key, _spare(key)):
            found = await self._found(each, judge)
            if found is not None and fitting(found):
                return found
        return None

    async def keep(self, key: str, result: ImageResult) -> str:
        """Keep *result* under *key*; why that could not be, in a sentence, or ``""``."""
        size = sum(len(image.data) for image in result.images)
        if size > self._policy.max_bytes:
            return f"the result was not cached: it takes {size:,} bytes, more than [cache] max_bytes"
        try:
            await self._kept(key, result)
        except (GatewayError, OSError) as error:
            return f"the result could not be cached: {sanitise(error)}"
        finally:
            await self._sweep()
        return ""

    async def keep_late(self, key: str, result: ImageResult) -> None:
        """Keep a *result* that came when another had been given: as a spare, or in its place if it is larger."""
        first = await self._found(key, None)
        better = first is None or rank(result.size) > rank(first.size)
        told = await self.keep(key if better else _spare(key), result)
        if told:
            warn(told)

    async def _sweep(self) -> None:
        """Have blobs removed that nothing refers to, where it is time for that; nobody waits for it."""
        with suppress(GatewayError):
            if self._sweeper.is_due():
                self._sweeper.sweep(await self._index.blobs())

    async def _found(self, key: str, judge: Judge | None) -> ImageResult | None:
        try:
            entry = await self._index.find(key)
            if entry is None:
                return None
            try:
                found = await anyio.to_thread.run_sync(Archive(self.blobs).find, entry.reference, judge)
            except Lost:
                await self._discard(await self._index.drop(key, entry.reference))
                return None
        except (GatewayError, OSError):  # it may be there again later
            return None
        return found if isinstance(found, ImageResult) else None

    async def _kept(self, key: str, result: ImageResult) -> None:
        noted = _Noted(self.blobs)
        reference = await anyio.to_thread.run_sync(Archive(noted).keep, result)
        life = min(self._policy.max_age, DOWNGRADED_LIFE) if result.downgraded else self._policy.max_age
        entry = CacheEntry(
            key=key, reference=reference, blobs=tuple(noted.sizes), bytes=sum(noted.sizes.values()), life=life
        )
        await self._discard(await self._index.keep(entry, self._policy.max_bytes))

    async def _discard(self, blobs: Iterable[str]) -> None:
        unused = tuple(blobs)
        if unused:
            await anyio.to_thread.run_sync(_discarded, self.blobs, unused)


class _Noted:
    """Blobs that note what is put into *blobs*, with its bytes."""

    def __init__(self, blobs: Blobs) -> None:
        self.sizes: dict[str, int] = {}
        self._blobs = blobs

    def put(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self.sizes:  # the images of a result are those of its parts
            self.sizes[self._blobs.put(data)] = len(data)
        return sha256

    def get(self, sha256: str) -> bytes | None:
        return self._blobs.get(sha256)

    def discard(self, sha256: str) -> None:
        self._blobs.discard(sha256)

    def sweep(self, before: datetime, spared: Container[str] = ()) -> int:
        return self._blobs.sweep(before, spared)


def _discarded(blobs: Blobs, unused: Iterable[str]) -> None:
    for sha256 in unused:
        blobs.discard(sha256)


def _spare(key: str) -> str:
    """Where a second result for the same request is kept, for when the first is gone."""
    return f"{key}+"


def _nothing(cost: Cost) -> Cost:
    return Cost(Decimal(0), cost.basis)


def _forwarded(judge: Judge, paid: str, request_id: str, accepted: bool, cleanup_cost: Decimal | float) -> None:
    judge(paid, accepted, cleanup_cost)
