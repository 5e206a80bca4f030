"""Claims on idempotency keys: what is asked, what a claim can meet, and the rule that decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

KEPT: Final = timedelta(hours=24)
"""How long what came of an idempotency key is remembered, and a budget's counter beyond the end of its period."""


@dataclass(frozen=True, slots=True)
class New:
    """The key is the caller's now."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The request has ended before; *reference* leads to what came of it."""

    reference: str


@dataclass(frozen=True, slots=True)
class Held:
    """The request is under way, as *owner*."""

    owner: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key was used for another request."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request was begun as *owner*, money may have been spent for it, and nobody knows how it ended."""

    owner: str


Answer = New | Saved | Held | Mismatch | Unknown
"""What a claim meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The wish of request *owner* to be the one that is carried out under *key* (a hash), for *lease* seconds at most.

    *fingerprint* is a hash of the request. *again*: an unknown outcome is no obstacle; a second charge is allowed.
    """

    key: str
    fingerprint: str
    owner: str
    lease: float
    again: bool = False


def met(claim: Claim, fingerprint: str, owner: str, state: str, reference: str, alive: bool) -> Answer:
    """What *claim* meets at a key in *state* that is taken, whose owner is *alive* or not. Pure."""
    if owner == claim.owner:
        return New()
    if fingerprint != claim.fingerprint:
        return Mismatch()
    if state == "saved":
        return Saved(reference)
    if state != "unknown" and alive:
        return Held(owner)
    return New() if claim.again or state == "held" else Unknown(owner)


def taken(owner: str, state: str, reference: str) -> tuple[str, str]:
    """The state and the reference of a key that *owner* had in *state*, and that has been taken just now. Pure.

    One in doubt is ``reopened``: the reference is who left the doubt, which comes back when the key is let go of.
    """
    return ("held", "") if state in ("held", "saved") else ("reopened", reference or owner)
