"""The address of a Redis server, as the configuration has it."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

from providers.errors import ConfigError

TIMEOUT: Final = 0.1
"""Seconds for a command, connecting included; ``?timeout=0.5`` in the address asks for another figure."""
PREFIX: Final = "image-gateway"


def taken_apart(url: str) -> tuple[str, float, str]:
    """The address as Redis takes it, the seconds for a command, and the prefix of the keys."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    try:
        timeout = float(query.pop("timeout", [str(TIMEOUT)])[0])
        prefix = query.pop("prefix", [PREFIX])[0]
        known = not query and 0 < timeout <= 60 and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known or not prefix.replace("-", "").isalnum():
        raise ConfigError(
            "state: expected redis://[user:password@]host[:port][/db], with nothing but ?timeout=SECONDS (up to 60) "
            "and ?prefix=NAME behind it"
        )
    return urlunsplit(parts._replace(query="")), timeout, prefix


def shown(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
