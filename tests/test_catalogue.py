"""The catalogue's data is sound, and lanes follow from it and from what the configuration says."""

import tomllib
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from pydantic import TypeAdapter

from gateway import catalogue
from gateway.configuration.settings import ProviderTable
from gateway.router.lanes import Lane, Source
from providers.dialects import DIALECTS
from providers.errors import ConfigError
from providers.presets import presets
from providers.sizes import SIZES, parse_ratio, rank

DATA = tomllib.loads(files("gateway").joinpath("catalogue.toml").read_text("utf-8"), parse_float=Decimal)
MODELS = pytest.mark.parametrize("row", catalogue.models(), ids=lambda row: row.id)
KINDS = ("google", "openai", "vertex", "acme")

FLASH, PRO = "gemini-3.1-flash-image", "gemini-3-pro-image"
LITE, OLD, GPT = "gemini-3.1-flash-lite-image", "gemini-2.5-flash-image", "gpt-image-2"


def lanes(kind: str, *told: dict[str, Any], **table: Any) -> dict[str, Lane]:
    """The lanes, by model, of a provider called "p"."""
    values = {"kind": kind, "api_key": "env:K", **table, **({"lanes": list(told)} if told else {})}
    checked = ProviderTable.model_validate(values, context={"kinds": KINDS})
    return {lane.model: lane for lane in catalogue.lanes_for("p", checked)}


def complaint(kind: str, *told: dict[str, Any], **table: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        lanes(kind, *told, **table)
    return str(caught.value)


class TestData:
    @pytest.mark.parametrize("table", ["surfaces", "models"])
    def test_every_row_says_where_it_comes_from_and_when_that_was_checked(self, table: str) -> None:
        for row in DATA[table]:
            assert row["source"].strip()
            assert date(2026, 1, 1) <= row["checked"] <= date(2027, 12, 31)

    def test_every_key_of_the_file_is_one_the_code_reads(self) -> None:
        kinds = (
            ("surfaces", catalogue.Surface),
            ("wires", catalogue.Wire),
            ("models", catalogue.Model),
        )
        for table, kind in kinds:
            for row in DATA[table]:
                assert set(row) <= set(kind.__dataclass_fields__), row

    def test_every_value_has_the_type_of_its_field(self) -> None:
        for kind, rows in (
            (catalogue.Surface, catalogue._catalogue().surfaces),
            (catalogue.Wire, catalogue._catalogue().wires),
            (catalogue.Model, catalogue.models()),
        ):
            typed: TypeAdapter[Any] = TypeAdapter(kind)
            for row in rows:
                assert repr(typed.validate_python(asdict(row))) == repr(row)

    def test_every_figure_has_a_source_and_every_source_is_used(self) -> None:
        used = {
            name for table in ("surfaces", "models") for row in DATA[table] for name in row.get("sources", {}).values()
        }
        assert used == set(DATA["sources"])
        for name, row in DATA["sources"].items():
            assert row["name"].strip()
            assert (name == "assumed") == ("checked" not in row)
        for table in ("surfaces", "models"):
            for row in DATA[table]:
                assert set(row.get("sources", {})) <= set(row), row

    def test_durations_are_assumptions_and_prices_are_not(self) -> None:
        for row in catalogue.models():
            assert row.source_of("seconds") == Source("assumptions until measured")
            assert row.source_of("prices").checked == row.checked

    @MODELS
    def test_a_price_is_what_the_tokens_of_an_image_cost(self, row: catalogue.Model) -> None:
        assert set(row.output_tokens) == (set(row.sizes) if "output_image" in row.token_prices else set())
        for size, tokens in row.output_tokens.items():
            cost = tokens * row.token_prices["output_image"] / 1_000_000
            assert abs(cost / row.prices[size] - 1) < Decimal("0.01")  # list prices are rounded

    @MODELS
    def test_batches_cost_half(self, row: catalogue.Model) -> None:
        for size, price in row.batch_prices.items():
            assert abs(price - row.prices[size] / 2) <= Decimal("0.0005")  # .076 for .151

    @MODELS
    def test_values_are_listed_for_the_parameters_that_have_them(self, row: catalogue.Model) -> None:
        assert bool(row.thinking_levels) == ("thinking" in row.capabilities)
        assert not row.output_formats or "output_format" in row.capabilities  # Vertex does not say which Gemini knows
        assert set(row.thinking_levels) <= {"minimal", "low", "medium", "high"}
        assert set(row.output_formats) <= {"png", "jpeg", "webp"}

    def test_the_published_facts_of_the_models_are_these(self) -> None:
        flash, pro = catalogue.model(FLASH), catalogue.model(PRO)
        assert flash is not None
        assert pro is not None
        assert list(flash.output_tokens.values()) == [747, 1120, 1680, 2520]
        assert list(pro.output_tokens.values()) == [1120, 1120, 2000]
        assert (flash.input_tokens, pro.input_tokens) == (131_072, 65_536)
        assert (flash.thinking_levels, flash.references) == (("minimal", "high"), 14)
        assert (flash.vertex_locations, pro.vertex_locations) == (("global", "us", "eu"), ("global",))
        assert (flash.preview_retired, pro.preview_retired) == (date(2026, 6, 25), date(2026, 6, 25))
        assert (flash.free_tier, pro.free_tier) == (False, False)

    @MODELS
    def test_sizes_are_in_order_and_each_has_a_price_and_a_duration(self, row: catalogue.Model) -> None:
        assert list(row.sizes) == sorted(set(row.sizes), key=rank)
        assert set(row.prices) == set(row.seconds) == set(row.sizes)
        assert set(row.batch_prices) in (set(), set(row.sizes))
        assert all(isinstance(price, Decimal) and 0 < price < 1 for price in row.prices.values())
        assert all(row.batch_prices[size] < row.prices[size] for size in row.batch_prices)

    @MODELS
    def test_larger_images_are_neither_cheaper_nor_quicker(self, row: catalogue.Model) -> None:
        for figures in (row.prices, row.batch_prices, row.seconds):
            values = [figures[size] for size in SIZES if size in figures]
            assert values == sorted(values)

    @MODELS
    def test_ratios_are_ratios_and_dates_are_in_order(self, row: catalogue.Model) -> None:
        assert all(parse_ratio(ratio) for ratio in row.aspect_ratios)
        assert len(set(row.aspect_ratios)) == len(row.aspect_ratios)
        for surface, day in row.retired.items():
            assert surface in row.surfaces
            assert (row.released or date(2025, 1, 1)) < day
        assert bool(row.retired) == bool(row.replacement)
        assert row.replacement is None or catalogue.resolve(row.replacement) == row.replacement

    @MODELS
    def test_token_prices_name_known_kinds_of_tokens(self, row: catalogue.Model) -> None:
        assert set(row.token_prices) <= {"input_text", "input_image", "output_text", "output_image"}

    def test_no_name_stands_for_two_models(self) -> None:
        names = [name for row in catalogue.models() for name in (row.id, *row.aliases)]
        assert len(set(names)) == len(names)
        assert all(name == name.lower() for name in names)

    def test_what_is_served_on_a_surface_or_in_a_dialect_exists(self) -> None:
        surfaces = {row["name"] for row in DATA["surfaces"]}
        assert all(set(row.surfaces) <= surfaces for row in catalogue.models())
        assert all(row.dialect in {*DIALECTS, None} for row in presets().values())
        assert set(DIALECTS) <= {row["name"] for row in DATA["wires"]}

    def test_the_prices_are_the_published_ones(self) -> None:
        published = {
            FLASH: [".045", ".067", ".101", ".151"], PRO: [".134", ".134", ".24"], LITE: [".0336"], OLD: [".039"],
            "imagen-4.0-fast-generate-001": [".02"], "imagen-4.0-generate-001": [".04", ".04"],
            "imagen-4.0-ultra-generate-001": [".06", ".06"],
        }  # fmt: skip
        for name, prices in published.items():
            row = catalogue.model(name)
            assert row is not None
            assert list(row.prices.values()) == [Decimal(price) for price in prices]

    def test_estimates_say_that_they_are(self) -> None:
        row = catalogue.model(GPT)
        assert row is not None
        assert row.source.startswith("estimate: ")


class TestNames:
    @pytest.mark.parametrize(
        ("name", "canonical"),
        [
            ("nano-banana-pro", PRO), ("nano-banana-2", FLASH), ("nano-banana", OLD), ("Nano-Banana-PRO", PRO),
            (f"{PRO}-preview", PRO), (GPT, GPT), ("imagen-4", "imagen-4.0-generate-001"), ("dall-e-3", None), ("", None),
            (f"google/{PRO}", PRO), (f"Google/{PRO}-Preview", PRO), (f"models/{PRO}", PRO), (f"openai/{GPT}", GPT),
            (f"openai/{PRO}", None), (f"acme/{PRO}", None), (f"/{PRO}", None), ("google/", None),
        ],
    )  # fmt: skip
    def test_an_alias_in_any_case_resolves_to_the_canonical_id(self, name: str, canonical: str | None) -> None:
        assert catalogue.resolve(name) == canonical

    def test_a_lane_may_be_called_by_an_alias(self) -> None:
        lane = lanes("google", {"model": "nano-banana-pro"})[PRO]
        assert lane.name == f"p/{PRO}"
        assert lane.upstream_model == PRO
        for name in ("nano-banana-pro", PRO, f"{PRO}-preview", "Nano-Banana-PRO"):
            assert lane.answers_to(name), name
        assert not lane.answers_to("nano-banana")

    @pytest.mark.parametrize(
        "second",
        [
            {"model": PRO}, {"model": PRO.upper()}, {"model": "Nano-Banana-Pro"}, {"model": f"{PRO}-PREVIEW"},
            {"model": f"google/{PRO}"},
            {"model": "mine", "upstream_model": PRO, "sizes": ["1K"], "price": {"1K": 1}},
            {"model": "mine", "upstream_model": f"Google/{PRO}-preview", "sizes": ["1K"], "price": {"1K": 1}},
        ],
    )  # fmt: skip
    def test_two_ids_of_one_model_are_never_two_lanes_of_a_provider(self, second: dict[str, Any]) -> None:
        message = complaint("openai", {"model": PRO}, second, base_url="https://r.example/v1")
        assert message == f"providers.p.lanes[1].model: expected one lane for each model, {PRO} has two"

    def test_nor_are_two_ids_of_a_model_that_only_the_configuration_knows(self) -> None:
        told = {"sizes": ["1K"], "price": {"1K": 0.03}}
        assert "Flux-9 has two" in complaint("acme", {"model": "Flux-9", **told}, {"model": "flux-9", **told})
        second = {"model": "other", "upstream_model": "FLUX-9", **told}
        assert "Flux-9 has two" in complaint("acme", {"model": "Flux-9", **told}, second)
        assert len(lanes("acme", {"model": "Flux-9", **told}, {"model": "flux-10", **told})) == 2


class TestDefaultLanes:
    def test_google_has_the_gemini_models(self) -> None:
        assert set(lanes("google")) == {FLASH, PRO, LITE, OLD}

    def test_openai_has_its_own_model(self) -> None:
        assert set(lanes("openai")) == {GPT}
        assert set(lanes("openai", base_url="https://api.openai.com/v1")) == {GPT}

    @pytest.mark.parametrize(
        ("table", "upstream"),
        [
            ({"base_url": "https://openrouter.ai/api/v1", "dialect": "chat"}, f"google/{PRO}"),
            ({"base_url": "https://relay.example/v1", "dialect": "chat"}, PRO),
            ({"base_url": "https://relay.example/v1", "dialect": "new-api"}, f"{PRO}-preview"),
            ({"base_url": "https://relay.example/v1"}, PRO),
            ({"base_url": "https://relay.example/v1", "preset": "openrouter"}, f"google/{PRO}"),
            ({"base_url": "https://vip.apiyi.com/v1", "dialect": "auto"}, f"{PRO}-preview"),
        ],
    )
    def test_a_chat_relay_has_the_gemini_models_under_its_own_names(self, table: dict[str, Any], upstream: str) -> None:
        found = lanes("openai", **table)
        assert set(found) == {FLASH, PRO, LITE, OLD}
        assert found[PRO].upstream_model == upstream

    def test_a_relay_of_the_images_wire_has_the_model_of_that_wire(self) -> None:
        assert set(lanes("openai", base_url="https://relay.example/v1", dialect="images")) == {GPT}

    def test_a_relay_of_googles_wire_has_the_gemini_models_in_every_size(self) -> None:
        found = lanes("google", base_url="https://api.laozhang.ai")
        assert set(found) == {FLASH, PRO, LITE, OLD}
        assert found[PRO].sizes == ("1K", "2K", "4K")
        assert found[PRO].upstream_model == f"{PRO}-preview"
        assert lanes("google", base_url="http://127.0.0.1:8080")[PRO].upstream_model == PRO

    def test_a_relay_whose_chat_form_is_fixed_offers_only_that(self) -> None:
        lane = lanes("openai", base_url="https://api.laozhang.ai/v1")[PRO]
        assert (lane.sizes, lane.aspect_ratios, list(lane.prices)) == (("1K",), ("1:1",), ["1K"])

    @pytest.mark.parametrize(
        ("location", "expected"), [("eu", {FLASH}), ("us", {FLASH}), ("global", {FLASH, PRO, LITE, OLD})]
    )
    def test_vertex_has_what_its_location_serves(self, location: str, expected: set[str]) -> None:
        found = lanes("vertex", project="p", location=location)
        assert set(found) == expected
        assert found[FLASH].residency == (None if location == "global" else location)

    def test_vertex_in_express_mode_is_global(self) -> None:
        assert set(lanes("vertex")) == {FLASH, PRO, LITE, OLD}
        assert lanes("vertex")[PRO].residency is None

    def test_where_nothing_is_known_lanes_are_asked_for(self) -> None:
        assert (
            complaint("acme") == "providers.p.lanes: expected lanes, since the catalogue knows none for this provider"
        )
        assert "expected lanes" in complaint("vertex", project="p", location="mars-north1")

    def test_imagen_is_there_for_whoever_lists_it_only(self) -> None:
        assert "imagen-4.0-generate-001" in lanes("google", {"model": "imagen-4"})
        assert not [name for name in (*lanes("google"), *lanes("vertex")) if name.startswith("imagen")]


class TestFactsBelongToASurface:
    def test_on_the_vendors_host_its_countries_and_dates_hold(self) -> None:
        found = lanes("google")
        assert found[OLD].vendor_host
        assert found[OLD].refused_countries == {"CN", "HK", "RU", "BY"}
        assert found[OLD].retired == date(2026, 10, 2)
        assert found[PRO].released == date(2026, 5, 28)

    @pytest.mark.parametrize(
        "table",
        [
            {"kind": "google", "base_url": "https://generativelanguage.googleapis.com"},
            {"kind": "google", "base_url": "https://GenerativeLanguage.GoogleAPIs.com:443/v1beta"},
            {"kind": "openai", "base_url": "https://generativelanguage.googleapis.com/v1beta/openai"},
        ],
    )
    def test_the_vendors_host_is_its_host_however_it_is_written(self, table: dict[str, Any]) -> None:
        lane = lanes(**table)[PRO]
        assert lane.vendor_host
        assert "HK" in lane.refused_countries

    @pytest.mark.parametrize(
        "host", ["relay.example", "generativelanguage.googleapis.com.evil.example", "api.openai.com.cn"]
    )
    @pytest.mark.parametrize("kind", ["google", "openai"])
    def test_elsewhere_they_do_not(self, kind: str, host: str) -> None:
        lane = lanes(kind, base_url=f"https://{host}/v1")[OLD]
        assert not lane.vendor_host
        assert not lane.refused_countries
        assert not lane.token_prices
        assert not lane.batch_prices
        assert lanes(kind, base_url=f"https://{host}/v1")[PRO].released is None

    def test_elsewhere_the_vendors_date_is_kept_as_a_warning_and_a_stated_one_binds(self) -> None:
        relay = {"base_url": "https://relay.example/v1"}
        assert lanes("openai", **relay)[OLD].retired == date(2026, 10, 2)
        assert not lanes("openai", **relay)[OLD].retired_configured
        stated = lanes("openai", {"model": OLD, "retired": date(2027, 1, 1), "refused_countries": ["us"]}, **relay)[OLD]
        assert (stated.retired, stated.retired_configured) == (date(2027, 1, 1), True)
        assert stated.refused_countries == {"US"}

    def test_vertex_has_its_own_date_and_refuses_no_country(self) -> None:
        lane = lanes("vertex", project="p", location="global")[OLD]
        assert lane.retired == date(2027, 3, 15)
        assert not lane.refused_countries

    def test_what_the_wire_cannot_carry_the_lane_cannot_do(self) -> None:
        assert {"grounding", "thinking"} <= lanes("google")[FLASH].capabilities
        assert "output_format" not in lanes("google")[FLASH].capabilities
        assert "output_format" in lanes("vertex")[FLASH].capabilities
        assert "grounding" not in lanes("openai", base_url="https://openrouter.ai/api/v1")[FLASH].capabilities
        assert "grounding" not in lanes("google")[LITE].capabilities

    def test_one_image_per_call_unless_model_and_wire_can_do_more(self) -> None:
        assert lanes("openai")[GPT].images_per_call == 10
        assert lanes("google")[FLASH].images_per_call == 1
        chat = lanes("openai", {"model": GPT}, base_url="https://openrouter.ai/api/v1")[GPT]
        assert (chat.images_per_call, chat.upstream_model) == (1, "openai/gpt-image-2")

    def test_only_a_model_with_a_size_field_is_sent_one(self) -> None:
        assert not lanes("google")[OLD].takes_size
        assert lanes("google")[LITE].takes_size


class TestLimits:
    def test_what_the_vendor_publishes_is_told_and_never_a_quota(self) -> None:
        lane = lanes("google")[LITE]
        assert lane.published_limits == {"free": {"rpm": 60, "rpd": 500}, "paid": {"rpm": 1000}}
        assert lane.quota_zone == "America/Los_Angeles"
        assert lane.quota == {}

    def test_a_model_without_a_free_tier_has_no_limits_of_one(self) -> None:
        assert set(lanes("google")[PRO].published_limits) == {"paid"}

    def test_elsewhere_the_vendors_limits_say_nothing(self) -> None:
        lane = lanes("google", base_url="https://relay.example")[LITE]
        assert (lane.published_limits, lane.quota_zone) == ({}, None)

    def test_tokens_follow_the_sizes_of_the_lane(self) -> None:
        lane = lanes("google", {"model": FLASH, "sizes": ["1K", "4K"]})[FLASH]
        assert lane.output_tokens == {"1K": 1120, "4K": 2520}
        assert set(lane.seconds) == set(lane.prices) == set(lane.batch_prices) == {"1K", "4K"}


class TestValuesOfParameters:
    def test_a_lane_does_not_support_a_level_of_thinking_that_it_does_not_know(self) -> None:
        lane = lanes("google")[FLASH]
        assert lane.unsupported({"thinking": "low"}) == ("thinking=low",)
        assert lane.unsupported({"thinking": "high", "seed": 1}) == ()
        assert lane.unsupported({"thinking": "low", "grounding": True, "output_format": "png"}) == (
            "output_format",
            "thinking=low",
        )

    def test_nor_a_format_that_it_cannot_be_asked_for(self) -> None:
        imagen = lanes("vertex", {"model": "imagen-4"})["imagen-4.0-generate-001"]
        assert imagen.unsupported({"output_format": "webp"}) == ("output_format=webp",)
        assert imagen.supports("output_format", "png")
        assert lanes("openai")[GPT].supports("output_format", "webp")
        assert lanes("vertex")[FLASH].supports("output_format", "webp")

    def test_where_no_values_are_listed_any_will_do(self) -> None:
        told = {"model": PRO, "capabilities": ["thinking"]}
        assert lanes("google", told)[PRO].supports("thinking", "medium")
        assert not lanes("google", {**told, "thinking_levels": ["low"]})[PRO].supports("thinking", "medium")


class TestSources:
    def test_each_figure_of_a_lane_says_where_it_comes_from_and_when_that_was_checked(self) -> None:
        lane = lanes("google")[FLASH]
        assert lane.source_of("prices") == Source("https://ai.google.dev/gemini-api/docs/pricing", date(2026, 5, 30))
        assert lane.source_of("refused_countries").name.startswith("readings by third parties")
        assert lane.source_of("published_limits").checked == date(2026, 5, 30)
        assert lane.source_of("seconds").checked is None

    def test_what_the_configuration_states_has_the_source_that_it_gives(self) -> None:
        told = {"model": PRO, "price": {"1K": 0.05}, "n": 2}
        lane = lanes("google", {**told, "source": "their list", "checked": date(2026, 11, 1)})[PRO]
        assert lane.source_of("prices") == lane.source_of("images_per_call") == Source("their list", date(2026, 11, 1))
        assert lane.source_of("batch_prices").name.endswith("/pricing")
        assert lanes("google", told)[PRO].source_of("prices") == Source("configuration")

    def test_so_has_a_model_that_only_the_configuration_knows(self) -> None:
        new = {"model": "Flux-9", "sizes": ["1K"], "price": {"1K": 0.03}, "checked": date(2026, 11, 1)}
        assert lanes("acme", new)["Flux-9"].source_of("prices") == Source("configuration", date(2026, 11, 1))


class TestStatedLanes:
    def test_a_provider_that_lists_lanes_has_those_alone_filled_from_the_catalogue(self) -> None:
        found = lanes("google", {"model": PRO})
        assert list(found) == [PRO]
        assert found[PRO] == lanes("google")[PRO]

    def test_what_a_lane_states_wins(self) -> None:
        told = {
            "model": PRO, "upstream_model": "pro-vip", "sizes": ["4k", "1K"], "aspect_ratios": ["1:1"], "class": "legacy",
            "price": {"1K": 0.05}, "references": 0, "capabilities": [], "n": 4, "residency": "eu", "refused_countries": [],
            "released": "2026-01-01", "replacement": FLASH, "quota": {"rpm": 60}, "stream": True, "enabled": False,
            "reference_bytes": 9, "input_tokens": 8, "thinking_levels": ["low"], "output_formats": ["webp"],
            "takes_size": False, "seconds": {"4K": 60}, "token_prices": {"output_image": 99}, "batch_price": {"4K": 0.1},
        }  # fmt: skip
        lane = lanes("google", told, timeout=30, egress_country="sg")[PRO]
        assert (lane.upstream_model, lane.sizes, lane.aspect_ratios) == ("pro-vip", ("1K", "4K"), ("1:1",))
        assert lane.prices == {"1K": Decimal("0.05"), "4K": Decimal("0.24")}
        assert lane.price_configured
        assert (lane.lane_class, lane.references, lane.images_per_call, lane.residency) == ("legacy", 0, 4, "eu")
        assert lane.capabilities == lane.refused_countries == frozenset()
        assert (lane.released, lane.replacement, lane.quota) == (date(2026, 1, 1), FLASH, {"rpm": 60})
        assert (lane.stream, lane.enabled, lane.timeout, lane.egress_country) == (True, False, 30.0, "SG")
        assert (lane.reference_bytes, lane.input_tokens, lane.takes_size) == (9, 8, False)
        assert (lane.thinking_levels, lane.output_formats) == (("low",), ("webp",))
        assert (lane.seconds["4K"], lane.seconds["1K"]) == (60.0, 10.0)
        assert (lane.token_prices["output_image"], lane.token_prices["input_text"]) == (Decimal(99), Decimal(2))
        assert lane.batch_prices == {"1K": Decimal("0.067"), "4K": Decimal("0.1")}

    def test_the_prices_of_a_silent_lane_are_the_catalogues(self) -> None:
        assert not lanes("google", {"model": PRO})[PRO].price_configured

    def test_a_price_is_exactly_what_was_written(self) -> None:
        assert lanes("google", {"model": LITE, "price": {"1k": 0.1}})[LITE].prices["1K"] == Decimal("0.1")

    def test_a_preview_id_is_sent_to_a_relay_as_it_was_written_but_not_to_the_vendor(self) -> None:
        preview = f"{PRO}-preview"
        assert lanes("openai", {"model": preview}, base_url="https://r.example/v1")[PRO].upstream_model == preview
        assert lanes("google", {"model": preview})[PRO].upstream_model == PRO

    def test_a_model_the_catalogue_does_not_know_needs_sizes_and_a_price_for_each(self) -> None:
        new = {"model": "Flux-9", "sizes": ["1K"], "price": {"1K": 0.03}}
        lane = lanes("acme", new)["Flux-9"]
        assert (lane.upstream_model, lane.lane_class, lane.vendor_host) == ("Flux-9", "standard", False)
        assert lanes("google", new)["Flux-9"].refused_countries == {"CN", "HK", "RU", "BY"}
        assert "providers.p.lanes[0].model: expected sizes and price" in complaint("acme", {"model": "Flux-9"})
        assert "expected price too" in complaint("acme", {"model": "Flux-9", "sizes": ["1K"]})
        assert "expected sizes too" in complaint("acme", {"model": "Flux-9", "price": {"1K": 0.03}})
        assert complaint("acme", {**new, "sizes": ["1K", "2K"]}).startswith("providers.p.lanes[0].price.2K: expected")

    def test_a_size_the_catalogue_does_not_know_needs_a_price(self) -> None:
        assert "lanes[0].price.4K" in complaint("google", {"model": LITE, "sizes": ["1K", "4K"]})

    def test_one_model_has_one_lane_in_a_provider_whatever_it_is_called(self) -> None:
        assert "providers.p.lanes[1].model" in complaint("google", {"model": PRO}, {"model": "nano-banana-pro"})

    def test_a_provider_that_is_off_has_lanes_that_are_off(self) -> None:
        assert not any(lane.enabled for lane in lanes("google", enabled=False).values())
