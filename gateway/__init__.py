"""image-gateway: one call for an image, whoever draws it.

>>> from gateway import Gateway
>>> with Gateway.from_config("gateway.toml") as gateway:                                          # doctest: +SKIP
...     result = gateway.generate("A launch poster that says HELLO", size="4K", aspect_ratio="16:9")
...     result.save("poster")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

import providers as _providers

if getattr(_providers, "DISTRIBUTION", None) != "image-gateway":
    _where = getattr(_providers, "__file__", None) or next(iter(_providers.__path__))
    raise ImportError(
        f"image-gateway needs its own package 'providers', but 'import providers' finds {_where}: "
        "rename that folder or module, or take its parent off the import path"
    )

if TYPE_CHECKING:
    from gateway.client import AsyncGateway
    from gateway.clock import Clock as Clock
    from gateway.events import Listener as Listener
    from gateway.health.health import LaneHealth
    from gateway.request import ImageRequest, ProviderPreferences
    from gateway.result import Attempt, Cost, ImageResult
    from gateway.router.plan import Candidate, Exclusion, Plan
    from gateway.sync import Gateway
    from providers.errors import (
        AllAttemptsFailed,
        BudgetExceeded,
        ConfigError,
        ContentBlocked,
        DeadlineExceeded,
        GatewayError,
        InvalidRequest,
        NoLaneAvailable,
        OutcomeUnknown,
    )
    from providers.images import GeneratedImage, ReferenceImage

_HOMES: Final = {
    "gateway.client": ("AsyncGateway",),
    "gateway.clock": ("Clock",),
    "gateway.events": ("Listener",),
    "gateway.sync": ("Gateway",),
    "gateway.health.health": ("LaneHealth",),
    "gateway.router.plan": ("Candidate", "Exclusion", "Plan"),
    "gateway.request": ("ImageRequest", "ProviderPreferences"),
    "gateway.result": ("Attempt", "Cost", "ImageResult"),
    "providers.errors": (
        "AllAttemptsFailed", "BudgetExceeded", "ConfigError", "ContentBlocked", "DeadlineExceeded", "GatewayError",
        "InvalidRequest", "NoLaneAvailable", "OutcomeUnknown",
    ),
    "providers.images": ("GeneratedImage", "ReferenceImage"),
}  # fmt: skip
"""The module in which each public name lives, and each that stands in a signature of the two classes. It is loaded with the
first use of one of its names: pydantic alone takes longer to import than a command line takes to print its help."""

_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "AllAttemptsFailed",
    "AsyncGateway",
    "Attempt",
    "BudgetExceeded",
    "Candidate",
    "ConfigError",
    "ContentBlocked",
    "Cost",
    "DeadlineExceeded",
    "Exclusion",
    "Gateway",
    "GatewayError",
    "GeneratedImage",
    "ImageRequest",
    "ImageResult",
    "InvalidRequest",
    "LaneHealth",
    "NoLaneAvailable",
    "OutcomeUnknown",
    "Plan",
    "ProviderPreferences",
    "ReferenceImage",
]
