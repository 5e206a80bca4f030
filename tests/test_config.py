"""A configuration is found, checked and explained; nothing else is ever raised, and no secret is ever shown."""

import os
import pickle
import subprocess
import sys
import traceback
from collections import UserDict
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config import Config, load
from providers.errors import ConfigError
from providers.provider import ENTRY_POINT_GROUP
from tests.conftest import SHORTEST

KINDS = ("acme", "google", "openai", "vertex")
ENVIRON = {"GEMINI_API_KEY": "gemini-key", "LAOZHANG_API_KEY": "laozhang-key", "SAME_KEY": "gemini-key"}
GOOGLE = {"kind": "google", "api_key": "env:GEMINI_API_KEY"}

FULL = """
[gateway]
egress_country = "hk"
state = "sqlite:///gateway.db"
deadline = { "4k" = 240 }

[router]
sort = "latency"
models = ["nano-banana-2", "gemini-3-pro-image", "gemini-3.1-flash-image"]

[fallback]
order = ["downgrade"]
max_attempts = 2
on_wrong_size = "fallback"
on_no_image = "stop"
on_blocked = "switch"

[providers.google]
kind = "google"
api_key = ["env:GEMINI_API_KEY", "file:keys/second", "env:SAME_KEY"]
timeout = 100
max_concurrency = 8

[providers.laozhang]             # a relay
kind = "openai"
base_url = "https://api.laozhang.ai/v1/"
api_key = "env:LAOZHANG_API_KEY"
dialect = "new-api"
headers = { "X-Team" = "posters" }
proxy = "socks5://user:pass@proxy.example:1080"
download_hosts = ["files.laozhang.ai:443"]
[[providers.laozhang.lanes]]
model = "gemini-3-pro-image"
upstream_model = "gemini-3-pro-image-preview"
sizes = ["1K"]
price = { "1K" = 0.05 }
[[providers.laozhang.lanes]]
model = "gemini-3.1-flash-image"
[providers.laozhang.lanes.price]
"1K" = 0.1

[providers.vertex-eu]
kind = "vertex"
project = "my-project"
location = "eu"
"""


def check(source: Any, environ: dict[str, str] = ENVIRON, **more: Any) -> Config:
    return load(source, environ, **{"kinds": KINDS, **more})


def complaint(source: Any, environ: dict[str, str] = ENVIRON, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(source, environ, **more)
    return str(caught.value)


def with_provider(**table: Any) -> dict[str, Any]:
    return {"providers": {"p": {**GOOGLE, **table}}}


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    """Writes a gateway.toml and gives its path."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "gateway.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        (tmp_path / "keys").mkdir(exist_ok=True)
        (tmp_path / "keys" / "second").write_text("second-key\n")
        return path

    return write


class TestWhatIsRead:
    def test_a_whole_file(self, toml: Any) -> None:
        path = toml(FULL)
        config = check(path)
        assert (config.egress_country, config.state, config.sort) == ("HK", "sqlite:///gateway.db", "latency")
        assert config.deadlines == {"512": 90.0, "1K": 90.0, "2K": 90.0, "4K": 240.0}
        assert config.models == ("gemini-3.1-flash-image", "gemini-3-pro-image")
        assert (config.fallback.order, config.fallback.max_attempts) == (("downgrade",), 2)
        assert (config.fallback.on_wrong_size, config.fallback.on_no_image) == ("fallback", "stop")
        assert config.fallback.on_blocked == "switch"
        assert config.source == str(path)
        assert config.warnings == ()

    def test_a_provider_has_settings_for_each_of_its_keys_in_turn(self, toml: Any) -> None:
        entry = check(toml(FULL)).providers["google"]
        assert [each.api_key and each.api_key.reveal() for each in entry.settings] == ["gemini-key", "second-key"]
        assert (entry.timeout, entry.max_concurrency, entry.enabled) == (100.0, 8, True)
        assert (entry.settings[0].base_url, entry.settings[0].auth) == (None, None)

    def test_a_provider_is_handed_what_its_table_says(self, toml: Any) -> None:
        config = check(toml(FULL))
        (relay,) = config.providers["laozhang"].settings
        assert (relay.name, relay.kind, relay.base_url) == ("laozhang", "openai", "https://api.laozhang.ai/v1")
        assert relay.headers == {"X-Team": "posters"}
        assert relay.proxy == "socks5://user:pass@proxy.example:1080"
        assert relay.options == {"dialect": "new-api", "download_hosts": ("files.laozhang.ai:443",)}
        (vertex,) = config.providers["vertex-eu"].settings
        assert vertex.api_key is None
        assert vertex.options == {"project": "my-project", "location": "eu"}

    def test_lanes_come_in_the_order_of_the_file_with_exact_prices(self, toml: Any) -> None:
        lanes = {lane.name: lane for lane in check(toml(FULL)).lanes}
        assert [name for name in lanes if not name.startswith("google/")] == [
            "laozhang/gemini-3-pro-image", "laozhang/gemini-3.1-flash-image", "vertex-eu/gemini-3.1-flash-image",
        ]  # fmt: skip
        assert lanes["laozhang/gemini-3-pro-image"].prices == {"1K": Decimal("0.05")}
        assert lanes["google/gemini-3-pro-image"].timeout == 100.0

    def test_what_is_left_out_has_the_documented_defaults(self) -> None:
        config = check({"providers": {"google": GOOGLE}})
        assert (config.egress_country, config.state, config.sort, config.models) == (None, "memory", "price", None)
        assert config.deadlines == {"512": 90.0, "1K": 90.0, "2K": 90.0, "4K": 180.0}
        assert (config.fallback.order, config.fallback.max_attempts) == (("switch", "downgrade"), 4)
        assert (config.fallback.on_wrong_size, config.fallback.on_no_image) == ("accept", "switch")
        assert config.fallback.on_blocked == "stop"
        entry = config.providers["google"]
        assert (entry.timeout, entry.max_concurrency, entry.enabled) == (None, None, True)

    def test_a_mapping_reads_like_the_file_and_stays_as_it_was(self) -> None:
        source = {"providers": MappingProxyType({"p": UserDict({**GOOGLE, "lanes": ({"model": "nano-banana"},)})})}
        before = repr(source)
        config = check(source)
        assert config.source == "mapping"
        assert [lane.model for lane in config.lanes] == ["gemini-2.5-flash-image"]
        assert repr(source) == before

    def test_a_file_may_begin_with_a_byte_order_mark_and_have_windows_line_ends(self, toml: Any) -> None:
        text = b"\xef\xbb\xbf[providers.g]\r\nkind = 'google'\r\napi_key = 'env:GEMINI_API_KEY'\r\n"
        assert list(check(toml(text)).providers) == ["g"]
        assert "line 4: providers.g.speed" in complaint(toml(text + b"speed = 1\r\n"))

    def test_a_key_in_the_configuration_is_taken_with_a_warning_that_does_not_show_it(self, toml: Any) -> None:
        config = check(toml('[providers.g]\nkind = "google"\napi_key = "literally-a-key"\n'))
        (warning,) = config.warnings
        assert "line 3: providers.g.api_key" in warning
        assert "literally" not in warning + repr(config)
        assert check({"providers": {"g": GOOGLE}}).warnings == ()

    def test_the_keys_of_a_provider_that_is_off_are_not_looked_up(self) -> None:
        config = check(with_provider(enabled=False), {})
        assert config.providers["p"].settings == ()
        assert not any(lane.enabled for lane in config.lanes)

    def test_a_relay_may_need_no_key(self) -> None:
        (only,) = (
            check(with_provider(api_key="env:GEMINI_API_KEY", base_url="http://127.0.0.1:1")).providers["p"].settings
        )
        assert only.api_key is not None
        (only,) = (
            check({"providers": {"p": {"kind": "google", "base_url": "http://127.0.0.1:1"}}}).providers["p"].settings
        )
        assert only.api_key is None

    def test_the_dialect_is_settled_here_for_adapter_and_lanes_alike(self) -> None:
        table = {"kind": "openai", "api_key": "k", "base_url": "https://openrouter.ai/api/v1", "dialect": "auto"}
        assert check({"providers": {"p": table}}).providers["p"].settings[0].options["dialect"] == "chat"
        table = {**table, "base_url": "https://mine.example/v1", "preset": "laozhang"}
        assert check({"providers": {"p": table}}).providers["p"].settings[0].options["dialect"] == "new-api"

    def test_a_router_model_may_be_one_that_only_a_lane_knows(self) -> None:
        lane = {"model": "flux-9", "upstream_model": "f9", "sizes": ["1K"], "price": {"1K": Decimal("0.03")}}
        assert check({"router": {"models": ["f9"]}, **with_provider(lanes=[lane])}).models == ("flux-9",)


class TestOperatorSwitches:
    @pytest.mark.parametrize(
        ("provider", "lane", "mode"),
        [
            ({}, {}, "normal"),
            ({"mode": "shadow"}, {}, "shadow"),
            ({"mode": "shadow"}, {"mode": "normal"}, "normal"),
            ({"mode": "normal"}, {"mode": "forced-open"}, "forced-open"),
            ({"mode": "disabled"}, {"mode": "shadow"}, "shadow"),
            ({"mode": "disabled"}, {}, "disabled"),
            ({"enabled": False}, {"mode": "normal"}, "disabled"),
            ({"mode": "shadow"}, {"enabled": False}, "disabled"),
            ({}, {"mode": "disabled", "enabled": True}, "disabled"),
        ],
    )
    def test_a_lanes_mode_wins_over_its_providers_and_off_is_off(
        self, provider: dict[str, Any], lane: dict[str, Any], mode: str
    ) -> None:
        (found,) = check(with_provider(**provider, lanes=[{"model": "nano-banana", **lane}])).lanes
        assert (found.mode, found.enabled) == (mode, mode != "disabled")

    def test_a_providers_mode_is_that_of_the_catalogues_lanes(self) -> None:
        assert {lane.mode for lane in check(with_provider(mode="forced-open")).lanes} == {"forced-open"}

    def test_no_key_is_looked_up_for_a_provider_whose_lanes_are_all_disabled(self) -> None:
        off = {"model": "nano-banana", "mode": "disabled"}
        for table in ({"mode": "disabled"}, {"lanes": [off]}, {"lanes": [{"model": "nano-banana", "enabled": False}]}):
            entry = check(with_provider(**table), {}).providers["p"]
            assert (entry.enabled, entry.settings, entry.key_places) == (False, (), ())
        on = check(with_provider(mode="disabled", lanes=[off, {"model": "nano-banana-pro", "mode": "normal"}]))
        assert on.providers["p"].enabled
        assert len(on.providers["p"].settings) == 1

    def test_a_providers_quota_is_the_default_of_each_of_its_lanes(self) -> None:
        lanes = [{"model": "nano-banana"}, {"model": "nano-banana-pro", "quota": {"rpm": 5}}]
        found = check(with_provider(quota={"rpm": 60, "rpd": 500}, lanes=lanes)).lanes
        assert [lane.quota for lane in found] == [{"rpm": 60, "rpd": 500}, {"rpm": 5, "rpd": 500}]

    def test_budgets_and_prompts_are_set_exactly_and_have_defaults(self) -> None:
        config = check(with_provider())
        assert (config.fallback.retry_budget, config.fallback.hedge) == (Decimal("1.00"), Decimal("0.02"))
        assert config.record_prompts is False
        tables = {"fallback": {"retry_budget": 0, "hedge": 0.1}, "gateway": {"record_prompts": True}}
        config = check({**with_provider(), **tables})
        assert (config.fallback.retry_budget, config.fallback.hedge) == (Decimal(0), Decimal("0.1"))
        assert config.record_prompts is True


class TestTheSearch:
    def test_the_variable_comes_first(self, toml: Any, tmp_path: Path) -> None:
        toml("not even toml")
        (tmp_path / "other.toml").write_text('[providers.other]\nkind="google"\napi_key="env:GEMINI_API_KEY"')
        environ = {**ENVIRON, "IMAGE_GATEWAY_CONFIG": str(tmp_path / "other.toml")}
        assert list(check(None, environ, cwd=tmp_path).providers) == ["other"]
        assert "absent.toml" in complaint(None, {**ENVIRON, "IMAGE_GATEWAY_CONFIG": "absent.toml"}, cwd=tmp_path)

    def test_then_the_file_in_the_working_directory(self, toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        path = toml(FULL)
        monkeypatch.chdir(path.parent)
        assert check(None).source == "gateway.toml"
        assert "laozhang" in check(None).providers

    def test_then_the_usual_keys(self, tmp_path: Path) -> None:
        environ = {"GOOGLE_API_KEY": "g", "OPENAI_API_KEY": "o", "OPENROUTER_API_KEY": "r", "GEMINI_API_KEY": ""}
        config = check(None, environ, cwd=tmp_path)
        assert config.source == "environment"
        found = {name: (each.settings[0].kind, each.settings[0].base_url) for name, each in config.providers.items()}
        assert found == {
            "google": ("google", None),
            "openai": ("openai", "https://api.openai.com/v1"),
            "openrouter": ("openai", "https://openrouter.ai/api/v1"),
        }
        keys = [each.settings[0].api_key for each in config.providers.values()]
        assert [key and key.reveal() for key in keys] == ["g", "o", "r"]
        assert "openrouter/gemini-3-pro-image" in {lane.name for lane in config.lanes}

    def test_and_else_an_error_says_how_to_get_started(self, tmp_path: Path) -> None:
        message = complaint(None, {}, cwd=tmp_path)
        for way in ("GEMINI_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "gateway.toml", "IMAGE_GATEWAY_CONFIG"):
            assert way in message

    def test_the_process_environment_is_not_consulted_when_another_is_given(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GEMINI_API_KEY", "x")
        assert "nothing" not in complaint(None, {}, cwd=tmp_path)

    def test_files_named_in_a_file_are_sought_beside_it(self, toml: Any, tmp_path: Path) -> None:
        path = toml('[providers.g]\nkind="google"\napi_key="file:keys/second"')
        key = check(path, cwd=tmp_path / "keys").providers["g"].settings[0].api_key
        assert key is not None
        assert key.reveal() == "second-key"


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("tables", "place"),
        [
            ({"gateway": {"egress_country": "HKG"}}, "gateway.egress_country"),
            ({"gateway": {"egress_country": "H1"}}, "gateway.egress_country"),
            ({"gateway": {"state": "mysql://x"}}, "gateway.state"),
            ({"gateway": {"deadline": 90}}, "gateway.deadline"),
            ({"gateway": {"deadline": {"1K": 0}}}, "gateway.deadline.1K"),
            ({"gateway": {"deadline": {"1K": float("inf")}}}, "gateway.deadline.1K"),
            ({"gateway": {"deadline": {"1K": 10**400}}}, "gateway.deadline.1K"),
            ({"gateway": {"deadline": {"1K": True}}}, "gateway.deadline.1K"),
            ({"gateway": {"deadline": {"1K": "90"}}}, "gateway.deadline.1K"),
            ({"gateway": {"deadline": {"3K": 90}}}, "gateway.deadline.3K"),
            ({"gateway": {"deadline": {"1K": 90, "1k": 80}}}, "gateway.deadline"),
            ({"router": {"sort": "cost"}}, "router.sort"),
            ({"router": {"models": []}}, "router.models"),
            ({"router": {"models": "nano-banana"}}, "router.models"),
            ({"router": {"models": ["nano-banana", "nano-banane"]}}, "router.models[1]"),
            ({"fallback": {"order": ["sideways"]}}, "fallback.order[0]"),
            ({"fallback": {"max_attempts": 0}}, "fallback.max_attempts"),
            ({"fallback": {"max_attempts": True}}, "fallback.max_attempts"),
            ({"fallback": {"max_attempts": 2.0}}, "fallback.max_attempts"),
            ({"fallback": {"on_blocked": "retry"}}, "fallback.on_blocked"),
            ({"fallback": {"on_wrong_size": "stop"}}, "fallback.on_wrong_size"),
            ({"fallback": {"on_no_image": "accept"}}, "fallback.on_no_image"),
            ({"fallback": []}, "fallback"),
            ({"fallback": {"retry_budget": -0.01}}, "fallback.retry_budget"),
            ({"fallback": {"retry_budget": float("nan")}}, "fallback.retry_budget"),
            ({"fallback": {"retry_budget": True}}, "fallback.retry_budget"),
            ({"fallback": {"retry_budget": 10**7}}, "fallback.retry_budget"),
            ({"fallback": {"hedge": 1.01}}, "fallback.hedge"),
            ({"fallback": {"hedge": "2%"}}, "fallback.hedge"),
            ({"gateway": {"record_prompts": 1}}, "gateway.record_prompts"),
            ({"providers": {"a/b": GOOGLE}}, 'providers."a/b"'),
            ({"providers": {"": GOOGLE}}, 'providers.""'),
        ],
    )
    def test_a_value_out_of_place_is_named(self, tables: dict[str, Any], place: str) -> None:
        message = complaint({"providers": {"p": GOOGLE}, **tables})
        assert message.startswith(f"configuration: {place}: expected ")

    @pytest.mark.parametrize(
        ("key", "values"),
        [
            ("kind", ["gogle", 3]),
            ("api_key", [[], 3, ["env:GEMINI_API_KEY", 3], {}, [["x"]]]),
            ("base_url", ["ftp://x", "https://", "x", "https://u:p@x", "https://x?q=1", "https://x#f", "https://x/ y",
                          "https://x:99999", "https://x\n.example", "http://[::1"]),
            ("auth", ["basic"]), ("dialect", ["openai"]),
            ("project", ["a/b"]), ("location", ["eu/../x", "EU", "a.evil.example"]), ("api_version", ["../v1", "1"]),
            ("timeout", [0, -1, float("nan"), float("inf"), True, "60", Decimal("NaN"), Decimal("sNaN")]),
            ("headers", [{"X": "a\r\nB: c"}, {"X\n": "a"}, {"X Y": "a"}, {"": "a"}, {"X": " a"}, {"X": "é"}, {"X": 1}, ["X"]]),
            ("proxy", ["ftp://x", "proxy.example:80", "http://", "http://a b"]),
            ("egress_country", ["Hong Kong", "", 1]), ("max_concurrency", [0, -1, 1.5, True]), ("enabled", ["yes", 1]),
            ("mode", ["off", True]), ("quota", [{"rpm": 0}, 60]),
            ("download_hosts", ["host:1", ["a b"]]), ("lanes", [[], {}, ["x"], "x"]),
        ],
    )  # fmt: skip
    def test_a_value_of_a_provider_out_of_place_is_named(self, key: str, values: list[Any]) -> None:
        for value in values:
            message = complaint(with_provider(**{key: value}))
            assert message.startswith(f"configuration: providers.p.{key}"), value
            assert ": expected " in message

    @pytest.mark.parametrize(
        ("key", "values"),
        [
            ("model", ["", "a b", 3, None]), ("sizes", [[], ["3K"], "1K", ["1K", "1k"], [1]]),
            ("aspect_ratios", [["16x9"], ["0:1"], []]), ("references", [-1, True]), ("n", [0]), ("class", ["best"]),
            ("price", [0.05, {"1K": 0}, {"1K": -1}, {"1K": float("nan")}, {"1K": float("inf")}, {"1K": True}, {"1K": "1"},
                       {"1K": 1001}, {"8K": 1}, {}]),
            ("batch_price", [{"1K": 0}]), ("refused_countries", [["HKG"], "HK"]), ("capabilities", [["groundng"]]),
            ("released", ["soon", 20260101, datetime(2026, 1, 1), True]), ("retired", ["2026-13-01"]),
            ("quota", [{"rpm": 0}, 60]), ("stream", ["yes"]), ("enabled", [0]), ("mode", ["open", True]),
            ("thinking_levels", [[], ["max"], "high", ["high", "high"]]), ("output_formats", [["gif"]]),
            ("token_prices", [60, {"output_image": 0}]), ("seconds", [{"1K": 0}, {}]),
            ("reference_bytes", [0]), ("input_tokens", [0, 1.5]), ("takes_size", ["no"]), ("source", [""]), ("checked", ["?"]),
        ],
    )  # fmt: skip
    def test_a_value_of_a_lane_out_of_place_is_named(self, key: str, values: list[Any]) -> None:
        for value in values:
            message = complaint(with_provider(lanes=[{"model": "nano-banana-pro", key: value}]))
            assert message.startswith(f"configuration: providers.p.lanes[0].{key}"), value
            assert ": expected " in message

    @pytest.mark.parametrize(
        ("tables", "message"),
        [
            ({"gatway": {}}, "gatway: unknown key; the nearest known key is gateway"),
            ({"gateway": {"egress": "HK"}}, "gateway.egress: unknown key; the nearest known key is egress_country"),
            ({"fallback": {"max_atempts": 1}}, "fallback.max_atempts: unknown key; the nearest known key is max_attempts"),
            (with_provider(apikey="x"), "providers.p.apikey: unknown key; the nearest known key is api_key"),
            (with_provider(lanes=[{"model": "m", "klass": "x"}]),
             "providers.p.lanes[0].klass: unknown key; the nearest known key is class"),
            (with_provider(lanes=[{"model": "m", "quota": {"rpn": 1}}]),
             "providers.p.lanes[0].quota.rpn: unknown key; the nearest known key is rpm"),
        ],
    )  # fmt: skip
    def test_an_unknown_key_is_answered_with_the_nearest_known_one(self, tables: dict[str, Any], message: str) -> None:
        assert complaint({"providers": {"p": GOOGLE}, **tables}) == f"configuration: {message}"

    def test_several_mistakes_are_listed_together(self) -> None:
        message = complaint({"gateway": {"state": 1}, "router": {"sort": 1}, "providers": {"p": GOOGLE}})
        assert [line.split(":")[1] for line in message.splitlines()] == [" gateway.state", " router.sort"]

    @pytest.mark.parametrize("preset", ["two words", "", "openruter", 3])
    def test_an_unknown_preset_is_refused(self, preset: Any) -> None:
        message = complaint(with_provider(preset=preset))
        assert message.startswith("configuration: providers.p")
        assert "expected" in message.partition("preset")[2]

    def test_all_that_is_missing_is_told_at_once(self, toml: Any) -> None:
        path = toml("""
            [router]
            models = ["nano-banana"]
            [providers.first]
            kind = "google"
            api_key = ["env:ONE", "env:GEMINI_API_KEY", "file:none"]
            [providers.second]
            kind = "openai"
            api_key = "env:TWO"
            base_url = "https://relay.example/v1"
            lanes = [
              { model = "nano-banana", sizes = ["1K", "2K", "4K"] },
              { model = "their-own" },
            ]
            """)
        assert [line.removeprefix(str(path)) for line in complaint(path).splitlines()] == [
            ", line 6: providers.first.api_key: environment variable ONE is not set",
            ", line 6: providers.first.api_key: file 'none' cannot be read: No such file or directory",
            ", line 9: providers.second.api_key: environment variable TWO is not set",
            ", line 12: providers.second.lanes[0].price.2K: expected a price, since the catalogue has none for this size",
            ", line 12: providers.second.lanes[0].price.4K: expected a price, since the catalogue has none for this size",
            ", line 13: providers.second.lanes[1].model: expected sizes and price too, since their-own is not in the catalogue",
        ]

    def test_all_unknown_models_of_the_router_are_told_at_once(self) -> None:
        message = complaint({"router": {"models": ["nano-banane", "nano-banana", "gpt-imag-2"]}, **with_provider()})
        assert [line.split(":")[1] for line in message.splitlines()] == [" router.models[0]", " router.models[2]"]

    def test_of_very_many_mistakes_the_first_ones_and_their_number_are_told(self) -> None:
        told = complaint({"providers": {f"p{number}": {"kind": "google"} for number in range(25)}}).splitlines()
        assert [len(told), told[9].split(":")[1], told[10]] == [11, " providers.p9", "and 15 more"]
        told = complaint({"providers": {f"p{n}": {**GOOGLE, "api_key": f"env:NO_{n}"} for n in range(12)}}).splitlines()
        assert told[-1] == "and 2 more"

    def test_an_unknown_kind_lists_the_known_ones(self) -> None:
        assert "acme, google, openai, vertex" in complaint(with_provider(kind="gogle"))

    def test_the_installed_kinds_are_the_known_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Point:
            name = "only-this"

        points = {ENTRY_POINT_GROUP: [Point]}
        monkeypatch.setattr("providers.provider.entry_points", lambda group: points[group])
        with pytest.raises(ConfigError, match=r"expected a kind that is installed: only-this$"):
            load(with_provider(), ENVIRON)

    def test_vertex_needs_a_project_and_a_location_or_a_key(self) -> None:
        for table in ({}, {"project": "p"}, {"location": "eu"}):
            assert "project and location, or api_key" in complaint({"providers": {"v": {"kind": "vertex", **table}}})
        assert check({"providers": {"v": {"kind": "vertex", "api_key": "env:GEMINI_API_KEY"}}}).lanes

    @pytest.mark.parametrize("kind", ["google", "openai"])
    def test_a_vendor_needs_a_key(self, kind: str) -> None:
        assert complaint({"providers": {"p": {"kind": kind}}}) == (
            'configuration: providers.p: expected api_key: "env:NAME" or "file:PATH"'
        )

    @pytest.mark.parametrize("source", [{}, {"providers": {}}, {"gateway": {}}])
    def test_there_must_be_a_provider(self, source: Any) -> None:
        assert "providers: expected at least one" in complaint(source)

    def test_a_missing_key_is_named_with_its_place(self, toml: Any) -> None:
        message = complaint(toml('[providers.g]\nkind="google"\napi_key="env:NO_SUCH"'))
        assert message.endswith("gateway.toml, line 3: providers.g.api_key: environment variable NO_SUCH is not set")

    def test_keys_are_texts(self) -> None:
        assert complaint({1: {}}) == "configuration: expected keys that are texts"
        assert complaint(with_provider(lanes=[{None: 1}])) == (
            "configuration: providers.p.lanes[0]: expected keys that are texts"
        )

    @pytest.mark.parametrize("source", [3, b"gateway.toml", [], object(), 1.5])
    def test_a_source_is_a_path_a_mapping_or_nothing(self, source: Any) -> None:
        assert "expected a path, a mapping or None" in complaint(source)


class TestFiles:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[providers.g]\nkind = \n", "line 2, column 8: expected valid TOML"),
            ("a = [", "end of document: expected valid TOML"),
            (b"a = '\xff'", "expected UTF-8 text; byte 5"),
            (b"#" * (1024 * 1024 + 1), "expected at most 1048576 bytes"),
            ("a = " + "[" * 5000, "sensible bounds"),
            ("a = " + "9" * 5000, "sensible bounds"),
            ("a = 1e99999999999999999999", "sensible bounds"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_named(self, toml: Any, text: str | bytes, message: str) -> None:
        path = toml(text)
        assert complaint(path).startswith(str(path))
        assert message in complaint(path)

    def test_a_file_that_is_none_is_named(self, tmp_path: Path) -> None:
        assert "No such file" in complaint(tmp_path / "absent.toml")
        assert "Is a directory" in complaint(tmp_path)
        assert "sensible" in complaint("a\0b")

    def test_one_mebibyte_is_still_read(self, toml: Any) -> None:
        text = '[providers.g]\nkind="google"\napi_key="env:GEMINI_API_KEY"\n'
        assert check(toml(text + "#" * (1024 * 1024 - len(text)))).lanes

    def test_two_providers_of_one_name_are_told_apart_from_a_typing_error(self, toml: Any) -> None:
        path = toml("[providers.acme]\nkind = 'google'\n[providers.acme]\nkind = 'openai'\n")
        assert complaint(path) == (
            f"{path}, line 3, column 16: providers.acme stands twice; expected one table of that name"
        )

    @pytest.mark.parametrize(
        ("change", "place"),
        [
            (('"4k" = 240', '"4k" = -1'), "line 5: gateway.deadline.4K"),
            (("sort = ", "sorting = "), "line 8: router.sorting"),
            (("max_concurrency = 8", "max_concurrency = 0"), "line 22: providers.google.max_concurrency"),
            (("timeout = 100", "timeout = nan"), "line 21: providers.google.timeout"),
            (('price = { "1K" = 0.05 }', 'price = { "1K" = 0 }'), "line 36: providers.laozhang.lanes[0].price.1K"),
            (('"1K" = 0.1\n', '"1K" = true\n'), "line 40: providers.laozhang.lanes[1].price.1K"),
            (('"1K" = 0.1\n', '"4K" = 0.1\n"9K" = 1'), "line 41: providers.laozhang.lanes[1].price.9K"),
            (('project = "my-project"', ""), "line 42: providers.vertex-eu"),
            (('model = "gemini-3.1-flash-image"', 'model = "x"'), "line 38: providers.laozhang.lanes[1].model"),
            (('model = "gemini-3.1-flash-image"', 'model = "nano-banana-pro"'), "line 38: providers.laozhang.lanes[1].model"),
            (("[providers.google]", "[providers.'goo gle']"), None),
            (('"env:SAME_KEY"]', '\n"env:SAME_KEY",\n"env:NOT_SET"]'), "line 22: providers.google.api_key"),
            (('download_hosts = ["files.laozhang.ai:443"]', 'download_hosts = [\n"a:1",\n"b c"]'),
             "line 33: providers.laozhang.download_hosts[1]"),
            (('"1K" = 0.1\n', '"1k" = -1\n'), "line 40: providers.laozhang.lanes[1].price.1K"),
            (('deadline = {', 'deadline.1K = 0 # {'), "line 5: gateway.deadline.1K"),
        ],
    )  # fmt: skip
    def test_a_mistake_is_found_by_its_line(self, toml: Any, change: tuple[str, str], place: str | None) -> None:
        assert change[0] in FULL
        message = complaint(toml(FULL.replace(*change)))
        assert (place or 'line 18: providers."goo gle"') + ": " in message


SECRET = "Zq9-very-secret-Zq9"


class TestSecretsStaySecret:
    @pytest.mark.parametrize(
        "table",
        [
            {"api_key": [SECRET, 3]}, {"api_key": {SECRET: SECRET}}, {"api_key": f"{SECRET}\n"}, {"api_key": {SECRET: {1: 2}}},
            {"api_key": f"env:{SECRET}"}, {"api_key": SECRET, "timeout": SECRET}, {"headers": {SECRET: "\n"}},
            {"headers": {"X": f"{SECRET}\n"}}, {"headers": {"X": {SECRET: {1: 1}}}}, {"headers": {f"X: {SECRET}": "a"}},
            {"proxy": f"http://user:{SECRET}@"}, {"proxy": {SECRET: 1}}, {"base_url": f"https://u:{SECRET}@relay.example"},
            {"base_url": f"https://relay.example/?key={SECRET}"}, {"sk-" + SECRET: 1}, {"kind": SECRET},
            {"api_key": SECRET, "lanes": [{"model": SECRET, "sizes": SECRET}]},
        ],
    )  # fmt: skip
    def test_in_no_message_traceback_or_pickle(self, toml: Any, table: dict[str, Any]) -> None:
        with pytest.raises(ConfigError) as caught:
            check(with_provider(**table))
        error = caught.value
        assert SECRET not in "".join(traceback.format_exception(error)).replace("_".join(["SECRET"]), "")
        assert SECRET not in repr(error) + pickle.dumps(error).decode("latin-1")
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert error.__context__ is None or SECRET not in repr(error.__context__)

    def test_in_no_repr_of_a_configuration(self) -> None:
        table = {"api_key": SECRET, "headers": {"X": SECRET}, "proxy": f"http://u:{SECRET}@p.example"}
        config = check({"gateway": {"state": f"redis://:{SECRET}@h/0"}, **with_provider(**table)})
        assert SECRET not in f"{config!r} {config} {config.warnings}"
        with pytest.raises(TypeError) as caught:
            pickle.dumps(config)
        assert SECRET not in str(caught.value)

    def test_in_no_syntax_error(self, toml: Any) -> None:
        for text in (f"api_key = {SECRET}", f'api_key = "{SECRET}', f'api_key = "{SECRET}" x', f"{SECRET}"):
            assert SECRET not in complaint(toml(text))


NAMES = st.sampled_from(
    ["gateway", "router", "fallback", "providers", "p", "kind", "api_key", "base_url", "lanes", "model", "sizes", "price",
     "1K", "4k", "timeout", "headers", "proxy", "order", "models", "deadline", "state", "egress_country", "quota",
     "capabilities", "retired", "preset", "dialect"]
)  # fmt: skip
# Texts are shorter than what the canary takes for a key: Hypothesis also tries words of the code, which may well show.
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(max_size=SHORTEST - 1)
    | st.binary() | st.dates() | st.datetimes() | st.complex_numbers() | st.builds(object)
    | st.sampled_from(["google", "openai", "vertex", "1K"])
    | st.just(10**400) | st.just(date.min) | st.just("\ud800")
)  # fmt: skip
KEYS = NAMES | st.text(max_size=8) | st.integers() | st.none() | st.binary(max_size=3) | st.just("\ud800")
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.frozensets(st.integers(), max_size=2)
    | st.dictionaries(NAMES, inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=20,
)  # fmt: skip


class TestWhateverComes:
    @given(st.dictionaries(NAMES, TREES, max_size=4))
    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_a_mapping_loads_or_is_refused_as_configuration(self, source: dict[str, Any]) -> None:
        self.loads_or_is_refused(source)

    @given(st.dictionaries(NAMES, TREES, max_size=4), st.dictionaries(NAMES, TREES, max_size=3))
    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_so_does_a_provider_and_a_lane(self, table: dict[str, Any], lane: dict[str, Any]) -> None:
        self.loads_or_is_refused(with_provider(**table))
        self.loads_or_is_refused(with_provider(lanes=[{"model": "nano-banana", **lane}]))

    @given(st.text(), st.sampled_from(["", FULL, "[providers.g]\n"]))
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_so_does_a_file(self, tmp_path: Path, text: str, before: str) -> None:
        path = tmp_path / "any.toml"
        path.write_bytes((before + text).encode("utf-8", "surrogatepass"))
        self.loads_or_is_refused(path)

    def test_so_does_a_mapping_that_contains_itself(self) -> None:
        source: dict[str, Any] = {"providers": {}}
        source["providers"]["p"] = source
        assert "expected at most" in complaint(source)

    def loads_or_is_refused(self, source: Any) -> None:
        try:
            assert isinstance(check(source), Config)
        except ConfigError as refusal:
            refusal.args[0].encode()


def test_importing_the_configuration_imports_no_sdk() -> None:
    code = "import sys, gateway.config; print([m for m in ('google.genai', 'openai', 'httpx2', 'PIL') if m in sys.modules])"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert result.stdout.strip() == "[]"
