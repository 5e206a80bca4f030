"""OpenTelemetry's SDK with everything kept in memory, and how to read what it was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@dataclass
class Collected:
    """Where the spans and metrics of a test go."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Spans in the order in which they ended."""
        return self.exporter.get_finished_spans()

    @property
    def tree(self) -> list[str]:
        """``"parent > span"`` for each span, in the order in which they ended; a root has no parent."""
        names = {span.context.span_id: span.name for span in self.spans}
        parents = [names.get(span.parent.span_id, "?") if span.parent else "" for span in self.spans]
        return [f"{parent} > {span.name}" for parent, span in zip(parents, self.spans, strict=True)]

    def points(self, metric: str) -> list[Any]:
        """The data points of *metric*."""
        collected = self.reader.get_metrics_data()
        if collected is None:
            return []
        scopes = [scope for resource in collected.resource_metrics for scope in resource.scope_metrics]
        return [
            point
            for scope in scopes
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
        ]

    def values(self, metric: str, *by: str) -> Mapping[tuple[Any, ...], float]:
        """The value of a counter or gauge, or the sum of a histogram, by the attributes called *by*."""
        return {
            tuple(point.attributes.get(name) for name in by): point.value if hasattr(point, "value") else point.sum
            for point in self.points(metric)
        }

    def told(self) -> str:
        """Everything that was collected, as text."""
        metrics = self.reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans) + (metrics.to_json() if metrics else "")
