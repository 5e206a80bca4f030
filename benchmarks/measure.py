"""Runs contenders in fresh processes against one upstream, and holds what they report against the goals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks import contender
from benchmarks.planning import LIMITS

LITELLM: Final = Path(".peers/litellm/bin/python")
"""An environment with litellm in it (``make peers``); without it, litellm is left out."""

SDK_OF: Final = {"gateway, google": "google-genai", "gateway, openai": "openai", "gateway, chat": "openai chat"}
RECEIVERS: Final = (
    "google-genai", "gateway, google", "litellm, gemini", "openai", "gateway, openai", "litellm, openai",
    "litellm Router", "openai chat", "gateway, chat", "httpx2", "sockets",
)  # fmt: skip
GATEWAYS: Final = tuple(SDK_OF)
PAIRS: Final = tuple(name for pair in SDK_OF.items() for name in reversed(pair))
CROWDS: Final = (1, 16, 64, 256)
TOGETHER: Final = ("gateway, 8 lanes", "google-genai", "openai")
SOAK: Final = 100_000
OVERHEAD: Final = ("google-genai", "gateway, google", "litellm, gemini", "openai", "gateway, openai", "httpx2")
CALLS: Final = 100
_ONE_PROVIDER: Final = 'Gateway.from_config({"providers": {"google": {"kind": "google", "api_key": "k"}}})'
IMPORTS: Final = (
    "import gateway", "from gateway import Gateway", f"from gateway import Gateway; {_ONE_PROVIDER}",
    "import google.genai", "import openai",
)  # fmt: skip
MIB: Final = 2**20


class Case(NamedTuple):
    """A *job* of :mod:`benchmarks.contender`, over a *channel* (plain or TLS)."""

    job: str
    channel: str
    size: str
    number: int

    def __str__(self) -> str:
        return f"{self.job} {self.size} {self.channel} ×{self.number}"


PLAIN: Final = Case("receive", "plain", "4K", 1)
"""The case that most goals are about."""
QUICK: Final = (
    PLAIN,
    Case("save", "plain", "4K", 1),
    Case("send", "plain", "4K", 1),
    Case("tiny", "plain", "1K", CALLS),
)
ALL: Final = (
    Case("receive", "plain", "1K", 1), Case("receive", "plain", "1K", 8),
    Case("receive", "plain", "2K", 1), Case("receive", "TLS", "2K", 1),
    *(Case("receive", channel, "4K", number) for channel in ("plain", "TLS") for number in (1, 8)),
    Case("check", "plain", "4K", 1), Case("save", "plain", "4K", 1), Case("save", "TLS", "4K", 1),
    Case("send", "plain", "4K", 1), Case("send", "plain", "4K", 3), Case("tiny", "plain", "1K", CALLS),
    *(Case("crowd", "plain", "1K", number) for number in CROWDS), Case("soak", "plain", "1K", SOAK),
)  # fmt: skip
ASKED: Final = {
    "receive": RECEIVERS, "check": GATEWAYS, "save": GATEWAYS, "send": PAIRS, "tiny": OVERHEAD,
    "crowd": TOGETHER, "soak": TOGETHER[:1],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one contender in one case, all for one image (or one call).

    *cpu* and *wall* in ms, *peak* above the baseline in MiB, *peak_ratio* to the images' bytes, *stall* in ms. *again* is
    the CPU of sending the same once more. *cpu_ratio* is to the SDK that does the same, where there is one.
    """

    case: str
    contender: str
    cpu: float
    wall: float
    peak: float
    peak_ratio: float
    stall: float
    again: float | None = None
    cpu_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the goals: *value* has to be at most *gate*, and would like to be at most *aim*."""

    name: str
    contender: str
    value: float
    gate: float
    aim: float

    @property
    def verdict(self) -> str:
        return "aim" if self.value <= self.aim else "gate" if self.value <= self.gate else "NO"


def rows(cases: Iterable[Case], runs: int) -> Iterator[Row]:
    """All rows; the contenders take turns, so that a machine that slows down slows down all of them."""
    with _upstream() as addresses:
        for case in cases:
            contenders = [name for name in ASKED[case.job] if not name.startswith("litellm") or LITELLM.exists()]
            samples: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
            for _ in range(1 if case.job == "soak" else runs):
                for name in contenders:
                    samples[name].append(_sample(case, name, addresses))
            yield from _rows(case, {name: _middle(taken) for name, taken in samples.items()})


def imports(runs: int) -> dict[str, float]:
    """Milliseconds that each statement takes in a fresh interpreter."""
    taken: dict[str, list[float]] = {statement: [] for statement in IMPORTS}
    for _ in range(runs):
        for statement, times in taken.items():
            code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
            )
            times.append(float(done.stdout) * 1000)
    return {statement: median(times) for statement, times in taken.items()}


def goals(table: list[Row], imported: dict[str, float], planned: dict[int, dict[str, float]]) -> Iterator[Goal]:
    """What was hoped for, as far as *table*, *imported* (ms) and *planned* (µs by lanes and kind of plan) tell."""
    found = {(row.case, row.contender): row for row in table}
    yield from _together(found)
    for row in table:
        if row.contender not in SDK_OF:
            continue
        if row.case == str(PLAIN):
            yield from _receiving(row, found)
        if row.case.startswith("save") and "plain" in row.case:
            yield Goal("peak memory, saved to a file, MiB", row.contender, row.peak, 4, 1)
        if row.case.startswith("send") and row.cpu_ratio is not None:
            yield Goal(f"{row.case}: CPU over the SDK's", row.contender, row.cpu_ratio, 0.35, 0.35)
            yield Goal(f"{row.case}: peak memory over the images", row.contender, row.peak_ratio, 1.5, 1.5)
        if row.case.startswith("tiny"):
            added = (row.cpu - found[row.case, SDK_OF[row.contender]].cpu) * 1000
            yield Goal("CPU added to the bare SDK call, tiny answer, µs", row.contender, added, 400, 0)
    for count, (gate, aim) in LIMITS.items():
        for kind, taken in planned[count].items():
            yield Goal(f"plan with {count:,} lanes, µs", kind, taken, gate, aim)
    yield Goal("import gateway, ms", "import gateway", imported["import gateway"], 250, 80)
    yield Goal("import gateway, ms", "from gateway import Gateway", imported["from gateway import Gateway"], 250, 80)


def _together(found: dict[tuple[str, str], Row]) -> Iterator[Goal]:
    name = TOGETHER[0]
    alone, crowd = (found.get((f"crowd 1K plain ×{number}", name)) for number in (1, CROWDS[-1]))
    if alone and crowd:
        yield Goal(f"longest stall, {CROWDS[-1]} at once, ms", name, crowd.stall, 15, 15)
        yield Goal(
            f"CPU of a request, {CROWDS[-1]} at once over one at a time", name, crowd.cpu / alone.cpu, 1.25, 1.05
        )
    soak = found.get((f"soak 1K plain ×{SOAK}", name))
    if soak:
        yield Goal(f"growth of memory over {SOAK:,} requests, MiB", name, soak.peak, 4, 1)


def _receiving(row: Row, found: dict[tuple[str, str], Row]) -> Iterator[Goal]:
    name = row.contender
    assert row.cpu_ratio is not None
    yield Goal("CPU over the SDK's own path", name, row.cpu_ratio, 0.45, 0.15)
    check = found.get((str(PLAIN).replace("receive", "check"), name))
    if check is not None:
        sdk = found[row.case, SDK_OF[name]]
        yield Goal("the same, without going through the pixels", name, (row.cpu - check.cpu) / sdk.cpu, 0.45, 0.15)
    rival, gate, aim = ("litellm, gemini", 0.40, 0.15) if "google" in name else ("litellm, openai", 0.25, 0.10)
    for other, most, wish in ((rival, gate, aim), ("sockets", 4.5, 1.3)):
        if (row.case, other) in found:
            yield Goal(f"CPU over {other}", name, row.cpu / found[row.case, other].cpu, most, wish)
    image = row.peak / row.peak_ratio
    yield Goal("peak memory over the image", name, row.peak_ratio, 1.25 + 3 / image, 1.05)
    yield Goal("longest stall, ms", name, row.stall, 15, 2)


def _rows(case: Case, middle: dict[str, dict[str, float]]) -> Iterator[Row]:
    for name, taken in middle.items():
        each = contender.CALLS if case.job == "crowd" else case.number if case.job in ("receive", "tiny", "soak") else 1
        weight = taken["image"] * (case.number if case.job == "receive" else 1)
        sdk = middle.get(SDK_OF.get(name, ""))
        yield Row(
            case=str(case),
            contender=name,
            cpu=taken["cpu"] * 1000 / each,
            wall=taken["wall"] * 1000 / each,
            peak=taken["peak"] / MIB,
            peak_ratio=taken["peak"] / weight,
            stall=taken["stall"] * 1000,
            again=taken["again"] * 1000 if "again" in taken else None,
            cpu_ratio=taken["cpu"] / sdk["cpu"] if sdk else None,
        )


def _middle(taken: list[dict[str, float]]) -> dict[str, float]:
    return {key: median(sample[key] for sample in taken) for key in taken[0]}


class _Addresses(NamedTuple):
    plain: str
    secure: str
    authority: str


@contextmanager
def _upstream() -> Iterator[_Addresses]:
    """The upstream, on the last core."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.upstream", folder]
        with subprocess.Popen([*_pinned(-1), *command], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            plain, secure, authority = process.stdout.readline().split()
            try:
                yield _Addresses(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}", authority)
            finally:
                process.terminate()


def _sample(case: Case, name: str, addresses: _Addresses) -> dict[str, float]:
    """One run in a process of its own, on the first core."""
    python = str(LITELLM) if name.startswith("litellm") else sys.executable
    url = addresses.plain if case.channel == "plain" else addresses.secure
    command = [python, "-m", "benchmarks.contender", case.job, name, url, case.size, str(case.number)]
    environment = {**os.environ, "SSL_CERT_FILE": addresses.authority, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [*_pinned(0), *command],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _pinned(core: int) -> list[str]:
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core])]


def as_dicts(items: Iterable[Row | Goal]) -> list[dict[str, Any]]:
    return [asdict(item) for item in items]
