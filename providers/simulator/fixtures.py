"""A pytest plugin: the fixture ``image_upstream``. Every pytest run loads it, so it imports nothing until then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from providers.simulator.simulator import Simulator


@pytest.fixture
def image_upstream() -> Iterator[Simulator]:
    """A running :class:`~providers.simulator.Simulator`, fresh for each test."""
    from providers.simulator.simulator import Simulator

    with Simulator() as simulator:
        yield simulator
