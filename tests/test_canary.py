"""A key stays where it belongs: on the wire. Row 55 of the fault table, and an upstream that plays the key back."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from gateway import Gateway, GatewayError
from providers.provider import ProviderSettings, load_provider
from providers.secret import Secret
from providers.simulator import Simulator, faults
from tests.relays.relay import Asked, Relay, as_json

KEY = "sk-canary-0123456789abcdef"


def table(kind: str, base_url: str, **more: Any) -> dict[str, Any]:
    lane = {"model": "gemini-3-pro-image", "sizes": ["1K"], "price": {"1K": 0.1}}
    return {"providers": {"upstream": {"kind": kind, "base_url": base_url, "api_key": KEY, "lanes": [lane], **more}}}


def echo(asked: Asked) -> tuple[int, str, bytes]:
    """An upstream whose error repeats the whole request head, as careless proxies do."""
    return as_json({"error": {"message": f"bad request: {json.dumps(dict(asked.headers))}", "code": 400}}, 400)


@pytest.fixture(params=["google-bearer", "google", "openai", "vertex"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway whose upstream plays the key back."""
    with Relay(echo) as relay:
        kind, _, auth = request.param.partition("-")
        more = {"auth": auth} if auth else {"dialect": "chat"} if kind == "openai" else {}
        with Gateway.from_config(table(kind, relay.url, **more)) as made:
            yield made
        assert all(any(KEY in value for value in asked.headers.values()) for asked in relay.asked)


def test_an_error_that_repeats_the_key_is_told_without_it(gateway: Gateway) -> None:
    with pytest.raises(GatewayError) as failed:
        gateway.generate("x")
    told = "".join(traceback.format_exception(failed.value))
    assert KEY not in told
    assert "bad request" in str(failed.value)
    assert KEY.encode() not in pickle.dumps(failed.value)
    assert KEY not in repr(failed.value.attempts)
    chain: list[BaseException | None] = [failed.value]
    while chain[-1] is not None:
        assert KEY not in repr(chain[-1])
        assert KEY not in repr(vars(chain[-1]))
        chain.append(chain[-1].__cause__ or chain[-1].__context__)


def test_nothing_that_a_gateway_holds_shows_the_key(gateway: Gateway) -> None:
    entry = gateway.config.providers["upstream"]
    for thing in (gateway, gateway.config, entry, entry.settings[0], gateway.config.lanes, gateway.health()):
        assert KEY not in repr(thing)
        assert KEY not in f"{thing}"
    with pytest.raises(GatewayError):
        gateway.generate("x")
    adapter = load_provider(entry.settings[0])
    assert KEY not in repr(adapter)


def test_a_configuration_does_not_pickle_rather_than_pickle_its_keys(gateway: Gateway) -> None:
    settings: ProviderSettings = gateway.config.providers["upstream"].settings[0]
    with pytest.raises(TypeError):
        pickle.dumps(settings)
    with pytest.raises(TypeError):
        pickle.dumps(settings.api_key)


@pytest.mark.parametrize("kind", ["google", "openai"])
@pytest.mark.parametrize(
    "fault", [faults.overloaded(), faults.bad_key(), faults.region(), faults.cut(at=0.5), faults.reset(), faults.garbage()],
    ids=lambda fault: fault.name,
)  # fmt: skip
def test_no_failure_logs_the_key_at_any_level(kind: str, fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    with Simulator() as upstream, caplog.at_level(logging.DEBUG):
        upstream.inject(fault)
        address = upstream.google_url if kind == "google" else upstream.openai_url
        with Gateway.from_config(table(kind, address)) as gateway, pytest.raises(GatewayError):
            gateway.generate("x")
    assert caplog.records
    assert not [record.name for record in caplog.records if KEY in record.getMessage()]


@pytest.mark.parametrize(
    "form",
    [repr, str, "{}".format, "{:>40}".format, lambda secret: f"{secret!r:.5}", lambda s: json.dumps(s, default=str)],
)
def test_a_secret_has_no_form_that_shows_it(form: Any) -> None:
    assert "canary" not in form(Secret(KEY))
