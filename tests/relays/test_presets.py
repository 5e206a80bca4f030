"""The rows of presets.toml: each complete, each usable, and each claiming only what its upstream passes on."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import ConfigError, Gateway
from providers.dialects import DIALECTS
from providers.presets import Preset, preset_for, presets

ROWS = list(presets().values())
OWN_SERVER = "https://gateway.example/v1"


def table(row: Preset) -> dict[str, Any]:
    """The least a user has to write for *row*."""
    return {"preset": row.name, "api_key": "sk-preset-key"} | ({} if row.base_url else {"base_url": OWN_SERVER})


def lanes(row: Preset, **more: Any) -> list[Any]:
    with Gateway.from_config({"providers": {"p": {**table(row), **more}}}) as gateway:
        return list(gateway.config.lanes)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
class TestEachRow:
    def test_says_where_it_comes_from_and_how_errors_look(self, row: Preset) -> None:
        assert row.title
        assert row.source
        assert row.errors
        assert row.checked.year >= 2026

    def test_names_a_dialect_that_exists_if_its_kind_has_dialects(self, row: Preset) -> None:
        assert (row.dialect in DIALECTS) if row.kind == "openai" else row.dialect is None

    def test_is_a_whole_provider_with_a_key_alone(self, row: Preset) -> None:
        with Gateway.from_config({"providers": {"p": table(row)}}) as gateway:
            (settings,) = gateway.config.providers["p"].settings
            assert settings.kind == row.kind
            assert settings.base_url == (row.base_url or OWN_SERVER)
            assert settings.auth == row.auth
            assert gateway.config.lanes

    def test_offers_no_size_and_no_ratio_that_it_is_known_to_ignore(self, row: Preset) -> None:
        for lane in lanes(row):
            assert set(lane.sizes) <= set(row.sizes or lane.sizes)
            assert set(lane.aspect_ratios) <= set(row.aspect_ratios or lane.aspect_ratios)
            assert row.references or lane.references == 0

    def test_warns_that_its_prices_are_its_own_until_they_are_stated(self, row: Preset) -> None:
        with Gateway.from_config({"providers": {"p": table(row)}}) as gateway:
            assert any("prices of its own" in warning for warning in gateway.config.warnings) == (
                row.price == "configured"
            )

    def test_yields_to_what_the_configuration_says(self, row: Preset) -> None:
        with Gateway.from_config(
            {"providers": {"p": {**table(row), "base_url": "https://mirror.example/x"}}}
        ) as gateway:
            assert gateway.config.providers["p"].settings[0].base_url == "https://mirror.example/x"


def test_a_row_is_recognised_by_its_host_too() -> None:
    row = preset_for(None, "openai", "https://vip.apiyi.com/v1")
    assert row is not None
    assert row.name == "apiyi"
    assert preset_for(None, "openai", "https://api.apiyi.com.evil.example/v1") is None


def test_laozhangs_chat_form_is_fixed_and_its_native_form_is_not() -> None:
    assert {lane.sizes for lane in lanes(presets()["laozhang"])} == {("1K",)}
    assert ("1K", "2K", "4K") in {lane.sizes for lane in lanes(presets()["laozhang-native"])}


def test_openrouter_is_asked_under_its_own_names() -> None:
    assert "google/gemini-3-pro-image" in {lane.upstream_model for lane in lanes(presets()["openrouter"])}


def test_googles_compatible_endpoint_gets_the_preview_names_that_alone_work_there() -> None:
    named = {lane.upstream_model for lane in lanes(presets()["google-openai"], lanes=[{"model": "gemini-3-pro-image"}])}
    assert named == {"gemini-3-pro-image-preview"}


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"providers\.p\.preset: .*the nearest is openrouter"):
        Gateway.from_config({"providers": {"p": {"preset": "openruoter", "api_key": "sk-preset-key"}}})


def test_a_preset_for_a_server_of_ones_own_asks_for_its_address() -> None:
    with pytest.raises(ConfigError, match="expected base_url: preset litellm"):
        Gateway.from_config({"providers": {"p": {"preset": "litellm", "api_key": "sk-preset-key"}}})
