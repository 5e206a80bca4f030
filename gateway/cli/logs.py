"""Logging, which the command line alone configures: to stderr, and only what somebody wants to see."""

from __future__ import annotations

import sys

from gateway.events import LOGGER_NAME


def configure(verbose: bool) -> None:
    """Send log entries to stderr if *verbose*, otherwise nowhere: commands say themselves what there is to say."""
    import logging

    if not verbose:
        # Without any handler Python prints warnings of its own accord.
        logging.getLogger(LOGGER_NAME).addHandler(logging.NullHandler())
        return
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
