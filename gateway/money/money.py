"""What an attempt costs, in USD: a pure function of who said what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from gateway.result import Attempt, Cost, CostBasis
from gateway.router.lanes import Lane
from providers.outcome import Outcome, Usage
from providers.sizes import Size

BATCH_SHARE: Final = Decimal("0.5")
"""What a token costs in a batch, of its usual price: Google's and OpenAI's price lists, checked 2026-05-30."""

_MILLION: Final = Decimal(1_000_000)
_CENT_MILLIONTH: Final = Decimal("0.000001")


def dollars(amount: Decimal) -> str:
    """*amount* in USD as people write it: ``$0.15``, ``$0.0336``, ``$12.00``."""
    whole, _, fraction = f"{amount:f}".partition(".")
    return f"${whole}.{fraction.rstrip('0'):0<2}"


def price(lane: Lane, size: Size) -> Decimal:
    """The list price of one image in USD."""
    return lane.prices[size]


def in_batches(lane: Lane) -> Lane:
    """*lane* as it serves the lines of a batch: at its batch prices, and at the sizes that have one."""
    return replace(
        lane,
        prices=lane.batch_prices,
        sizes=tuple(size for size in lane.sizes if size in lane.batch_prices),
        token_prices={kind: price * BATCH_SHARE for kind, price in lane.token_prices.items()},
    )


def markup(success_rate: float, billed_share: float) -> float:
    """How many times its price a delivered image is expected to cost, given the failures before it.

    *success_rate* is the share of attempts that deliver, *billed_share* that of the others which are billed all the same.
    """
    return 1 + billed_share * (1 - success_rate) / success_rate


def expected_cost(lane: Lane, size: Size, markup: float) -> Decimal:
    """USD per delivered image: the price, and what the failures before it are likely to cost."""
    return (lane.prices[size] * Decimal(f"{markup:.6f}")).quantize(_CENT_MILLIONTH)


def cost_of(lane: Lane, size: Size, outcome: Outcome, images: int = 1) -> Cost | None:
    """What an attempt for *images* images did or may have cost; None if it was provably free.

    The upstream's own figure counts first, then a price configured for the lane, then token usage at the vendor's prices
    on the vendor's own hosts, then the catalogue.
    """
    if outcome.billed == "no":
        return None
    if outcome.reported_cost is not None:
        return Cost(outcome.reported_cost, "reported")
    used = _usage_cost(lane, outcome.usage) if lane.vendor_host and not lane.price_configured else None
    if used is not None:
        return Cost(used, "usage")
    return Cost(price(lane, size) * max(images, len(outcome.images)), "catalogue")


def total(attempts: Iterable[Attempt]) -> Cost:
    """What all *attempts* together did or may have cost; the basis is the least certain of them."""
    costs = [attempt.cost for attempt in attempts if attempt.cost is not None]
    bases = {cost.basis for cost in costs}
    basis: CostBasis = "catalogue" if "catalogue" in bases or not bases else "usage" if "usage" in bases else "reported"
    return Cost(sum((cost.usd for cost in costs), Decimal(0)), basis)


def _usage_cost(lane: Lane, usage: Usage | None) -> Decimal | None:
    """USD by token prices; None unless the image tokens, by far the largest part, are told."""
    if usage is None or usage.output_image is None or "output_image" not in lane.token_prices:
        return None
    prices = lane.token_prices
    text_out = prices.get("output_text", Decimal(0))
    parts = (
        (usage.output_image, prices["output_image"]),
        (usage.output_text, text_out),
        (usage.thoughts, text_out),
        (usage.input_text, prices.get("input_text", Decimal(0))),
        (usage.input_image, prices.get("input_image", prices.get("input_text", Decimal(0)))),
    )
    return sum((Decimal(tokens) * each for tokens, each in parts if tokens), Decimal(0)) / _MILLION
