"""Which lanes may be used today, whatever is asked for, and why the others may not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.client import AsyncGateway
from gateway.plan import Exclusion
from providers.sizes import SIZES

BY_NAME: Final = frozenset({"quality", "model"})
"""Reasons for which a lane is taken only by a request that names its model."""


def standing(gateway: AsyncGateway) -> Mapping[str, Exclusion]:
    """By lane, why it is out of every plain request, whatever its size; lanes that may be used are not in it."""
    barred: dict[str, Exclusion] = {}
    for size in SIZES:
        for exclusion in gateway.plan("anything", size=size).excluded:
            if exclusion.reason != "size":
                barred.setdefault(exclusion.lane, exclusion)
    return barred
