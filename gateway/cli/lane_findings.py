"""What the doctor can tell of a lane without any call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from gateway.cli.standing import BY_NAME
from gateway.configuration.config import Config
from gateway.request import ImageRequest
from gateway.router.lanes import Lane, Mode
from gateway.router.plan import Exclusion
from gateway.router.router import lane_warnings

STALE_AFTER: Final = 180
"""Days after which a price that nobody has checked since is worth a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneFinding:
    """A lane as it stands today.

    *excluded* is why no plain request gets it. *days_to_retirement* is negative after its retirement, None if no day is
    known. *price_age* is the days since its prices were checked, None where nobody says when that was. *notices* are
    sentences that somebody should read. *egress_country* is where calls to it leave from, None if that is not configured.
    """

    lane: str
    provider: str
    mode: Mode
    excluded: Exclusion | None
    retired: date | None
    days_to_retirement: int | None
    replacement: str | None
    price_source: str
    price_checked: date | None
    price_age: int | None
    quota: Mapping[str, int]
    egress_country: str | None
    egress_refused: bool
    notices: Sequence[str]

    @property
    def by_name(self) -> bool:
        """Whether it is left to requests that name its model."""
        return self.excluded is not None and self.excluded.reason in BY_NAME

    @property
    def stale(self) -> bool:
        """Whether its prices were checked too long ago."""
        return self.price_age is not None and self.price_age > STALE_AFTER


def lane_findings(config: Config, barred: Mapping[str, Exclusion], today: date) -> list[LaneFinding]:
    """A finding for each lane of *config*; *barred* are those that no plain request gets."""
    return [_finding(lane, config, barred.get(lane.name), today) for lane in config.lanes]


def _finding(lane: Lane, config: Config, excluded: Exclusion | None, today: date) -> LaneFinding:
    source = lane.source_of("prices")
    country = lane.egress_country or config.egress_country
    ahead = lane.retired is not None and lane.retired > today
    told = lane.enabled and (ahead or excluded is None)
    return LaneFinding(
        lane=lane.name,
        provider=lane.provider,
        mode=lane.mode,
        excluded=excluded,
        retired=lane.retired,
        days_to_retirement=(lane.retired - today).days if lane.retired else None,
        replacement=lane.replacement,
        price_source=source.name,
        price_checked=source.checked,
        price_age=(today - source.checked).days if source.checked else None,
        quota=lane.quota,
        egress_country=country,
        egress_refused=country in lane.refused_countries,
        notices=tuple(lane_warnings(lane, ImageRequest(prompt="anything"), today)) if told else (),
    )
