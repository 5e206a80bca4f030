"""A configuration is found, checked and explained; nothing else is ever raised, and no secret is ever shown."""

import os
import subprocess
import sys
from collections import UserDict
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.configurations import ENVIRON, FULL, GOOGLE, check, complaint, with_provider


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

    def test_a_provider_is_told_how_far_to_go_through_pixels(self, toml: Any) -> None:
        table = FULL.replace("timeout = 100", 'timeout = 100\npixel_check = "64MiB"')
        assert check(toml(table)).providers["google"].settings[0].options["pixel_check"] == 64 * 2**20

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

    @pytest.mark.parametrize("name", ["p" * 64, "中转站-1", "हिन्दी", "3.routes_eu"])
    def test_a_provider_is_called_what_one_likes_in_any_script(self, name: str) -> None:
        assert list(check({"providers": {name: GOOGLE}}).providers) == [name]

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


HEAVY = ("google.genai", "openai", "httpx2", "PIL")


def test_importing_the_configuration_imports_no_sdk() -> None:
    code = f"import sys, gateway.configuration.config; print([m for m in {HEAVY} if m in sys.modules])"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert result.stdout.strip() == "[]"


def test_only_the_whole_is_built_and_no_table_a_second_time_by_itself() -> None:
    code = """
from gateway.configuration import settings
from gateway.configuration.config import load
load({"providers": {"g": {"kind": "google", "api_key": "env:KEY"}}, "budgets": [{"usd": 1, "per": "day"}]}, {"KEY": "k"})
print([table.__name__ for table in settings._TABLES.values() if table.__pydantic_complete__])
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert result.stdout.strip() == "['Settings']"
