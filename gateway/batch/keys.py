"""Which of its provider's keys a job upstream belongs to: remembered by a digest, whatever the order of the keys."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from providers.provider import ProviderSettings

LENGTH: Final = 16
"""Hexadecimal digits of a digest: plenty to tell a handful of keys apart, and nothing to tell a key from."""
_PURPOSE: Final = b"the key of a batch job"


def digest(settings: ProviderSettings) -> str:
    """What the key of *settings* is remembered by. The key is the secret of the digest, not what is digested."""
    key = settings.api_key.reveal() if settings.api_key else ""
    return hmac.new(key.encode(), _PURPOSE, hashlib.sha256).hexdigest()[:LENGTH]


def place(keys: Sequence[ProviderSettings], wanted: str) -> int | None:
    """The place among *keys* of the one whose digest is *wanted*, if it is there; ``""``: the first one."""
    if not wanted:
        return 0
    return next((number for number, each in enumerate(keys) if digest(each) == wanted), None)
