"""What a configuration is refused for: a sentence that names the place, whatever comes, and no secret in it."""

import pickle
import traceback
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.configuration.config import Config, load
from providers.errors import ConfigError
from providers.provider import ENTRY_POINT_GROUP
from tests.configurations import ENVIRON, FULL, GOOGLE, check, complaint, with_provider
from tests.conftest import SHORTEST


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
            ({"providers": {"p" * 65: GOOGLE}}, f'providers."{"p" * 64}"'),
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
