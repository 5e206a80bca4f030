"""Which action a request is for, where a wire has several under one route."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

from providers.simulator.messages import Request

Act = TypeVar("Act")


def chosen(actions: Iterable[tuple[str, str, Act]], request: Request) -> tuple[Act, str] | None:
    """What *request* is for, and what the one group of its path's pattern names; None if it is for none of *actions*.

    An action comes with its method and its pattern.
    """
    for method, pattern, act in actions:
        found = re.match(pattern, request.path) if method == request.method else None
        if found:
            return act, found[1]
    return None
