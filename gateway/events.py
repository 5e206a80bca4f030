"""What the gateway tells its logs: one event per attempt and one per request, with stable names and no prompts."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

LOGGER_NAME: Final = "image_gateway"


def emit(event: str, **fields: Any) -> None:
    """Log *event* at info level.

    It goes through structlog as the application configured it. Where no application did, it goes to the standard library's
    logger ``image_gateway``, which stays silent by default: structlog's own default would print to standard output.
    """
    structlog = sys.modules.get("structlog")  # importing it takes as long as the rest of this package
    if structlog is not None and structlog.is_configured():
        structlog.get_logger(LOGGER_NAME).info(event, **fields)
    else:
        logging.getLogger(LOGGER_NAME).info("%s %s", event, fields)
