"""Which fault, if any, strikes a request."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from providers.simulator.faults import Fault
from providers.simulator.models import canonical
from providers.sizes import Size

Purpose = Literal["draw", "list", "file", "batch"]
"""What a request is for: an image, a list of models, the download of an image, or a batch job and its files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What faults look at in a request."""

    path: str
    purpose: Purpose
    model: str | None = None
    size: Size | None = None


def strikes(fault: Fault, target: Target) -> bool:
    """Whether *fault* is meant for *target*."""
    if fault.path is not None:
        if fault.path not in target.path:
            return False
    elif target.purpose == "file" or (target.purpose != "draw" and not fault.account):
        return False
    model_fits = fault.model is None or (target.model is not None and canonical(target.model) == canonical(fault.model))
    return model_fits and fault.size in (None, target.size)


class Rules:
    """The faults in force, thread-safe. Faults with a count go before endless ones; either kind in order of arrival."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._left: list[tuple[Fault, int | None]] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Put *fault* in force."""
        with self._lock:
            self._left.append((fault, fault.count))

    def clear(self) -> None:
        """Let everything work again."""
        with self._lock:
            self._left.clear()

    def take(self, target: Target, *, early: bool = False) -> Fault | None:
        """The fault that strikes *target*, one of its count spent.

        *early*: only faults that strike before the body is read; otherwise only the others.
        """
        with self._lock:
            fitting = [entry for entry in self._left if strikes(entry[0], target) and _is_early(entry[0]) == early]
            if not fitting:
                return None
            entry = min(fitting, key=lambda entry: entry[1] is None)
            self._spend(entry)
            return entry[0]

    def _spend(self, entry: tuple[Fault, int | None]) -> None:
        fault, left = entry
        if left is None:
            return
        position = next(index for index, other in enumerate(self._left) if other is entry)
        self._left[position : position + 1] = [(fault, left - 1)] if left > 1 else []


def _is_early(fault: Fault) -> bool:
    return bool(getattr(fault.effect, "early", False))
