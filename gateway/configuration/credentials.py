"""The keys of one provider, used in turn when one is refused or exhausted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from gateway.forking import survives
from gateway.health import cooldowns
from gateway.health.cooldowns import Cause, Cooldown
from providers.outcome import OutcomeName
from providers.provider import Provider

KEY_TROUBLE: Final[frozenset[OutcomeName]] = frozenset({"auth", "balance", "quota_exhausted"})
"""Outcomes that another key may not meet."""

_EVERY_MODEL: Final = ""


class Credentials:
    """The adapters of one provider, one for each key, and the keys that rest."""

    def __init__(self, adapters: Sequence[Provider]) -> None:
        self.adapters = tuple(adapters)
        self._rests: dict[tuple[int, str, OutcomeName], Cooldown] = {}
        self.after_fork()
        survives(self)

    def after_fork(self) -> None:
        """Free the lock."""
        self._lock = threading.Lock()

    def pick(self, model: str, now: float) -> int:
        """The first key that does not rest for *model*; the one that rests the shortest if all do."""
        return min(range(len(self.adapters)), key=lambda index: (self._until(index, model, now), index))

    def rest(self, index: int, model: str, cause: Cause, now: float) -> bool:
        """Pass over a key for as long as *cause* lasts; whether another one is left to use for *model*.

        A quota belongs to one model, a balance and a refusal to the key.
        """
        place = (index, model if cause.outcome == "quota_exhausted" else _EVERY_MODEL, cause.outcome)
        with self._lock:  # event loops in other threads use the same keys
            self._rests[place] = cooldowns.rest(self._rests.get(place), cause, now)
            return any(self._until(other, model, now) <= now for other in range(len(self.adapters)))

    def worked(self, index: int, model: str, start: float) -> None:
        """A call with a key that began at *start* was answered: the rests it had by then are forgotten, doubling included."""
        with self._lock:
            for place, rest in list(self._rests.items()):
                if place[0] == index and place[1] in (model, _EVERY_MODEL) and rest.until <= start:
                    del self._rests[place]

    def refused(self) -> tuple[int, ...]:
        """The keys that were refused, and rest until they are found good."""
        return tuple(index for index, _, outcome in tuple(self._rests) if outcome == "auth") if self._rests else ()

    def absolve(self, index: int) -> None:
        """A key that was refused is good."""
        with self._lock:
            self._rests.pop((index, _EVERY_MODEL, "auth"), None)

    async def aclose(self) -> None:
        """Close every adapter."""
        for adapter in self.adapters:
            await adapter.aclose()

    def _until(self, index: int, model: str, now: float) -> float:
        """When the key may be used for *model*: *now*, or later."""
        rests = (self._rests.get((index, scope, outcome)) for scope in (model, _EVERY_MODEL) for outcome in KEY_TROUBLE)
        return max([now, *(rest.until for rest in rests if rest is not None)])
