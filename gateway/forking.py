"""What a child process needs after a fork: locks that nobody holds, and nothing of the parent's threads."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Something that has to be put in order in a child process."""

    def after_fork(self) -> None:
        """Called in the child, before any of its own code, for everything that is alive there."""
        ...


_alive: WeakSet[Forked] = WeakSet()


def survives(thing: Forked) -> None:
    """Have *thing* put in order in every child process that is forked while it is alive."""
    _alive.add(thing)


def _in_child() -> None:
    for thing in tuple(_alive):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
