"""Connecting to whichever of a host's addresses answers first (RFC 8305, "happy eyeballs")."""

from __future__ import annotations

import asyncio
import socket
from itertools import chain, zip_longest
from typing import Final

import anyio

from providers.connection import Connection

STAGGER: Final = 0.25
"""Seconds until the next of a host's addresses is tried alongside."""


async def dial(host: str, port: int) -> Connection:
    """A connection to *port* of *host*.

    asyncio has a race of its own, but loses track of a socket when it is cancelled at the wrong moment, and uvloop has none.

    Raises:
        OSError: the host is not known, or no address of it answers: what the first one said.
    """
    addresses = await _addresses(host, port)
    if len(addresses) == 1:
        return await _connect(addresses[0], port)
    race = _Race()
    try:
        await race.run(addresses, port)
    except BaseException:
        race.abort()
        raise
    if race.winner is None:
        raise race.errors[0]
    return race.winner


async def _addresses(host: str, port: int) -> list[str]:
    """The addresses of *host*, the two families taking turns, in the system's order of preference."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append(str(address[0]))
    turns = chain.from_iterable(zip_longest(*families.values()))
    return [address for address in dict.fromkeys(turns) if address is not None]


async def _connect(address: str, port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, address, port)
    return connection


class _Race:
    """Attempts at several addresses, each started when the one before has failed or has had its head start."""

    def __init__(self) -> None:
        self.winner: Connection | None = None
        self.errors: list[OSError] = []

    async def run(self, addresses: list[str], port: int) -> None:
        """Run until one attempt has come through or all have failed."""
        async with anyio.create_task_group() as group:
            for address in addresses:
                failed = anyio.Event()
                group.start_soon(self._attempt, address, port, failed, group.cancel_scope)
                with anyio.move_on_after(STAGGER):
                    await failed.wait()

    def abort(self) -> None:
        """Close a connection that nobody will use any more."""
        if self.winner is not None:
            self.winner.abort()

    async def _attempt(self, address: str, port: int, failed: anyio.Event, race: anyio.CancelScope) -> None:
        try:
            connection = await _connect(address, port)
        except OSError as error:
            self.errors.append(error)
            failed.set()
            return
        if self.winner is None:
            self.winner = connection
            race.cancel()
        else:
            connection.abort()
