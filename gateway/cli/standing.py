"""Which lanes may be used today, whatever is asked for, and why the others may not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.client import AsyncGateway
from gateway.router.plan import Exclusion
from providers.sizes import SIZES

BY_NAME: Final = frozenset({"quality", "model"})
"""Reasons for which a lane is taken only by a request that names its model."""


def standing(gateway: AsyncGateway) -> Mapping[str, Exclusion]:
    """By lane, why it is out of every plain request, whatever its size; lanes that may be used are not in it.

    Of a lane that is taken only by its name it tells so only if that would help.
    """
    barred = _barred(gateway)
    models = {lane.model for lane in gateway.config.lanes if lane.name in barred and _by_name(barred[lane.name])}
    named = {model: _barred(gateway, model=model) for model in sorted(models)}
    for lane in gateway.config.lanes:
        if lane.model in named and lane.name in named[lane.model]:
            barred[lane.name] = named[lane.model][lane.name]
    return barred


def _by_name(exclusion: Exclusion) -> bool:
    return exclusion.reason in BY_NAME


def _barred(gateway: AsyncGateway, **wishes: Any) -> dict[str, Exclusion]:
    """By lane, why it is out of requests with these *wishes*, for another reason than their size."""
    barred: dict[str, Exclusion] = {}
    for size in SIZES:
        for exclusion in gateway.plan("anything", size=size, fallback=("switch",), **wishes).excluded:
            if exclusion.reason != "size":
                barred.setdefault(exclusion.lane, exclusion)
    return barred
