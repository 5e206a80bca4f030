"""Gateways with a cache, and what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.configuration import config
from gateway.events import Event, RequestEnded
from tests.gateway.upstreams import Studio, lane, relay, tables


def painters(folder: Path | None = None, **cache: Any) -> Studio:
    """The usual two lanes, with a cache for everybody, whose images are in *folder*."""
    made = tables(first=relay(lane(price=0.05, references=3)), second=relay(lane(price=0.06)))
    made["cache"] = {"enabled": True, **({"store": str(folder)} if folder else {}), **cache}
    return Studio(config.load(made, environ={}))


def ended(studio: Studio) -> list[RequestEnded]:
    """Will hold how each request of *studio* ends."""
    events: list[RequestEnded] = []

    def listen(event: Event) -> None:
        if isinstance(event, RequestEnded):
            events.append(event)

    studio.gateway.on_event(listen)
    return events


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def images_in(folder: Path) -> list[Path]:
    return [path for path in files(folder) if path.read_bytes().startswith(b"image/")]
