"""What an attempt costs, by who said so."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import Attempt, Cost
from gateway.money.money import cost_of, expected_cost, markup, total
from gateway.router.lanes import Lane
from providers.outcome import Outcome, Part, Usage
from tests.gateway.upstreams import draws, image, lane, relay, studio

TOKENS = {"input_text": "0.50", "input_image": "0.60", "output_text": "3", "output_image": "60"}
VENDOR = Lane(
    provider="google",
    model="painter",
    upstream_model="painter",
    sizes=("1K", "2K"),
    prices={"1K": Decimal("0.067"), "2K": Decimal("0.101")},
    token_prices={name: Decimal(price) for name, price in TOKENS.items()},
)
USAGE = Usage(input_text=1000, input_image=2000, output_text=300, output_image=1120, thoughts=700)


def outcome(**fields: Any) -> Outcome:
    return Outcome(**{"name": "ok", "billed": "yes", "parts": (Part(image=image()),), **fields})


def test_what_the_upstream_reports_comes_before_everything() -> None:
    configured = replace(VENDOR, price_configured=True)
    reported = outcome(usage=USAGE, reported_cost=Decimal("0.0412"))
    assert cost_of(configured, "1K", reported) == Cost(Decimal("0.0412"), "reported")


def test_a_configured_price_comes_before_usage() -> None:
    assert cost_of(replace(VENDOR, price_configured=True), "2K", outcome(usage=USAGE)) == Cost(
        Decimal("0.101"), "catalogue"
    )


def test_usage_at_the_vendors_token_prices_counts_every_kind_of_token() -> None:
    cost = cost_of(VENDOR, "1K", outcome(usage=USAGE))
    # (1000 × 0.50 + 2000 × 0.60 + (300 + 700) × 3 + 1120 × 60) / 1,000,000
    assert cost == Cost(Decimal("0.0719"), "usage")


def test_input_images_cost_as_much_as_text_where_no_price_of_their_own_is_known() -> None:
    prices = {name: price for name, price in VENDOR.token_prices.items() if name != "input_image"}
    cost = cost_of(
        replace(VENDOR, token_prices=prices), "1K", outcome(usage=Usage(input_image=1000, output_image=1000))
    )
    assert cost == Cost(Decimal("0.0605"), "usage")


def test_usage_counts_only_on_the_vendors_own_hosts() -> None:
    assert cost_of(replace(VENDOR, vendor_host=False), "1K", outcome(usage=USAGE)) == Cost(
        Decimal("0.067"), "catalogue"
    )


def test_usage_that_does_not_tell_the_image_tokens_is_not_relied_on() -> None:
    assert cost_of(VENDOR, "1K", outcome(usage=Usage(total=2000))) == Cost(Decimal("0.067"), "catalogue")


def test_the_catalogue_counts_the_images_that_were_asked_for_or_came() -> None:
    three = outcome(parts=tuple(Part(image=image()) for _ in range(3)))
    assert cost_of(VENDOR, "1K", three, images=1) == Cost(Decimal("0.201"), "catalogue")
    assert cost_of(VENDOR, "1K", outcome(billed="maybe", parts=()), images=2) == Cost(Decimal("0.134"), "catalogue")


def test_what_was_provably_not_processed_costs_nothing() -> None:
    assert cost_of(VENDOR, "1K", outcome(billed="no", reported_cost=Decimal(1), usage=USAGE)) is None


def attempt(cost: Cost | None) -> Attempt:
    return Attempt(lane="a/b", size="1K", outcome="ok", billed="yes", cost=cost)


@pytest.mark.parametrize(
    ("costs", "basis"),
    [
        ([], "catalogue"),
        ([Cost(Decimal(1), "reported"), None], "reported"),
        ([Cost(Decimal(1), "reported"), Cost(Decimal(1), "usage")], "usage"),
        ([Cost(Decimal(1), "usage"), Cost(Decimal(1), "catalogue"), Cost(Decimal(1), "reported")], "catalogue"),
    ],
)
def test_a_total_is_as_certain_as_its_least_certain_part(costs: list[Cost | None], basis: str) -> None:
    assert total(map(attempt, costs)) == Cost(Decimal(len([cost for cost in costs if cost])), basis)  # type: ignore[arg-type]


def test_money_is_added_exactly() -> None:
    assert total(attempt(Cost(Decimal("0.1"), "reported")) for _ in range(3)).usd == Decimal("0.3")


def test_failures_that_are_billed_make_a_delivered_image_dearer() -> None:
    assert expected_cost(VENDOR, "1K", markup(1.0, 1.0)) == Decimal("0.067")
    assert expected_cost(VENDOR, "1K", markup(0.5, 0.5)) == Decimal("0.1005")
    assert expected_cost(VENDOR, "1K", markup(0.5, 1.0)) == Decimal("0.134")
    assert expected_cost(VENDOR, "1K", markup(0.5, 0.0)) == Decimal("0.067")


shares = st.floats(0.01, 1)


@given(shares, shares, shares, shares)
def test_a_lane_that_fails_or_bills_more_is_never_expected_to_be_cheaper(
    a: float, b: float, c: float, d: float
) -> None:
    (worse, better), (free, billed) = sorted((a, b)), sorted((c, d))
    assert expected_cost(VENDOR, "1K", markup(worse, billed)) >= expected_cost(VENDOR, "1K", markup(better, free))


def test_a_relays_configured_price_is_what_its_images_cost() -> None:
    painters = studio(first=relay(lane(price={"1K": 0.05}, sizes=("1K",))))
    painters.script("first", draws(usage=USAGE))
    assert painters.draw().cost == Cost(Decimal("0.05"), "catalogue")


def test_on_the_vendors_host_the_usage_is_what_an_image_costs() -> None:
    painters = studio(google={"kind": "google", "api_key": "key-1"})
    painters.script("google", draws(usage=Usage(output_image=1120)))
    assert painters.draw(model="gemini-3.1-flash-image").cost == Cost(Decimal("0.0672"), "usage")
