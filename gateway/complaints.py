"""Mistakes in a configuration, gathered so that one error tells of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from providers.errors import ConfigError

MAX_COMPLAINTS: Final = 10
"""The most mistakes one error lists; of more it tells the number."""


class Complaints:
    """Gathers the messages of :class:`ConfigError`, each a line."""

    def __init__(self, told: Iterable[str] = ()) -> None:
        self._told = list(told)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Keep what a :class:`ConfigError` in the block says, and go on after the block."""
        try:
            yield
        except ConfigError as error:
            self._told += str(error).splitlines()

    def told(self) -> None:
        """Tell of everything that was gathered.

        Raises:
            ConfigError: there is something.
        """
        if self._told:
            more = len(self._told) - MAX_COMPLAINTS
            rest = [f"and {more} more"] if more > 0 else []
            raise ConfigError("\n".join([*self._told[:MAX_COMPLAINTS], *rest]))
