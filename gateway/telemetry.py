"""OpenTelemetry for a gateway: a span for each request, one below it for each attempt, and metrics. Extra ``otel``.

Names follow the semantic conventions for generative AI where those have one; what is this gateway's own begins with
``image_gateway.``. Only the API of OpenTelemetry is used: where spans and metrics go is the application's choice.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from gateway.configuration.config import Config
from gateway.events import AttemptEnded, AttemptStarted, Event, LaneChanged, Listener, RequestEnded, RequestStarted
from providers.errors import ConfigError
from providers.outcome import Usage

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
except ModuleNotFoundError as error:
    raise ConfigError("gateway.telemetry needs OpenTelemetry: pip install image-gateway[otel]") from error

SCOPE: Final = "image_gateway"
"""The instrumentation scope of all spans and metrics."""

PROVIDER_NAMES: Final[Mapping[str, str]] = {"google": "gcp.gemini", "vertex": "gcp.vertex_ai", "openai": "openai"}
"""What the convention calls the wire of each kind; other kinds are called by their own name."""

DURATION_BUCKETS: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
"""Seconds; the convention's boundaries for ``gen_ai.client.operation.duration``."""
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
"""The convention's boundaries for ``gen_ai.client.token.usage``."""
REQUEST_BUCKETS: Final = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0)
"""Seconds; from the fastest lane at 512 to the longest deadlines in use."""

MAX_OPEN: Final = 10_000
"""Spans that wait for their end at once. Beyond it the oldest are ended: whoever began them is gone."""

Attributes = dict[str, str | int | float | bool | tuple[str, ...]]


class Observed(Protocol):
    """What can be instrumented: both gateways."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        ...

    def on_event(self, listener: Listener) -> Callable[[], None]:
        """Tell *listener* of every event until what is returned is called."""
        ...


def instrument(
    gateway: Observed, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Callable[[], None]:
    """Trace and measure what *gateway* does, until what is returned is called.

    None takes the providers that the application set globally. While an attempt is under way its span is the current
    one, so that spans of an instrumented HTTP client nest below it. Prompts are on the spans only if
    ``gateway.record_prompts`` is on.
    """
    spans = _Spans(trace.get_tracer(SCOPE, tracer_provider=tracer_provider), gateway)
    measures = _Measures(metrics.get_meter(SCOPE, meter_provider=meter_provider), gateway)
    subscriptions = (gateway.on_event(spans), gateway.on_event(measures))

    def undo() -> None:
        for unsubscribe in subscriptions:
            unsubscribe()
        spans.end_all()

    return undo


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """A span that has not ended. *outer* was the current context before it; *prompt* is that of its request."""

    span: Span
    outer: Context
    prompt: str | None


_OPEN: Final = context.create_key("image_gateway.open")
"""Under this key the context holds the :class:`_Open` it is in."""


class _Spans:
    """Makes spans of events."""

    def __init__(self, tracer: Tracer, gateway: Observed) -> None:
        self._tracer = tracer
        self._gateway = gateway
        self._lock = threading.Lock()
        self._open: dict[tuple[str, int], _Open] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case RequestStarted():
                self._start_request(event)
            case AttemptStarted():
                self._start_attempt(event)
            case AttemptEnded():
                self._end_attempt(event)
            case RequestEnded():
                self._end((event.request_id, 0), event.outcome, "", _delivered(event))

    def end_all(self) -> None:
        """End the spans whose end will not be told any more."""
        with self._lock:
            left, self._open = list(self._open.values()), {}
        for opened in left:
            opened.span.end()

    def _start_request(self, event: RequestStarted) -> None:
        span = self._tracer.start_span("image_request", attributes=_asked(event))
        self._enter((event.request_id, 0), _Open(span, context.get_current(), event.prompt))

    def _start_attempt(self, event: AttemptStarted | AttemptEnded) -> None:
        current, request = context.get_current(), self._open.get((event.request_id, 0))
        attributes = _call(event, self._gateway.config)
        prompt = request.prompt if request else None
        span = self._tracer.start_span(
            f"{attributes['gen_ai.operation.name']} {attributes['gen_ai.request.model']}",
            context=trace.set_span_in_context(request.span, current) if request else current,
            kind=SpanKind.CLIENT,
            attributes={**attributes, **_numbered(event), **_messages(prompt)},
        )
        self._enter((event.request_id, event.number), _Open(span, current, prompt))

    def _end_attempt(self, event: AttemptEnded) -> None:
        key = (event.request_id, event.number)
        if key not in self._open:  # it ended before its call went out
            self._start_attempt(event)
        self._end(key, event.outcome, event.detail, _paid(event))

    def _enter(self, key: tuple[str, int], opened: _Open) -> None:
        with self._lock:
            self._open[key] = opened
            lost = self._open.pop(next(iter(self._open))) if len(self._open) > MAX_OPEN else None
        context.attach(trace.set_span_in_context(opened.span, context.set_value(_OPEN, opened, opened.outer)))
        if lost is not None:
            _finish(lost.span, "_OTHER", "its end was never told")

    def _end(self, key: tuple[str, int], outcome: str, detail: str, attributes: Attributes) -> None:
        with self._lock:
            opened = self._open.pop(key, None)
        if opened is not None:
            _leave(opened)
            opened.span.set_attributes(attributes)
            _finish(opened.span, outcome, detail)


def _leave(opened: _Open) -> None:
    """Make current again what was so before *opened*, if this context is in it.

    Detaching would log an error where a call that was given up is ended from another context than began it.
    """
    inner = context.get_value(_OPEN)
    while isinstance(inner, _Open):
        if inner is opened:
            context.attach(opened.outer)
            return
        inner = context.get_value(_OPEN, inner.outer)


def _finish(span: Span, outcome: str, detail: str) -> None:
    if outcome != "ok":
        span.set_attribute("error.type", outcome)
        span.set_status(Status(StatusCode.ERROR, detail or None))
    span.end()


class _Measures:
    """Makes metrics of events."""

    def __init__(self, meter: Meter, gateway: Observed) -> None:
        self._gateway = gateway
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )  # fmt: skip
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )  # fmt: skip
        self._requests = meter.create_histogram(
            "image_gateway.request.duration", "s", "Duration of requests, all attempts included.",
            explicit_bucket_boundaries_advisory=REQUEST_BUCKETS,
        )  # fmt: skip
        self._cost = meter.create_counter(
            "image_gateway.cost", "{USD}", "What attempts did or may have cost, by whether they were billed."
        )
        self._images = meter.create_counter("image_gateway.images", "{image}", "Images delivered.")
        self._lane = meter.create_gauge(
            "image_gateway.lane.state", "1", "1 for the state a lane went to last, 0 for the one it left."
        )

    def __call__(self, event: Event) -> None:
        match event:
            case AttemptEnded():
                self._measure_attempt(event)
            case RequestEnded():
                self._measure_request(event)
            case LaneChanged():
                for state, value in ((event.state_before, 0), (event.state_after, 1)):
                    self._lane.set(value, {"image_gateway.lane": event.lane, "image_gateway.state": state})

    def _measure_attempt(self, event: AttemptEnded) -> None:
        call = _call(event, self._gateway.config)
        self._duration.record(event.seconds, {**call, **_error(event.outcome)})
        for kind, tokens in _token_types(event.usage).items():
            self._tokens.record(tokens, {**call, "gen_ai.token.type": kind})
        if event.usd is not None:
            self._cost.add(float(event.usd), {**call, "image_gateway.billed": event.billed})

    def _measure_request(self, event: RequestEnded) -> None:
        asked: Attributes = {"image_gateway.size": event.requested_size}
        self._requests.record(event.seconds, {**asked, **_error(event.outcome)})
        if event.images:
            got = _known({"image_gateway.lane": event.lane, "image_gateway.size": event.size})
            self._images.add(event.images, {**got, "image_gateway.downgraded": event.downgraded})


def _asked(event: RequestStarted) -> Attributes:
    return {
        **_known(
            {
                "image_gateway.request_id": event.request_id,
                "image_gateway.requested_size": event.size,
                "image_gateway.requested_images": event.n,
                "image_gateway.requested_model": event.model,
                "image_gateway.task": event.task,
                "image_gateway.quality": event.quality,
            }
        ),
        **{f"image_gateway.tag.{name}": value for name, value in event.tags.items()},
    }


def _call(event: AttemptStarted | AttemptEnded, config: Config) -> Attributes:
    """What spans and metrics say of the call that *event* is about; a lane that is not configured any more says less."""
    provider = config.providers.get(event.provider)
    settings = provider.settings[0] if provider is not None and provider.settings else None
    kind = settings.kind if settings is not None else event.provider
    models = (lane.upstream_model for lane in config.lanes if lane.name == event.lane)
    return {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": PROVIDER_NAMES.get(kind, kind),
        "gen_ai.request.model": next(models, event.model),
        "image_gateway.lane": event.lane,
        "image_gateway.size": event.size,
        **_server(settings.base_url if settings is not None else None),
    }


def _server(base_url: str | None) -> Attributes:
    """Where calls go, if the configuration says so: host and port, nothing else of the address."""
    address = urlsplit(base_url or "")
    if address.hostname is None:
        return {}
    return {
        "server.address": address.hostname,
        "server.port": address.port or (80 if address.scheme == "http" else 443),
    }


def _numbered(event: AttemptStarted | AttemptEnded) -> Attributes:
    images = event.images if isinstance(event, AttemptStarted) else 1
    return _known(
        {
            "gen_ai.output.type": "image",
            "gen_ai.request.choice.count": images if images != 1 else None,
            "image_gateway.request_id": event.request_id,
            "image_gateway.attempt": event.number,
        }
    )


def _messages(prompt: str | None) -> Attributes:
    if prompt is None:
        return {}
    message = {"role": "user", "parts": [{"type": "text", "content": prompt}]}
    return {"gen_ai.input.messages": json.dumps([message], ensure_ascii=False)}


def _paid(event: AttemptEnded) -> Attributes:
    tokens = _token_types(event.usage)
    return _known(
        {
            "gen_ai.usage.input_tokens": tokens.get("input"),
            "gen_ai.usage.output_tokens": tokens.get("output"),
            "gen_ai.usage.reasoning.output_tokens": event.usage.thoughts if event.usage else None,
            "image_gateway.billed": event.billed,
            "image_gateway.cost.usd": float(event.usd) if event.usd is not None else None,
            "image_gateway.cost.basis": event.basis,
            "image_gateway.retry_after": event.retry_after,
        }
    )


def _delivered(event: RequestEnded) -> Attributes:
    return _known(
        {
            "image_gateway.lane": event.lane,
            "image_gateway.size": event.size,
            "image_gateway.downgraded": event.downgraded,
            "image_gateway.images": event.images,
            "image_gateway.cached": event.cached,
            "image_gateway.attempts": event.attempts,
            "image_gateway.cost.usd": float(event.usd) if event.usd is not None else None,
            "image_gateway.cost.total_usd": float(event.total_usd),
        }
    )


def _token_types(usage: Usage | None) -> dict[str, int]:
    """Tokens by the convention's types, as far as the upstream reported them; thoughts count as output."""
    if usage is None:
        return {}
    kinds = {
        "input": (usage.input_text, usage.input_image),
        "output": (usage.output_text, usage.output_image, usage.thoughts),
    }
    counted = {kind: [count for count in counts if count is not None] for kind, counts in kinds.items()}
    return {kind: sum(counts) for kind, counts in counted.items() if counts}


def _error(outcome: str) -> Attributes:
    return {} if outcome == "ok" else {"error.type": outcome}


def _known(attributes: Mapping[str, str | int | float | bool | tuple[str, ...] | None]) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
