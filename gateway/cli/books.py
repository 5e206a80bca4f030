"""The ledger that a command looks into: the one it is told, the configured one, or that of the command line itself."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

from gateway.cli.options import Common
from gateway.configuration import config
from gateway.money.entries import Entry
from gateway.state import default_url, open_state
from providers.errors import ConfigError, InvalidRequest


def entries(state: str | None, common: Common, since: str | None) -> list[Entry]:
    """The entries from the day *since* on (UTC), in order.

    Raises:
        ConfigError: the ledger cannot be used.
        InvalidRequest: *since* is not a date.
    """
    first = _moment(since)
    url = state or _configured(common) or default_url()
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).expanduser().exists():
        return []  # looking makes no file
    return asyncio.run(_read(url, first))


async def _read(url: str, since: datetime | None) -> list[Entry]:
    opened = open_state(url)
    try:
        return await opened.ledger.entries(since)
    finally:
        await opened.engine.aclose()


def _configured(common: Common) -> str | None:
    """The state of the configuration, if there is one that names a lasting state."""
    named = common.config or os.environ.get(config.CONFIG_VARIABLE) or Path(config.DEFAULT_FILE).exists()
    try:
        state = config.load(common.config).state
    except ConfigError:
        if named:
            raise
        return None
    return None if state == "memory" else state


def _moment(since: str | None) -> datetime | None:
    if since is None:
        return None
    try:
        return datetime.fromisoformat(since).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidRequest("since: expected a date such as 2026-12-31") from None
