"""The budget of one run: money is set aside before a request begins, and what it did not cost is given back after it.

What is set aside goes to the request as its ``max_cost``: that the chain never sends a call beyond it makes the budget exact.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from gateway.money.money import dollars
from gateway.request import MAX_COST, ImageRequest
from gateway.router.plan import Plan
from providers.errors import BudgetExceeded, InvalidRequest


class RunBudget:
    """*limit* is USD for the whole run; None: there is no limit."""

    def __init__(self, limit: Decimal | float | None) -> None:
        self.limit = None if limit is None else amount(limit)
        self.spent = Decimal(0)
        self._aside = Decimal(0)

    @property
    def left(self) -> Decimal:
        """USD that are neither spent nor set aside."""
        return (self.limit or Decimal(0)) - self.spent - self._aside

    def grant(self, request: ImageRequest, plan: Plan, max_attempts: int) -> Decimal | None:
        """USD set aside for *request*: the most it can cost along *plan*, or all that is left once nobody else holds any.

        None: others hold some, which they may give back.

        Raises:
            BudgetExceeded: nothing is left.
        """
        most = self._most(request, plan, max_attempts)
        if most > self.left:
            if self._aside:
                return None
            if self.left <= 0:
                raise self._exhausted()
            most = self.left
        self._aside += most
        return most

    def settle(self, grant: Decimal, spent: Decimal) -> None:
        """A request that held *grant* has ended, and cost so much."""
        self._aside -= grant
        self.spent += spent

    def explained(self, error: BudgetExceeded, grant: Decimal | None) -> BudgetExceeded:
        """*error*, unless it says that a request did not fit into what was left of this budget: then that is said."""
        alone = grant is not None and not error.attempts and grant == self._aside and not self.left
        return self._exhausted(error.plan) if alone else error

    def _most(self, request: ImageRequest, plan: Plan, max_attempts: int) -> Decimal:
        own = request.max_cost if request.max_cost is not None else Decimal(MAX_COST)
        if not plan.candidates:  # its lanes rest, and nobody knows which will serve it
            return own
        return min(own, max(step.expected_cost for step in plan.candidates) * request.n * max_attempts)

    def _exhausted(self, plan: Any = None) -> BudgetExceeded:
        return BudgetExceeded(
            f"the budget of {dollars(self.limit or Decimal(0))} for this run is used up: {dollars(self.spent)} is spent, "
            "and the rest does not cover this request; nothing was sent",
            plan=plan,
        )


def amount(budget: Decimal | float) -> Decimal:
    """A budget in USD.

    Raises:
        InvalidRequest: it is none.
    """
    if isinstance(budget, bool) or not isinstance(budget, int | float | Decimal):
        raise InvalidRequest("budget: expected an amount in USD, or None for no limit")
    amount = Decimal(repr(budget)) if isinstance(budget, float) else Decimal(budget)
    if not (amount.is_finite() and 0 < amount <= MAX_COST):
        raise InvalidRequest(f"budget: expected an amount above 0 and up to {MAX_COST:,} USD")
    return amount
