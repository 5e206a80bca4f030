"""OpenAI's Batch API, on the openai SDK: many calls of one endpoint as one job, at half price.

Requests go in a file of JSON lines, results come in two: what was answered, and what was not.

Limits: https://platform.openai.com/docs/guides/batch (2026).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread

from providers import openai_wire
from providers.adapter import settle
from providers.answers import Reply, mapping, objects, string
from providers.batch_calls import BatchCalls, number, one_model, recorded, unreadable, upload_time, write_lines
from providers.batch_results import LineSplitter, Result
from providers.batches import BatchAnswer, BatchLine, BatchProgress, BatchState, not_offered
from providers.dialects import Call
from providers.exchange import Exchange
from providers.failures import UpstreamError, classify
from providers.fetch import ImageFetcher
from providers.images import ReferenceImage
from providers.outcome import Outcome, OutcomeName
from providers.provider import ProviderSettings
from providers.request import UpstreamRequest
from providers.sanitise import sanitise

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LARGEST_FILE: Final = 200 * 10**6
"""Bytes of an input file."""
MOST_LINES: Final = 50_000
PAGE: Final = 100
"""Jobs on a page of the list; no more are to be had."""
MAX_PAGES: Final = 100
"""Pages looked through for a job, newest first."""

_ENDPOINTS: Final[Mapping[str, str]] = {
    "images.generate": "/v1/images/generations",
    "/images/edits": "/v1/images/edits",
    "chat.completions.create": "/v1/chat/completions",
}
"""The endpoints that draw and take batches, by the targets of a :class:`~providers.dialects.Call`."""

_STATES: Final[Mapping[str, BatchState]] = {
    "validating": "pending", "in_progress": "running", "finalizing": "running", "cancelling": "running",
    "completed": "succeeded", "failed": "failed", "cancelled": "cancelled", "expired": "expired",
}  # fmt: skip

_UNMADE: Final[Mapping[str, OutcomeName]] = {"batch_expired": "timeout", "batch_cancelled": "cancelled"}
"""Outcomes of lines that a job did not come to."""

_ID: Final = re.compile(r"[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class OpenAIAccess:
    """How an adapter gets at the API: the *root* of its address, the SDK's *client*, the *headers* of a call that the SDK
    does not make, and how a request would be *asked* by a call of its own, in JSON.
    """

    root: str
    client: Callable[[], Awaitable[AsyncOpenAI]]
    headers: Callable[[], Mapping[str, str]]
    asked: Callable[[UpstreamRequest], Call]


class OpenAIBatches:
    """See :class:`providers.batches.BatchProvider`."""

    def __init__(
        self, settings: ProviderSettings, access: OpenAIAccess, calls: BatchCalls, fetcher: ImageFetcher
    ) -> None:
        self._settings = settings
        self._access = access
        self._calls = calls
        self._fetcher = fetcher

    async def submit_batch(self, name: str, lines: Sequence[BatchLine], timeout: float) -> BatchProgress:  # noqa: ASYNC109
        """See :class:`providers.batches.BatchProvider`."""
        one_model(lines)
        if len(lines) > MOST_LINES:
            raise not_offered(f"the batch is over OpenAI's limit of {MOST_LINES} lines: make it several")
        endpoint = endpoint_of([self._access.asked(_without_bytes(line.request)) for line in lines])
        client = await self._access.client()
        file = await self._uploaded(client, name, lines, timeout)

        async def send() -> object:
            return await client.batches.with_raw_response.create(
                input_file_id=file,
                endpoint=endpoint,  # type: ignore[arg-type]
                completion_window="24h",
                metadata={"name": name},
                timeout=timeout,
            )

        progress = progress_of(await self._calls.ask(send, timeout, free=False))
        if not progress.id:
            raise unreadable("the answer does not name the job", "maybe")
        return progress

    async def find_batch(self, name: str, timeout: float) -> BatchProgress | None:  # noqa: ASYNC109
        """See :class:`providers.batches.BatchProvider`."""
        client, last = await self._access.client(), ""
        for _ in range(MAX_PAGES):

            async def send(after: dict[str, Any] = {"after": last} if last else {}) -> object:
                return await client.batches.with_raw_response.list(limit=PAGE, timeout=timeout, **after)

            document = await self._calls.ask(send, timeout)
            jobs = objects(document.get("data"))
            found = [job for job in jobs if mapping(job.get("metadata")).get("name") == name]
            last = string(jobs[-1].get("id")) if jobs and document.get("has_more") is True else ""
            if found or not last:
                return progress_of(found[0]) if found else None
        return None

    async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:  # noqa: ASYNC109
        """See :class:`providers.batches.BatchProvider`."""
        return progress_of(await self._job(batch_id, timeout))

    async def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:  # noqa: ASYNC109
        """See :class:`providers.batches.BatchProvider`."""
        job = await self._job(batch_id, timeout)
        if not progress_of(job).is_over:
            raise unreadable(f"{batch_id} is not over yet")
        for file in (string(job.get("output_file_id")), string(job.get("error_file_id"))):
            if not _ID.fullmatch(file):
                continue
            async with aclosing(self._results(file, timeout)) as results:
                async for result in results:
                    key, reply = read(result)
                    if key:
                        yield BatchAnswer(key, await self._settled(result, reply))

    async def cancel_batch(self, batch_id: str, timeout: float) -> None:  # noqa: ASYNC109
        """See :class:`providers.batches.BatchProvider`."""
        client = await self._access.client()

        async def send() -> object:
            return await client.batches.with_raw_response.cancel(batch_id, timeout=timeout)

        await self._calls.ask(send, timeout)

    async def _job(self, batch_id: str, timeout: float) -> Mapping[str, Any]:  # noqa: ASYNC109
        client = await self._access.client()

        async def send() -> object:
            return await client.batches.with_raw_response.retrieve(batch_id, timeout=timeout)

        job = await self._calls.ask(send, timeout)
        if string(job.get("id")) != batch_id:
            raise unreadable(f"the answer is not about {batch_id}")
        return job

    async def _uploaded(self, client: AsyncOpenAI, name: str, lines: Sequence[BatchLine], timeout: float) -> str:  # noqa: ASYNC109
        """The id of the file in which *lines* were uploaded."""
        folder = TemporaryDirectory(prefix="image-gateway-")
        try:
            path = Path(folder.name) / "requests.jsonl"
            size = await anyio.to_thread.run_sync(write_lines, self._written(lines), path, LARGEST_FILE)
            seconds = upload_time(size, timeout)
            with await anyio.to_thread.run_sync(path.open, "rb") as file:

                async def send() -> object:
                    return await client.files.with_raw_response.create(
                        file=(f"{name}.jsonl", file, "application/jsonl"), purpose="batch", timeout=seconds
                    )

                document = await self._calls.ask(send, seconds)
        finally:
            await anyio.to_thread.run_sync(folder.cleanup)
        file_id = string(document.get("id"))
        if not _ID.fullmatch(file_id):
            raise unreadable("the upload was not answered with the id of a file")
        return file_id

    def _written(self, lines: Iterable[BatchLine]) -> Iterator[bytes]:
        return (line_of(line.key, self._access.asked(line.request)) for line in lines)

    def _results(self, file: str, timeout: float) -> AsyncGenerator[Result]:
        address = (f"{self._access.root}/files/{file}/content", self._access.headers())
        return self._calls.results(LineSplitter(), address, timeout)

    async def _settled(self, result: Result, reply: Reply | Outcome) -> Outcome:
        outcome = await settle(reply, self._fetcher, self._settings)
        answered = mapping(result.document.get("response")).get("status_code") == 200
        return outcome if answered else replace(outcome, billed="no")


def endpoint_of(calls: Sequence[Call]) -> str:
    """The one endpoint that all *calls* go to.

    Raises:
        BatchRefused: they go to several, or to one that takes no batches.
    """
    targets = {call.target for call in calls}
    if len(targets) > 1:
        raise not_offered("a batch is for one endpoint: put requests with and without reference images into two")
    endpoint = _ENDPOINTS.get(next(iter(targets)))
    if endpoint is None:
        raise not_offered("the dialect of this provider draws by a call that OpenAI's Batch API does not take")
    return endpoint


def _without_bytes(request: UpstreamRequest) -> UpstreamRequest:
    """*request* as far as it says by which call it is asked."""
    return replace(request, images=tuple(ReferenceImage(b"-", image.mime_type) for image in request.images[:1]))


def line_of(key: str, call: Call) -> bytes:
    """*call* as a line of a file."""
    body = {name: value for name, value in call.arguments.items() if name not in ("extra_body", "stream")}
    body |= call.arguments.get("extra_body") or {}
    return json.dumps({"custom_id": key, "method": "POST", "url": _ENDPOINTS[call.target], "body": body}).encode()


def progress_of(job: Mapping[str, Any]) -> BatchProgress:
    """What OpenAI's ``batch`` object says."""
    counts = mapping(job.get("request_counts"))
    errors = objects(mapping(job.get("errors")).get("data"))
    return BatchProgress(
        id=string(job.get("id")),
        state=_STATES.get(string(job.get("status")), "running"),
        total=number(counts.get("total")) or None,
        succeeded=number(counts.get("completed")),
        failed=number(counts.get("failed")),
        detail=sanitise(string(errors[0].get("message"))) if errors else "",
    )


def read(result: Result) -> tuple[str, Reply | Outcome]:
    """The key of the line that *result* answers, and what it says."""
    document = result.document
    key, response, error = string(document.get("custom_id")), document.get("response"), mapping(document.get("error"))
    if isinstance(response, Mapping):
        status = number(response.get("status_code")) or 0
        return key, openai_wire.read(recorded(response.get("body"), result.images, status))
    return key, failed(error)


def failed(error: Mapping[str, Any]) -> Outcome:
    """The outcome of a line that was not tried, or came to no answer: it is not billed."""
    code, message = string(error.get("code")), string(error.get("message"))
    outcome = classify(Exchange(), UpstreamError(status=0, message=message, codes=(code,)))
    return replace(
        outcome, name=_UNMADE.get(code, outcome.name), billed="no", detail=sanitise(message or code or "no answer")
    )
