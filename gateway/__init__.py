"""image-gateway: one call for an image, whoever draws it.

>>> from gateway import Gateway
>>> with Gateway.from_config("gateway.toml") as gateway:                                          # doctest: +SKIP
...     result = gateway.generate("A launch poster that says HELLO", size="4K", aspect_ratio="16:9")
...     result.save("poster")
"""

import providers as _providers

if getattr(_providers, "DISTRIBUTION", None) != "image-gateway":
    _where = getattr(_providers, "__file__", None) or next(iter(_providers.__path__))
    raise ImportError(
        f"image-gateway needs its own package 'providers', but 'import providers' finds {_where}: "
        "rename that folder or module, or take its parent off the import path"
    )

from gateway.client import AsyncGateway, Gateway
from gateway.health import LaneHealth
from gateway.plan import Candidate, Exclusion, Plan
from gateway.request import ImageRequest, ProviderPreferences
from gateway.result import Attempt, Cost, ImageResult
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
