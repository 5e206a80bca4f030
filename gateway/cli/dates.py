"""Days, told as people tell them."""

from __future__ import annotations

from datetime import date


def ago(day: date, today: date) -> str:
    """How long ago *day* was: ``"42 days ago"``, ``"today"``."""
    days = (today - day).days
    if days < 0:
        return f"in {_counted(-days)}"
    return f"{_counted(days)} ago" if days else "today"


def retirement(day: date, today: date) -> str:
    """How long a lane has left that may not be used from *day* on, or since when it may not."""
    left = (day - today).days
    if left > 0:
        return f"retires in {_counted(left)} ({day})"
    return f"retired {ago(day, today)} ({day})"


def _counted(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"
