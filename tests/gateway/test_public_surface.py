"""The names, fields and defaults that the public contract promises. To change one is to break a user."""

from __future__ import annotations

import dataclasses
import inspect
from decimal import Decimal
from typing import Any, get_args, get_type_hints

import pytest

import gateway
from gateway import AsyncGateway, Gateway, ImageRequest, ProviderPreferences
from gateway.health.health import State
from gateway.result import CostBasis
from gateway.router.plan import ExclusionReason
from providers.outcome import Billed, OutcomeName


def test_what_one_imports_from_gateway() -> None:
    assert gateway.__all__ == [
        "AllAttemptsFailed", "AsyncGateway", "Attempt", "BudgetExceeded", "Candidate", "ConfigError", "ContentBlocked",
        "Cost", "DeadlineExceeded", "Exclusion", "Gateway", "GatewayError", "GeneratedImage", "ImageRequest",
        "ImageResult", "InvalidRequest", "LaneHealth", "NoLaneAvailable", "OutcomeUnknown", "Plan",
        "ProviderPreferences", "ReferenceImage",
    ]  # fmt: skip
    assert all(hasattr(gateway, name) for name in gateway.__all__)


def test_the_fields_of_a_request_and_their_defaults() -> None:
    request = ImageRequest(prompt="a fox")
    assert {name: getattr(request, name) for name in ImageRequest.model_fields} == {
        "prompt": "a fox", "images": (), "size": "1K", "aspect_ratio": None, "model": None, "quality": "standard",
        "task": None, "n": 1, "min_size": None, "fallback": None, "max_cost": None, "deadline": None, "residency": None,
        "providers": ProviderPreferences(), "system_instruction": None, "temperature": None, "top_p": None, "seed": None,
        "thinking": None, "grounding": False, "output_format": None, "require_parameters": False,
        "idempotency_key": None, "allow_second_charge": False, "cache": None, "save_to": None, "tags": {},
        "history": (),
    }  # fmt: skip


def test_the_preferences_and_their_defaults() -> None:
    assert ProviderPreferences().model_dump() == {"only": (), "ignore": (), "order": (), "sort": None}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("ImageResult", ["images", "text", "lane", "provider", "model", "requested_size", "size", "downgraded", "cost",
                         "total_cost", "attempts", "warnings", "request_id", "elapsed", "parts", "cached"]),
        ("GeneratedImage", ["data", "mime_type", "width", "height"]),
        ("ReferenceImage", ["data", "mime_type"]),
        ("Attempt", ["lane", "size", "outcome", "billed", "cost", "duration", "retry_after", "detail"]),
        ("Cost", ["usd", "basis"]),
        ("Plan", ["candidates", "excluded", "warnings", "acceptance", "last_resort"]),
        ("Candidate", ["lane", "size", "expected_cost", "expected_seconds", "success_rate"]),
        ("Exclusion", ["lane", "reason", "detail", "retry_after"]),
        ("LaneHealth", ["lane", "state", "reason", "until", "success_rate", "p50", "in_flight", "limit", "mode", "degraded"]),
    ],
)  # fmt: skip
def test_the_fields_of_what_comes_back(name: str, fields: list[str]) -> None:
    kind = getattr(gateway, name)
    assert [field.name for field in dataclasses.fields(kind) if not field.name.startswith("_")] == fields
    assert kind.__dataclass_params__.frozen


def test_the_words_for_what_happened() -> None:
    assert get_args(OutcomeName) == (
        "ok", "rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone", "overloaded", "transport",
        "timeout", "bad_response", "no_image", "blocked", "wrong_size", "invalid", "cancelled",
    )  # fmt: skip
    assert get_args(Billed) == ("no", "maybe", "yes")
    assert get_args(CostBasis) == ("usage", "catalogue", "reported")
    assert get_args(State) == ("closed", "open", "half_open", "latched", "disabled")
    assert get_args(ExclusionReason) == (
        "size", "aspect_ratio", "retired", "not_released", "region", "residency", "model", "quality", "capability",
        "max_cost", "circuit_open", "cooling_down", "quota", "preference", "disabled",
    )  # fmt: skip


def parameters(function: Any) -> list[str]:
    return [str(each).partition(":")[0] for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("kind", [Gateway, AsyncGateway])
def test_the_methods_that_both_classes_have(kind: type) -> None:
    assert parameters(kind.from_config)[0] == "source"  # type: ignore[attr-defined]
    assert inspect.signature(kind.from_config).parameters["source"].default is None  # type: ignore[attr-defined]
    assert parameters(kind.generate) == ["self", "prompt", "**fields"]  # type: ignore[attr-defined]
    assert parameters(kind.plan) == ["self", "prompt", "**fields"]  # type: ignore[attr-defined]
    assert parameters(kind.generate_many)[:2] == ["self", "requests"]  # type: ignore[attr-defined]
    assert inspect.signature(kind.generate_many).parameters["concurrency"].default is None  # type: ignore[attr-defined]
    assert parameters(kind.health) == ["self"]  # type: ignore[attr-defined]
    assert inspect.signature(kind.reload).parameters["source"].default is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [Gateway, AsyncGateway])
def test_the_types_of_their_parameters_and_results_can_be_looked_up(kind: type) -> None:
    assert get_type_hints(kind.generate)["return"] is gateway.ImageResult  # type: ignore[attr-defined]
    assert get_type_hints(kind.plan)["return"] is gateway.Plan  # type: ignore[attr-defined]
    assert get_type_hints(kind.health)["return"] == list[gateway.LaneHealth]  # type: ignore[attr-defined]
    assert "clock" in get_type_hints(kind.from_config)  # type: ignore[attr-defined]
    assert "listener" in get_type_hints(kind.on_event)  # type: ignore[attr-defined]


def test_only_what_does_io_is_awaited() -> None:
    awaited = {name for name in dir(AsyncGateway) if inspect.iscoroutinefunction(getattr(AsyncGateway, name))}
    assert {"generate", "aclose"} <= awaited
    assert awaited.isdisjoint({"from_config", "plan", "health", "reload"})
    assert not {name for name in dir(Gateway) if inspect.iscoroutinefunction(getattr(Gateway, name))}


def test_each_class_closes_in_its_own_way() -> None:
    assert parameters(Gateway.close) == parameters(AsyncGateway.aclose) == ["self"]
    assert {"__enter__", "__exit__"} <= set(dir(Gateway))
    assert {"__aenter__", "__aexit__"} <= set(dir(AsyncGateway))


def test_the_errors_and_what_else_they_are() -> None:
    errors = [
        each
        for name in gateway.__all__
        if isinstance(each := getattr(gateway, name), type) and issubclass(each, Exception)
    ]
    assert len(errors) == 9
    assert all(issubclass(each, gateway.GatewayError) for each in errors)


def test_money_is_decimal() -> None:
    hints = {field.name: field.type for field in dataclasses.fields(gateway.Cost)}
    assert hints["usd"] == "Decimal"
    assert isinstance(ImageRequest(prompt="a fox", max_cost=0.1).max_cost, Decimal)  # type: ignore[arg-type]
