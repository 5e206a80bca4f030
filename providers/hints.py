"""How long an upstream asks to wait before another call."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_HINT: Final = 86_400.0
"""Seconds; a longer hint is no hint."""

_DURATION: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)


def retry_after(headers: Mapping[str, str], retry_delay: str | None = None) -> float | None:
    """Seconds to wait, or None if nothing usable was said.

    In this order: *retry_delay* (``"7s"``, Google's RetryInfo), ``retry-after-ms``, ``Retry-After`` in seconds, and
    ``Retry-After`` as a date, counted from the answer's own ``Date`` so that no clock needs to agree with another.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    hints = (
        _seconds((retry_delay or "").removesuffix("s")),
        _seconds(lower.get("retry-after-ms", ""), unit=0.001),
        _seconds(lower.get("retry-after", "")),
        _between(lower.get("date", ""), lower.get("retry-after", "")),
    )
    return next((hint for hint in hints if hint is not None), None)


def _seconds(text: str, unit: float = 1.0) -> float | None:
    # float() would take nan, inf, 1e309 and digits of other scripts.
    return _sane(float(text) * unit) if _DURATION.fullmatch(text.strip()) else None


def _between(start: str, end: str) -> float | None:
    first, last = _date(start), _date(end)
    return _sane((last - first).total_seconds()) if first and last else None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _sane(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and 0 <= seconds <= MAX_HINT else None
