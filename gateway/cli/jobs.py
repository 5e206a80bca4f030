"""What ``image-gateway batch`` does: jobs submitted from a file, looked at, fetched into a folder, cancelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import typer
from rich.console import RenderableType
from rich.text import Text

from gateway.batch.status import BatchStatus
from gateway.batch.submission import Terms
from gateway.cli import exits, files, json_output, tables, tally
from gateway.cli.consoles import stdout, visible, warn
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened_with_warnings
from gateway.cli.manifest import NAME, Entry, Manifest, ended, now
from gateway.cli.options import Common
from gateway.cli.request_files import read_requests
from gateway.client import AsyncGateway
from gateway.result import ImageResult
from providers.errors import ConfigError, GatewayError

STATE_STYLE: Final[Mapping[str, str]] = {"done": "green", "cancelled": "dim", "cancelling": "yellow"}

T = TypeVar("T")


def submit(file: str, terms: Mapping[str, Any], defaults: Mapping[str, Any], common: Common) -> None:
    """Send the lines of *file* off on these *terms*, with *defaults* where they do not say otherwise, and show the job."""
    with _lasting(common) as gateway:
        Terms(**terms)  # what is wrong with these is told before the file is read
        requests = read_requests(Path(file), defaults)
        made = _run(gateway, lambda: gateway.batch.submit(requests, **terms))
    _show(made, common)
    if not common.as_json:
        stdout().print(Text(f"→ image-gateway batch fetch {made.id} -o {made.id}", style="dim"), soft_wrap=True)
    if made.unconfirmed:
        warn(f"{made.unconfirmed:,} lines may not have arrived; fetching looks for them, and sends what is missing")
        raise typer.Exit(exits.UNCONFIRMED)


def status(job: str | None, common: Common) -> None:
    """Show how *job* is doing, or all jobs."""
    with _lasting(common) as gateway:
        if job is not None:
            _show(_run(gateway, lambda: gateway.batch.status(job)), common)
            return
        every = _run(gateway, gateway.batch.jobs)
    if common.as_json:
        json_output.write({"jobs": every})
    else:
        stdout().print(_table(every) if every else Text("There are no batch jobs."))


def cancel(job: str, common: Common) -> None:
    """Cancel *job*, and show how that leaves it."""
    with _lasting(common) as gateway:
        _show(_run(gateway, lambda: gateway.batch.cancel(job)), common)


def fetch(job: str, output: str, common: Common, *, wait: bool) -> None:
    """Save what comes of *job* into the folder *output*, and write it into the manifest there."""
    interrupted = False
    with _lasting(common) as gateway:
        known = _run(gateway, lambda: gateway.batch.status(job))
        quiet = common.as_json or common.verbose
        with (
            closing(Manifest.open(Path(output))) as manifest,
            tally.tallying(known.total, live=not quiet, quiet=quiet) as counted,
        ):
            fetching = _Fetching(gateway, known.id, manifest, counted)
            try:
                _run(gateway, lambda: fetching.run(wait))
            except KeyboardInterrupt:
                interrupted = True
    _conclude(known, fetching.entries, manifest, common)
    if interrupted:
        raise typer.Exit(exits.INTERRUPTED)
    if sum(entry.state == "done" for entry in fetching.entries) < known.total:
        raise typer.Exit(exits.FAILED)


class _Fetching:
    """The way of a job's results into the folder of *manifest*; *entries* is what has come so far."""

    def __init__(self, gateway: AsyncGateway, job: str, manifest: Manifest, counted: tally.Tally) -> None:
        self.entries: list[Entry] = []
        self._gateway = gateway
        self._job = job
        self._manifest = manifest
        self._counted = counted

    async def run(self, wait: bool) -> None:
        """Take in what comes."""
        async for key, what in self._gateway.batch.fetch(self._job, wait=wait):
            entry = await anyio.to_thread.run_sync(self._kept, key, what)
            self.entries.append(entry)
            self._counted.add(entry.state == "done", entry.cost, key, entry.message)

    def _kept(self, key: str, what: ImageResult | GatewayError) -> Entry:
        """Save the images of the line *key*, unless they are here from an earlier time."""
        manifest, asked = self._manifest, f"batch {self._job}"
        before = manifest.of(key, asked)
        if before is not None and before.state == "done" and manifest.is_intact(before):
            return before
        images = len(what.images) if isinstance(what, ImageResult) else 1
        stem = before.stem if before is not None else manifest.stem(_file_name(key), asked, images)
        target = files.Target(manifest.folder / stem, named=False)
        kept = []
        if isinstance(what, ImageResult):
            what.save(target.path)
        else:
            kept = files.save(what.images, target.rejected(), warn)
        begun = Entry(key=key, asked=asked, state="begun", at=now(), stem=stem)
        entry = ended(begun, manifest.folder, what, kept)
        manifest.end(entry)
        return entry


def _file_name(key: str) -> str:
    """What the files of the line *key* are called: its key, where that is a name."""
    plain = key[:1].isalnum() and len(key) <= 100 and all(each.isalnum() or each in "._- " for each in key)
    return key if plain else files.slug(key)


@contextmanager
def _lasting(common: Common) -> Iterator[AsyncGateway]:
    """The gateway, whose state has to outlive the command."""
    with reporting(common), opened_with_warnings(common) as gateway:
        if gateway.config.state == "memory":
            raise ConfigError("gateway.state: a batch outlives the command; expected sqlite:///path or redis://host/0")
        yield gateway


def _run(gateway: AsyncGateway, work: Callable[[], Awaitable[T]]) -> T:
    async def whole() -> T:
        async with gateway:
            return await work()

    return anyio.run(whole)


def _show(job: BatchStatus, common: Common) -> None:
    if common.as_json:
        json_output.write(json_output.plain(job))
    else:
        stdout().print(Text(visible(job)), soft_wrap=True)


def _table(jobs: Sequence[BatchStatus]) -> RenderableType:
    figures = ("lines", "done", "failed", "pending", "USD", "reserved")
    made = tables.table("job", "state", *figures, right=figures)
    for job in jobs:
        made.add_row(
            Text(visible(job.id)),
            Text(job.state, style=STATE_STYLE.get(job.state, "cyan")),
            *(Text(f"{number:,}") for number in (job.total, job.succeeded, job.failed, job.pending)),
            Text(tables.usd(job.settled)),
            Text(tables.usd(job.reserved)),
        )
    tables.keep_whole(made, "job", tables.MAX_NAME_BESIDE_HEALTH)
    return made


def _conclude(job: BatchStatus, entries: Sequence[Entry], manifest: Manifest, common: Common) -> None:
    good = sum(entry.state == "done" for entry in entries)
    bad = [entry for entry in entries if entry.state == "failed"]
    path = manifest.folder / NAME
    if common.as_json:
        json_output.write(
            {
                "id": job.id, "total": job.total, "done": good, "failed": len(bad),
                "pending": job.total - len(entries), "manifest": path,
                "failures": [{"key": each.key, "error": each.error, "message": each.message} for each in bad],
            }
        )  # fmt: skip
        return
    console = stdout()
    console.print(Text(f"{good:,} of {job.total:,} are in {visible(manifest.folder)}", style="bold"), soft_wrap=True)
    for kind, number in Counter(entry.error for entry in bad).most_common():
        console.print(Text(f"{number:,} × {kind}", style="red"), soft_wrap=True)
    console.print(Text(f"manifest: {visible(path)}"), soft_wrap=True)
    if len(entries) < job.total:
        console.print(Text(f"→ {job.total - len(entries):,} are not back yet; fetch again"), soft_wrap=True)
