"""The errors a user of the gateway can meet.

::

    GatewayError
    ├── ConfigError           the configuration is wrong; names the file, the key path and what was expected
    ├── InvalidRequest        the request is wrong, or every lane refused it as such
    ├── NoLaneAvailable       nothing may serve the request now; carries the plan with its reasons
    ├── AllAttemptsFailed     lanes were tried and none delivered
    ├── ContentBlocked        the model refused the content
    ├── DeadlineExceeded      the time ran out, or could not suffice
    ├── BudgetExceeded        the money would not suffice
    └── OutcomeUnknown        an earlier call under this idempotency key ended without a known outcome

All of them pickle, and no message holds a key, a header or a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from providers.images import GeneratedImage


class GatewayError(Exception):
    """The base of all errors of the gateway.

    *attempts* are the calls that were made, *images* what was paid for without meeting the request, and *retry_after*
    the seconds after which another try makes sense, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        attempts: tuple[Any, ...] = (),
        images: tuple[GeneratedImage, ...] = (),
        retry_after: float | None = None,
        plan: Any = None,
    ) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.images = images
        self.retry_after = retry_after
        self.plan = plan


class ConfigError(GatewayError):
    """The configuration cannot be used."""


class InvalidRequest(GatewayError, ValueError):  # noqa: N818 - the contract's name
    """The request cannot be served as it stands."""


class NoLaneAvailable(GatewayError):  # noqa: N818
    """No lane may serve this request now; ``plan.excluded`` says why for each."""


class AllAttemptsFailed(GatewayError):  # noqa: N818
    """Every lane that was tried failed."""


class ContentBlocked(GatewayError):  # noqa: N818
    """The model refused to draw this; by default no other lane is asked."""


class DeadlineExceeded(GatewayError):  # noqa: N818
    """The request's deadline passed, or no lane could have met it."""


class BudgetExceeded(GatewayError):  # noqa: N818
    """The request's ``max_cost`` fits no lane, or is used up."""


class OutcomeUnknown(GatewayError):  # noqa: N818
    """An earlier call under the same idempotency key may have been charged, and how it ended is not known."""
