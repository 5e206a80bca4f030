"""`doctor`: what it finds, what it advises, and that it never pays."""

import socket
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.cli.checkup import Check, advice, checks
from gateway.configuration import config
from providers.provider import ProviderSettings
from providers.simulator import faults
from tests.cli.conftest import FLASH, KEY, configure, google_table, relay_table, run, run_json, words
from tests.relays.relay import Relay, as_json


def test_all_is_well(pair):
    told = words(run("doctor").stdout)
    assert "✓ configuration: gateway.toml, 2 lanes" in told
    assert f"✓ google (google, {pair[0].google_url}, without a key): ok" in told
    assert f"✓ relay (openai, {pair[1].openai_url}, without a key): ok" in told
    assert "All providers can be used." in told


def test_it_makes_one_free_call_to_each_provider(pair):
    run("doctor")
    assert [[request.method for request in upstream.requests] for upstream in pair] == [["GET"], ["GET"]]
    assert [upstream.billed for upstream in pair] == [0, 0]


def test_a_refused_key_names_the_variable_to_change(simulate, monkeypatch):
    monkeypatch.setenv("RELAY_KEY", KEY)
    configure(relay=relay_table(simulate("new-api", keys=["another"]), api_key="env:RELAY_KEY"))
    result = run("doctor", status=1)
    assert "key from env:RELAY_KEY): auth" in words(result.stdout)
    assert "The key was refused: put a valid one into env:RELAY_KEY." in words(result.stdout)
    assert "Not all is well" in result.stdout
    assert KEY not in result.output


def test_each_of_several_keys_is_checked(simulate, monkeypatch):
    monkeypatch.setenv("ONE", "good")
    Path("two.key").write_text("bad")
    configure(google=google_table(simulate(keys=["good"]), api_key=["env:ONE", "file:two.key"]))
    found = run_json("doctor", status=1)["providers"]
    assert [(each["key"], each["outcome"]) for each in found] == [("env:ONE", "ok"), ("file:two.key", "auth")]


def test_a_literal_key_is_named_by_its_place_and_warned_of(simulate):
    configure(google=google_table(simulate(), api_key=KEY))
    told = words(run("doctor").stdout)
    assert "key from providers.google.api_key): ok" in told
    assert "! gateway.toml, line 3: providers.google.api_key: a key stands in the configuration itself" in told


def test_keys_from_the_environment_need_no_file():
    environ = {"OPENAI_API_KEY": KEY, "GOOGLE_API_KEY": KEY}
    assert {each.key for each in checks(config.load(environ=environ))} == {f"env:{name}" for name in environ}


@pytest.mark.parametrize(
    ("fault", "outcome", "advice"),
    [
        (faults.region(), "region", "set egress_country under [providers.google] or [gateway]"),
        (faults.challenge(), "region", "providers.google.proxy"),
        (faults.garbage(), "transport", "check providers.google.base_url, providers.google.proxy and the network"),
        (faults.hang(path="/models"), "timeout", "allow more with --timeout"),
        (faults.balance(path="/models"), "balance", "top it up"),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_what_is_wrong_and_what_to_do_about_it(google, fault, outcome, advice):
    google.inject(fault)
    (found,) = run_json("doctor", "--timeout", "1" if outcome == "timeout" else "10", status=1)["providers"]
    assert (found["outcome"], found["usable"]) == (outcome, False)
    assert advice in found["advice"]


def test_nobody_at_the_address_is_a_matter_of_transport():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        configure(google={"kind": "google", "base_url": url, "lanes": [{"model": FLASH}]})
        assert "transport" in run("doctor", status=1).stdout


def test_a_wrong_path_is_suspected_when_there_is_no_list_of_models(simulate):
    configure(relay=relay_table(simulate("new-api", faults=[faults.status(404, path="/models")])))
    assert "does the address lack a part such as /v1?" in words(run("doctor", status=1).stdout)


def test_one_bad_provider_does_not_hide_the_others(pair):
    pair[0].inject(faults.bad_key())
    found = run_json("doctor", status=1)
    assert found["usable"] is False
    assert [(each["provider"], each["outcome"]) for each in found["providers"]] == [("google", "auth"), ("relay", "ok")]


def test_checks_run_side_by_side():
    everybody = threading.Barrier(6)

    def answer(_asked):
        everybody.wait(timeout=60)  # nobody is answered before all have asked
        return as_json({"models": [], "data": []})

    with Relay(answer) as relay:
        configure(**{f"waits{number}": relay_table(SimpleNamespace(openai_url=relay.url)) for number in range(6)})
        found = run_json("doctor", "--timeout", "60")["providers"]
    assert [each["outcome"] for each in found] == ["ok"] * 6


def test_a_provider_that_is_switched_off_is_not_called(pair):
    configure(google=google_table(pair[0]), relay=relay_table(pair[1], enabled=False, api_key="env:NONE"))
    assert "– relay: switched off in the configuration" in run("doctor").stdout
    assert pair[1].requests == []


def test_lanes_that_retire_soon_and_lanes_left_out_are_told(simulate):
    soon = str(datetime.now(UTC).date() + timedelta(days=30))
    later = str(datetime.now(UTC).date() + timedelta(days=90))
    lanes = [
        {"model": FLASH, "retired": soon, "replacement": "gpt-image-2"},
        {"model": "gemini-3-pro-image", "retired": later, "replacement": "gpt-image-2"},
        {"model": "gemini-3.1-flash-lite-image", "refused_countries": ["HK"]},
    ]
    configure({"egress_country": "HK"}, google=google_table(simulate(), lanes=lanes))
    told = words(run("doctor").stdout)
    assert f"! google/{FLASH} retires on {soon}; its replacement is gpt-image-2" in told
    assert f"✓ google/{FLASH} retires in 30 days ({soon}), use gpt-image-2" in told
    assert f"✓ google/gemini-3-pro-image retires in 90 days ({later}), use gpt-image-2" in told
    assert f"retires on {later}" not in told
    assert "✗ google/gemini-3.1-flash-lite-image region: refuses calls from HK no retirement known" in told
    assert "2 lanes" not in told
    assert "3 lanes, calls leave from HK" in told


def test_a_retired_model_is_told_of_where_it_may_still_be_used(simulate):
    old = {"model": "gemini-2.5-flash-image", "price": {"1K": 0.1}, "class": "standard"}
    configure(relay=relay_table(simulate("new-api"), lanes=[old]))
    told = words(run("doctor").stdout)
    assert "! relay/gemini-2.5-flash-image was retired by its vendor on 2026-10-02" in told
    gone = (datetime.now(UTC).date() - date(2026, 10, 2)).days
    assert f"✓ relay/gemini-2.5-flash-image retired {gone} days ago (2026-10-02)" in told
    configure(relay=relay_table(simulate("new-api"), lanes=[{**old, "class": "legacy"}]))
    assert "was retired" not in run("doctor").stdout


def test_a_missing_key_exits_2_and_names_the_variable(simulate):
    configure(google=google_table(simulate(), api_key="env:NOT_SET"))
    assert "environment variable NOT_SET is not set" in words(run("doctor", status=2).stderr)


def test_a_missing_key_file_exits_2_and_names_the_file(simulate):
    configure(google=google_table(simulate(), api_key="file:none.key"))
    assert "file 'none.key' cannot be read" in run_json("doctor", status=2)["error"]["message"]


def test_an_adapter_that_raises_is_a_finding_and_no_crash(google, monkeypatch):
    def broken(settings):
        raise RuntimeError("no such luck")

    monkeypatch.setattr("gateway.cli.checkup.load_provider", broken)
    (found,) = run_json("doctor", status=1)["providers"]
    assert found["detail"] == "RuntimeError: no such luck"


def days_ago(days):
    return str(datetime.now(UTC).date() - timedelta(days=days))


def test_each_lane_tells_the_source_and_age_of_its_prices_and_its_quota(simulate):
    priced = {"price": {"1K": 0.05}, "sizes": ["1K"]}
    lanes = [
        {"model": FLASH, **priced, "source": "https://relay.example/prices", "checked": days_ago(181)},
        {"model": "gemini-3-pro-image", **priced, "checked": days_ago(180), "quota": {"rpm": 60, "rpd": 1000}},
        {"model": "their-own", **priced},
    ]
    configure(relay=relay_table(simulate("new-api"), lanes=lanes))
    told = words(run("doctor").stdout)
    assert f"relay/{FLASH} no retirement known; prices: relay.example/prices, checked 181 days ago; no quota" in told
    assert "prices: configuration, checked 180 days ago; quota rpm 60 rpd 1,000" in told
    assert "relay/their-own no retirement known; prices: configuration; no quota" in told
    assert (
        f"! prices were checked more than 180 days ago, compare them with their source and state what has changed "
        f"as price: relay/{FLASH}" in told
    )
    found = run_json("doctor")["lanes"]
    assert [(each["price_age"], each["stale"]) for each in found] == [(181, True), (180, False), (None, False)]


def test_every_fact_about_a_lane_is_in_the_json(simulate):
    soon = str(datetime.now(UTC).date() + timedelta(days=7))
    lane = {"model": FLASH, "refused_countries": ["HK"], "retired": soon, "quota": {"ipm": 5}}
    configure({"egress_country": "HK"}, google=google_table(simulate(), lanes=[lane], mode="shadow"))
    (found,) = run_json("doctor")["lanes"]
    assert (found["lane"], found["provider"], found["mode"]) == (f"google/{FLASH}", "google", "shadow")
    assert (found["retired"], found["days_to_retirement"], found["quota"]) == (soon, 7, {"ipm": 5})
    assert (found["egress_country"], found["egress_refused"]) == ("HK", True)
    assert found["excluded"]["reason"] == "region"
    assert found["price_source"].startswith("https://")


def test_a_lane_whose_provider_cannot_be_used_is_marked(pair):
    pair[0].inject(faults.bad_key())
    told = words(run("doctor", status=1).stdout)
    assert f"✗ google/{FLASH} its provider cannot be used" in told
    assert f"✓ relay/{FLASH} no retirement known" in told


def test_operators_switches_are_told(pair):
    configure(google=google_table(pair[0], mode="shadow"), relay=relay_table(pair[1], mode="disabled"))
    told = words(run("doctor").stdout)
    assert f"✓ google/{FLASH} shadow" in told
    assert f"– relay/{FLASH} disabled: switched off in the configuration" in told
    assert "– relay: switched off in the configuration" in told
    assert pair[1].requests == []


def test_a_lane_left_to_its_name_is_no_fault_but_a_retired_one_is(simulate):
    lanes = [{"model": "gemini-2.5-flash-image"}, {"model": "imagen-4", "retired": days_ago(50)}]
    configure(google=google_table(simulate(), lanes=lanes))
    told = words(run("doctor").stdout)
    assert "– google/gemini-2.5-flash-image quality: a legacy model is taken only when it is named" in told
    assert f"✗ google/imagen-4.0-generate-001 retired: retired on {days_ago(50)}" in told


def test_vertex_without_credentials_is_told_how_to_get_some():
    check = Check(entry=None, settings=ProviderSettings(name="v", kind="vertex"), key="")
    assert "gcloud auth application-default login" in advice(check, "auth")
    keyed = Check(entry=None, settings=ProviderSettings(name="v", kind="vertex"), key="env:V")
    assert advice(keyed, "auth") == "The key was refused: put a valid one into env:V."


def test_a_file_that_changes_under_the_doctor_does_not_matter(google):
    loaded = config.load("gateway.toml")
    Path("gateway.toml").unlink()
    assert [each.key for each in checks(loaded)] == [""]
