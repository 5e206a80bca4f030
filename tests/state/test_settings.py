"""Budgets as they are configured."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.configuration.config import load
from gateway.money.budgets import Budget
from providers.errors import ConfigError

PROVIDERS = """
[providers.google]
kind = "google"
api_key = "env:KEY"
"""


def loaded(tmp_path: Path, text: str) -> Any:
    file = tmp_path / "gateway.toml"
    file.write_text(text + PROVIDERS, encoding="utf-8")
    return load(file, environ={"KEY": "the-key-of-google"})


def test_budgets_are_read_with_their_scope_and_mode(tmp_path: Path) -> None:
    text = """
        [gateway]
        blobs = "images"
        [[budgets]]
        usd = 10
        per = "day"
        [[budgets]]
        usd = 0.5
        per = "month"
        provider = "google"
        tag = "team=art=deco"
        mode = "soft"
        zone = "Asia/Hong_Kong"
    """
    config = loaded(tmp_path, text)
    assert config.budgets == (
        Budget(usd=Decimal(10), per="day"),
        Budget(
            usd=Decimal("0.5"), per="month", mode="soft", provider="google", tag=("team", "art=deco"), zone="Asia/Hong_Kong"
        ),
    )  # fmt: skip
    assert (config.blobs, config.state, config.state_named) == (tmp_path / "images", "memory", False)
    assert loaded(tmp_path, '[gateway]\nstate = "memory"\n').state_named
    assert loaded(tmp_path, "").budgets == ()
    assert loaded(tmp_path, "").blobs is None


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('usd = 1\nper = "week"', "budgets[0].per: expected 'day' or 'month'"),
        ('per = "day"', "budgets[0].usd: expected a value"),
        ('usd = -1\nper = "day"', "budgets[0].usd: expected a finite number that is not below 0"),
        ('usd = 1\nper = "day"\ntag = "art"', 'budgets[0].tag: expected a tag as name=value, such as "team=art"'),
        ('usd = 1\nper = "day"\nzone = "Mars"', "budgets[0].zone: expected a time zone"),
        ('usd = 1\nper = "day"\nprovider = "goggle"', "budgets[0].provider: expected a provider that is configured; "
         "the nearest is google"),
        ('usd = 1\nper = "day"\nlimit = 1', "budgets[0].limit: unknown key"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, table: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, f"[[budgets]]\n{table}\n")
    assert told in str(error.value)
