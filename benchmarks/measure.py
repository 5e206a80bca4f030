"""Runs contenders in fresh processes against one simulator, and turns what they report into figures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from providers.simulator import Simulator, faults

IMAGE_BYTES = 21_400_000
"""The size of a real 4K answer's image."""

CONTENDERS = ("google-genai", "gateway-google", "openai", "gateway-openai")
IMPORTS = ("import gateway", "from gateway import Gateway")
SDK_OF = {"gateway-google": "google-genai", "gateway-openai": "openai"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: *value* of *contender*, and its *ratio* to what *reference* names."""

    name: str
    contender: str
    value: float
    unit: str
    reference: str
    ratio: float
    gate: float | None

    @property
    def shown(self) -> str:
        return f"{self.value:,.1f} {self.unit}"

    @property
    def verdict(self) -> str:
        return "" if self.gate is None else "yes" if self.ratio <= self.gate else "NO"

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "contender": self.contender, "value": self.value, "unit": self.unit,
            "reference": self.reference, "ratio": self.ratio, "gate": self.gate,
        }  # fmt: skip


def figures(runs: int) -> list[Figure]:
    """All figures; the contenders take turns, so that a machine that slows down slows down all of them."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    imports: dict[str, list[float]] = {statement: [] for statement in IMPORTS}
    refusing = [faults.overloaded(size="1K")]
    with Simulator() as small, Simulator(payload_bytes=IMAGE_BYTES, faults=refusing) as large:
        for _ in range(runs):
            for name in CONTENDERS:
                samples[name].append(_json_of("benchmarks.contender", name, small.url, large.url))
            for statement, taken in imports.items():
                taken.append(_run_import(statement))
    middle = {name: {key: median(run[key] for run in taken) for key in taken[0]} for name, taken in samples.items()}
    return [*_memory(middle), *_cpu(middle), *_stall(middle), *_imports(imports)]


def _memory(middle: dict[str, dict[str, float]]) -> Iterator[Figure]:
    for name, taken in middle.items():
        # The gate is 1.25 times the image and 3 MiB; as one ratio of the image that is so much:
        gate = 1.25 + 3 * 2**20 / taken["image"] if name in SDK_OF else None
        ratio = taken["peak"] / taken["image"]
        yield Figure("peak memory", name, taken["peak"] / 2**20, "MiB", "the image", ratio, gate and round(gate, 2))


def _cpu(middle: dict[str, dict[str, float]]) -> Iterator[Figure]:
    for name, taken in middle.items():
        sdk = SDK_OF.get(name, name)
        gate = 0.45 if name in SDK_OF else None
        yield Figure("CPU", name, taken["cpu"] * 1000, "ms", sdk, taken["cpu"] / middle[sdk]["cpu"], gate)


def _stall(middle: dict[str, dict[str, float]]) -> Iterator[Figure]:
    for name, taken in middle.items():
        gate = 1.0 if name in SDK_OF else None
        yield Figure("longest stall", name, taken["stall"] * 1000, "ms", "15 ms", taken["stall"] / 0.015, gate)


def _imports(taken: dict[str, list[float]]) -> Iterator[Figure]:
    for statement, seconds in taken.items():
        middle = median(seconds)
        yield Figure("import", statement, middle * 1000, "ms", "250 ms", middle / 0.25, 1.0)


def _run_import(statement: str) -> float:
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _json_of(module: str, *arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))
