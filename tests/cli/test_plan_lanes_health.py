"""The commands that show and never call."""

from gateway.cli import tables
from gateway.cli.consoles import stdout
from gateway.cli.standing import standing
from gateway.client import AsyncGateway
from gateway.health import LaneHealth
from gateway.plan import Exclusion
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
    assert "prices from the configuration" in told
    assert "14 reference images, grounding, seed, system_instruction" in told


def test_lanes_that_are_out_say_why(simulate):
    lanes = [
        {"model": FLASH, "refused_countries": ["HK"]},
        {"model": PRO, "retired": "2026-01-01", "replacement": FLASH},
        {"model": "gemini-2.5-flash-image"},
    ]
    configure({"egress_country": "HK"}, google=google_table(simulate(), lanes=lanes))
    told = words(run("lanes").stdout)
    assert "today region: refuses calls from HK" in told
    assert f"retired 2026-01-01; use {FLASH}" in told
    assert "legacy – 0.039 – – if named" in told


def test_lanes_in_json_carry_every_fact(pair):
    lane = run_json("lanes")["lanes"][1]
    assert (lane["lane"], lane["provider"], lane["model"]) == (f"relay/{FLASH}", "relay", FLASH)
    assert (lane["prices"], lane["references"], lane["excluded"]) == ({"1K": 0.2, "2K": 0.3}, 14, None)
    assert "seed" in lane["capabilities"]
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


def test_the_catalogue_is_shown_without_a_configuration():
    told = words(run("lanes", "--catalogue").stdout)
    assert f"{FLASH} standard 0.045 0.067 0.101 0.151" in told
    assert "nano-banana-2" in told
    assert "2026-10-02 (google), 2027-03-15 (vertex); use gemini-3.1-flash-image" in told
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
    assert "a/b open 50% 8 0 of 4 auth again in 600 s" in words(capsys.readouterr().out)


def test_no_table_obeys_markup_or_control_characters(capsys):
    stdout().print(tables.exclusions([Exclusion(lane="[red]x[/red]", reason="size", detail="a\x1b[31mb\u202ec")]))
    told = capsys.readouterr().out
    assert "[red]x[/red]" in told
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_names_of_models_are_no_markup(simulate):
    lane = {"model": "[red]x[/red]", "sizes": ["1K"], "price": {"1K": 0.1}}
    configure(google=google_table(simulate(), lanes=[lane]))
    assert run("lanes").stdout.count("[red]x[/red]") == 2


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
