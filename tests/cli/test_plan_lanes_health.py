"""The commands that show and never call."""

import re
from datetime import date

import pytest

from gateway.cli import tables
from gateway.cli.consoles import stdout
from gateway.cli.standing import standing
from gateway.client import AsyncGateway
from gateway.clock import Clock
from gateway.health.health import LaneHealth
from gateway.router.plan import Exclusion
from providers.presets import presets
from tests.cli.conftest import FLASH, configure, google_table, relay_table, run, run_json, words

PRO = "gemini-3-pro-image"


def test_a_plan_shows_the_steps_in_order_and_what_is_left_out(pair):
    told = words(run("plan", "A cat", "--size", "4K", "--max-cost", "0.16").stdout)
    assert f"1 google/{FLASH} 4K $0.15" in told
    assert f"2 google/{FLASH} 2K $0.10" in told
    assert f"relay/{FLASH} max_cost costs $0.3" in told
    assert [upstream.requests for upstream in pair] == [[], []]


def test_a_plan_in_json_has_everything(pair):
    plan = run_json("plan", "A cat", "--size", "4K", "--order", "relay")
    assert [(step["lane"], step["size"]) for step in plan["candidates"]] == [
        (f"google/{FLASH}", "4K"),
        (f"relay/{FLASH}", "2K"),
        (f"google/{FLASH}", "2K"),
    ]
    assert plan["excluded"] == []
    assert {"expected_cost", "expected_seconds", "success_rate"} < set(plan["candidates"][0])


def test_a_plan_without_candidates_says_so_and_is_still_a_plan(google):
    told = words(run("plan", "A cat", "--model", "dall-e").stdout)
    assert "No lane can serve this request." in told
    assert f"google/{FLASH} model the request asks for dall-e" in told


def test_a_plan_warns_of_what_is_not_sent(pair):
    told = words(run("plan", "A cat", "--only", "relay", "--grounding").stdout)
    assert f"warning: relay/{FLASH} does not support grounding: not sent" in told


def test_names_of_lanes_are_not_broken_in_80_columns(capsys):
    name = "openrouter/gemini-3.1-flash-lite-image"
    stdout().print(tables.exclusions([Exclusion(lane=name, reason="aspect_ratio", detail="word " * 40)]))
    told = capsys.readouterr().out
    assert name in told
    assert max(map(len, told.splitlines())) <= 80


def test_lanes_show_prices_and_whether_they_may_be_used(pair):
    told = words(run("lanes").stdout)
    assert f"google {FLASH} standard 0.045 0.067 0.101 0.151 yes" in told
    assert f"relay {FLASH} standard – 0.20 0.30 – yes" in told
    assert "Left out" not in told
    assert "All that is known of one: image-gateway lanes NAME" in told


def test_one_lane_is_shown_with_all_that_is_known_of_it(pair):
    told = words(run("lanes", f"relay/{FLASH}").stdout)
    assert f"relay {FLASH} standard – 0.20 0.30 – yes" in told
    assert "google" not in told.partition("also")[0]
    assert "prices from the configuration" in told
    assert "sent as gemini-3.1-flash-image-preview" in told
    assert "14 reference images of up to 7 MB, seed, system_instruction, temperature, thinking, top_p" in told
    assert "thinking minimal, high" in told
    assert "quota none configured" in told
    assert "figures prices, sizes: configuration" in told
    assert "(not enforced)" not in told


def test_the_vendors_own_lane_has_the_vendors_limits_and_dates(simulate, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "a-key-of-google")
    table = {"kind": "google", "api_key": "env:GEMINI_API_KEY", "quota": {"rpm": 30}}
    configure(google=table)
    told = words(run("lanes", "nano-banana").stdout)
    assert (
        "published free: 60 requests a minute, 500 requests a day; paid: 1,000 requests a minute (not enforced)" in told
    )
    assert "quota 30 requests a minute" in told
    assert "refuses calls from BY, CN, HK, RU" in told
    gone = (Clock().today() - date(2026, 10, 2)).days
    assert f"retirement retired {gone} days ago (2026-10-02); use gemini-3.1-flash-image" in told
    assert "retired: https://ai.google.dev/gemini-api/docs/deprecations" in told
    assert "seconds: assumptions until measured" in told
    told = words(run("lanes", FLASH).stdout)
    assert "per million input text $0.50, input image $0.50, output text $3.00, output image $60.00 of tokens" in told
    assert "tokens out 512 747, 1K 1120, 2K 1680, 4K 2520" in told
    assert "tokens in at most 131,072" in told
    assert "batch 512 $0.0225, 1K $0.0335, 2K $0.0505, 4K $0.076" in told


@pytest.mark.parametrize("name", ["relay", "RELAY", f"relay/{FLASH}"])
def test_lanes_are_found_by_provider_and_by_name_in_any_case(pair, name):
    assert [lane["lane"] for lane in run_json("lanes", name)["lanes"]] == [f"relay/{FLASH}"]


@pytest.mark.parametrize("name", ["nano-banana-2", "Gemini-3.1-Flash-Image", f"{FLASH}-preview"])
def test_lanes_are_found_by_any_name_of_their_model(pair, name):
    assert [lane["provider"] for lane in run_json("lanes", name)["lanes"]] == ["google", "relay"]


@pytest.mark.parametrize("option", [[], ["--catalogue"]])
def test_a_lane_that_is_not_there_exits_2_with_the_nearest_name(pair, option):
    told = words(run("lanes", "nano-banana-3", *option, status=2).stderr)
    assert "no lane, provider or model is called 'nano-banana-3'; the nearest name is nano-banana-2" in told


def test_details_are_shown_of_every_lane(pair):
    assert words(run("lanes", "--details").stdout).count("takes 14 reference images") == 2


def test_wide_terminals_get_references_and_days_of_retirement(simulate, monkeypatch):
    configure(google=google_table(simulate(), lanes=[{"model": "gemini-2.5-flash-image"}]))
    assert "2026-10-02" not in run("lanes").stdout
    monkeypatch.setenv("COLUMNS", "120")
    told = run("lanes").stdout
    assert "if named 3 2026-10-02" in words(told)
    assert max(map(len, told.splitlines())) <= 120


@pytest.mark.parametrize("columns", [80, 120])
def test_names_of_models_are_whole_in_the_overview(simulate, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    configure(google=google_table(simulate(), lanes=[{"model": "gemini-3.1-flash-lite-image", "mode": "forced-open"}]))
    told = run("lanes").stdout
    assert "  gemini-3.1-flash-lite-image  standard" in told
    assert max(map(len, told.splitlines())) <= columns


def test_lanes_that_are_out_say_why(simulate):
    lanes = [
        {"model": FLASH, "refused_countries": ["HK"]},
        {"model": PRO, "retired": "2026-01-01", "replacement": FLASH},
        {"model": "gemini-2.5-flash-image"},
    ]
    configure({"egress_country": "HK"}, google=google_table(simulate(), lanes=lanes))
    told = words(run("lanes").stdout)
    assert f"google/{FLASH} region refuses calls from HK" in told
    assert f"google/{PRO} retired retired on 2026-01-01; use" in told
    assert "legacy – 0.039 – – if named" in told
    assert "google/gemini-2.5-flash-image quality a legacy model is taken only when it is named" in told
    assert "today region: refuses calls from HK" in words(run("lanes", FLASH).stdout)


def test_a_legacy_lane_that_has_retired_would_not_be_taken_by_its_name_either(simulate):
    lane = {"model": "gemini-2.5-flash-image", "retired": "2026-10-02"}
    configure(google=google_table(simulate(), lanes=[lane]))
    assert "legacy – 0.039 – – no" in words(run("lanes").stdout)
    (found,) = run_json("lanes")["lanes"]
    assert found["excluded"]["reason"] == "retired"
    assert found["days_to_retirement"] == (date(2026, 10, 2) - Clock().today()).days


def test_lanes_in_json_carry_every_fact(pair):
    lane = run_json("lanes")["lanes"][1]
    assert (lane["lane"], lane["provider"], lane["model"]) == (f"relay/{FLASH}", "relay", FLASH)
    assert (lane["prices"], lane["references"], lane["excluded"]) == ({"1K": 0.2, "2K": 0.3}, 14, None)
    assert "seed" in lane["capabilities"]
    assert {"mode", "quota", "thinking_levels", "output_formats", "output_tokens", "published_limits"} <= set(lane)
    assert lane["sources"]["prices"] == {"name": "configuration", "checked": None}
    assert lane["source"].startswith("https://")
    assert lane["checked"] == "2026-05-30"


def test_a_lane_counts_as_usable_if_any_size_of_it_is(simulate):
    lane = {"model": "gemini-3.1-flash-lite-image", "sizes": ["1K"]}
    configure(google=google_table(simulate(), lanes=[{"model": PRO}, lane]))
    assert standing(AsyncGateway.from_config("gateway.toml")) == {}


def test_the_presets_are_shown_without_a_configuration():
    told = words(run("lanes", "--presets").stdout)
    assert "laozhang openai new-api 1K configured" in told
    assert "https://openrouter.ai/api/v1" in told
    assert [row["name"] for row in run_json("lanes", "--presets")["presets"]] == list(presets())


def test_one_preset_is_shown_by_its_name():
    assert [row["name"] for row in run_json("lanes", "--presets", "LaoZhang")["presets"]] == ["laozhang"]
    told = words(run("lanes", "--presets", "laozang", status=2).stderr)
    assert "no preset is called 'laozang'; the nearest name is laozhang" in told


def test_the_catalogue_is_shown_without_a_configuration():
    told = words(run("lanes", "--catalogue").stdout)
    assert f"{FLASH} standard 0.045 0.067 0.101 0.151" in told
    told = words(run("lanes", "--catalogue", "--details").stdout)
    assert "nano-banana-2" in told
    assert re.search(r"\(2026-10-02\) on google; \w+ .* \(2027-03-15\) on vertex; use gemini-3.1-flash-image", told)
    assert re.search(r"preview gemini-3-pro-image-preview, given up by its vendor \d+ days ago", told)
    assert "vertex in global, us, eu" in told
    assert "free tier none" in told
    assert {model["id"] for model in run_json("lanes", "--catalogue")["models"]} >= {FLASH, PRO, "gpt-image-2"}


def test_health_shows_what_a_fresh_gateway_assumes(pair):
    assert f"google/{FLASH} closed 90% 25 0" in words(run("health").stdout)
    lane = run_json("health")["lanes"][0]
    assert (lane["lane"], lane["state"], lane["success_rate"], lane["until"]) == (
        f"google/{FLASH}",
        "closed",
        0.9,
        None,
    )


def test_health_tells_why_a_lane_is_shut_and_until_when(capsys):
    lane = LaneHealth(lane="a/b", state="open", reason="auth", until=600.0, success_rate=0.5, p50=8, limit=4)
    stdout().print(tables.health([lane]))
    assert words(capsys.readouterr().out).endswith("a/b open 50% 8 0 of 4 a/b auth, again in 600 s")


def test_health_tells_of_operators_switches_if_there_are_any(capsys):
    def shown(mode):
        lane = LaneHealth(lane="a/b", state="closed", reason="", until=None, success_rate=0.5, p50=8, mode=mode)
        stdout().print(tables.health([lane]))
        return words(capsys.readouterr().out)

    assert shown("shadow").endswith("a/b closed 50% 8 0 a/b shadow")
    assert shown("normal").endswith("a/b closed 50% 8 0")


def test_health_says_once_that_the_state_others_share_cannot_be_used(capsys):
    lanes = [
        LaneHealth(
            lane=name, state="closed", reason="", until=None, success_rate=0.5, p50=8, degraded="the state is away"
        )
        for name in ("a/b", "c/d")
    ]
    stdout().print(tables.health(lanes))
    assert words(capsys.readouterr().out).endswith("a/b closed 50% 8 0 c/d closed 50% 8 0 the state is away")


def test_nothing_is_cut_off_at_80_columns(capsys):
    name = "openrouter/gemini-3.1-flash-lite-image"
    lane = LaneHealth(
        lane=name, state="half_open", reason="quota_exhausted", until=1e5, success_rate=1, p50=120, limit=64
    )
    stdout().print(tables.health([lane]))
    stdout().print(tables.exclusions([Exclusion(lane=name, reason="circuit_open", detail="word " * 20 + "end")]))
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert words(told).count("word") == 20
    assert "0 of 64" in told
    assert "quota_exhausted, again in 100000 s" in told
    assert words(told).endswith("end")


def test_a_narrow_terminal_gets_a_line_for_each_cell(pair, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    for command in (["plan", "a cat", "--size", "1K"], ["lanes"], ["health"]):
        told = run(*command).stdout
        assert max(map(len, told.splitlines())) <= 40
        assert f"google/{FLASH}" in told or f"  {FLASH}" in told
    assert "in flight  0 of 8" in told


@pytest.mark.parametrize(
    "command", [["plan", "x"], ["lanes"], ["lanes", "none"], ["health"], ["doctor"], ["generate", "x"]]
)
def test_every_command_closes_its_gateway(google, monkeypatch, command):
    closed, close = [], AsyncGateway.aclose

    async def watched(gateway):
        closed.append(gateway.config.source)
        await close(gateway)

    monkeypatch.setattr(AsyncGateway, "aclose", watched)
    run(*command, status=2 if "none" in command else 0)
    assert set(closed) == {"gateway.toml"}


def test_no_table_obeys_markup_or_control_characters(capsys):
    stdout().print(tables.exclusions([Exclusion(lane="[red]x[/red]", reason="size", detail="a\x1b[31mb\u202ec")]))
    told = capsys.readouterr().out
    assert "[red]x[/red]" in told
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_names_of_models_are_no_markup(simulate):
    lane = {"model": "[red]x[/red]", "sizes": ["1K"], "price": {"1K": 0.1}}
    configure(google=google_table(simulate(), lanes=[lane]))
    assert run("lanes", "--details").stdout.count("[red]x[/red]") == 2


def test_a_configuration_with_a_mistake_exits_2_and_names_the_place(simulate):
    configure(google=google_table(simulate(), bas_url="x"))
    for command in (["plan", "x"], ["lanes"], ["health"], ["doctor"]):
        told = words(run(*command, status=2).stderr)
        assert "providers.google.bas_url: unknown key; the nearest known key is base_url" in told


def test_the_configuration_is_found_by_option_and_by_variable(simulate, monkeypatch, folder):
    configure(google=google_table(simulate()))
    place = folder / "elsewhere.toml"
    (folder / "gateway.toml").rename(place)
    assert run_json("health", "-c", str(place))["lanes"]
    monkeypatch.setenv("IMAGE_GATEWAY_CONFIG", str(place))
    assert run_json("health")["lanes"]


def test_a_relay_beside_a_cheaper_google_comes_second(pair):
    configure(google=google_table(pair[0]), relay=relay_table(pair[1]))
    assert [step["lane"] for step in run_json("plan", "x")["candidates"]] == [f"google/{FLASH}", f"relay/{FLASH}"]
