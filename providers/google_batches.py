"""Google's Batch API, on the google-genai SDK: many ``generateContent`` requests as one job, at half price.

Requests go inline while they are few, else in a file of JSON lines. The SDK makes the calls, but drops the counts and the
error of a job: its answers are read from their JSON. A job that is over tells all its results whenever it is asked how it
is doing, so that is asked without the SDK, and read while it arrives. A piece of an upload that is not acknowledged the SDK
sends up to three times, which costs nothing but time.

Limits and prices: https://ai.google.dev/gemini-api/docs/batch-api (2026).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread

from providers import google_wire
from providers.adapter import settle
from providers.answers import Reply, mapping, objects, string
from providers.batch_calls import Address, BatchCalls, number, one_model, recorded, unreadable, upload_time, write_lines
from providers.batch_results import LineSplitter, ListSplitter, Result, Splitter
from providers.batches import GOING_ON, BatchAnswer, BatchLine, BatchProgress, BatchState, not_offered
from providers.exchange import Exchange
from providers.failures import UpstreamError, classify
from providers.fetch import ImageFetcher
from providers.json_body import parse
from providers.outcome import Outcome
from providers.provider import ProviderSettings
from providers.sanitise import sanitise

if TYPE_CHECKING:
    from google.genai import Client, types

INLINE: Final = 16 * 2**20
"""Bytes of requests that go inline; Google takes 20 MB, the SDK adds a little to each."""
LARGEST_FILE: Final = 2 * 10**9
"""Bytes of an input file."""
PAGE: Final = 100
"""Jobs on a page of the list."""
MAX_PAGES: Final = 100
"""Pages looked through for a job, newest first."""

_RESULTS: Final = b"inlinedResponses"
_JOB: Final = re.compile(r"batches/[\w.-]+", re.ASCII)
_FILE: Final = re.compile(r"files/[\w.-]+", re.ASCII)

_STATES: Final[Mapping[str, BatchState]] = {
    "UNSPECIFIED": "pending", "QUEUED": "pending", "PENDING": "pending", "PAUSED": "pending",
    "RUNNING": "running", "UPDATING": "running", "CANCELLING": "running",
    "SUCCEEDED": "succeeded", "PARTIALLY_SUCCEEDED": "succeeded",
    "FAILED": "failed", "CANCELLED": "cancelled", "EXPIRED": "expired",
}  # fmt: skip
"""States by Google's names, without BATCH_STATE_ and JOB_STATE_ before them."""

_RPC: Final[Mapping[int, int]] = {
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503,
    15: 500, 16: 401,
}  # fmt: skip
"""HTTP statuses of the numbers of google.rpc codes (google/rpc/code.proto)."""


@dataclass(frozen=True, slots=True)
class GoogleAccess:
    """How an adapter gets at the API: *root* and *version* of its address, the SDK's *client*, the headers that *sign* a
    call to an address which the SDK does not make.
    """

    root: str
    version: str
    client: Callable[[], Awaitable[Client]]
    sign: Callable[[str], Awaitable[Mapping[str, str]]]


class GoogleBatches:
    """See :class:`providers.batches.BatchProvider`."""

    def __init__(
        self, settings: ProviderSettings, access: GoogleAccess, calls: BatchCalls, fetcher: ImageFetcher
    ) -> None:
        self._settings = settings
        self._access = access
        self._calls = calls
        self._fetcher = fetcher

    async def submit_batch(self, name: str, lines: Sequence[BatchLine], timeout: float) -> BatchProgress:  # noqa: ASYNC109
        """See :class:`providers.batches.BatchProvider`."""
        model = one_model(lines)
        if model.rpartition("/")[2].startswith("imagen"):
            raise not_offered(f"{model}: Google's Batch API does not take Imagen models")
        client = await self._access.client()
        source = await self._source(client, name, lines, timeout)

        async def send() -> object:
            return await client.aio.batches.create(model=model, src=source, config=_named(name, timeout))

        progress = progress_of(await self._calls.ask(send, timeout, free=False))
        if not _JOB.fullmatch(progress.id):
            raise unreadable("the answer does not name the job", "maybe")
        return progress

    async def find_batch(self, name: str, timeout: float) -> BatchProgress | None:  # noqa: ASYNC109
        """See :class:`providers.batches.BatchProvider`."""
        client, page = await self._access.client(), ""
        for _ in range(MAX_PAGES):

            async def send(token: str = page) -> object:
                return await client.aio.batches.list(config=_page(token, timeout))

            document = await self._calls.ask(send, timeout)
            found = [job for job in objects(document.get("operations")) if _name(job) == name]
            page = string(document.get("nextPageToken"))
            if found or not page:
                return progress_of(found[0]) if found else None
        return None

    async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:  # noqa: ASYNC109
        """See :class:`providers.batches.BatchProvider`."""
        splitter = ListSplitter(_RESULTS, keep=False)
        async for _ in self._calls.results(splitter, await self._job(batch_id), timeout):
            pass  # none is kept
        return progress_of(_operation(splitter, batch_id))

    async def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:  # noqa: ASYNC109
        """See :class:`providers.batches.BatchProvider`."""
        splitter = ListSplitter(_RESULTS)
        async with aclosing(self._answers(splitter, await self._job(batch_id), timeout)) as answers:
            async for answer in answers:
                yield answer
        operation = _operation(splitter, batch_id)
        if not progress_of(operation).is_over:
            raise unreadable(f"{batch_id} is not over yet")
        file = results_file(operation)
        if file is not None:
            async with aclosing(self._answers(LineSplitter(), await self._file(file), timeout)) as answers:
                async for answer in answers:
                    yield answer

    async def cancel_batch(self, batch_id: str, timeout: float) -> None:  # noqa: ASYNC109
        """See :class:`providers.batches.BatchProvider`."""
        client = await self._access.client()

        async def send() -> None:
            await client.aio.batches.cancel(name=batch_id, config=_timed(timeout))

        await self._calls.ask(send, timeout)

    async def _source(
        self,
        client: Client,
        name: str,
        lines: Sequence[BatchLine],
        timeout: float,  # noqa: ASYNC109
    ) -> list[types.InlinedRequest] | str:
        """What the job is made from: the requests, or the name of the file that they were uploaded in."""
        folder = TemporaryDirectory(prefix="image-gateway-")
        try:
            path = Path(folder.name) / "requests.jsonl"
            size = await anyio.to_thread.run_sync(write_lines, map(line_of, lines), path, LARGEST_FILE)
            if size <= INLINE:
                return [inlined(line) for line in lines]
            return await self._uploaded(client, path, name, upload_time(size, timeout))
        finally:
            await anyio.to_thread.run_sync(folder.cleanup)

    async def _uploaded(self, client: Client, path: Path, name: str, timeout: float) -> str:  # noqa: ASYNC109
        config = _upload(name, self._access.root, timeout)

        async def send() -> object:
            return await client.aio.files.upload(file=path, config=config)

        document = await self._calls.ask(send, timeout)
        file = string(mapping(document.get("file")).get("name"))
        if not _FILE.fullmatch(file):
            raise unreadable("the upload was not answered with the name of a file")
        return file

    async def _answers(self, splitter: Splitter, address: Address, timeout: float) -> AsyncGenerator[BatchAnswer]:  # noqa: ASYNC109
        """The answers at *address*, without those that do not say to which line they belong."""
        async with aclosing(self._calls.results(splitter, address, timeout)) as results:
            async for result in results:
                key, reply = read(result)
                if key:
                    yield BatchAnswer(key, await settle(reply, self._fetcher, self._settings))

    async def _job(self, batch_id: str) -> Address:
        if not _JOB.fullmatch(batch_id):
            raise not_offered(f"{batch_id[:80]!r} is not the name of a job of Google's")
        return await self._address(f"{self._access.root}/{self._access.version}/{batch_id}")

    async def _file(self, name: str) -> Address:
        return await self._address(f"{self._access.root}/download/{self._access.version}/{name}:download?alt=media")

    async def _address(self, url: str) -> Address:
        return url, {**self._settings.headers, **await self._access.sign(url)}


def inlined(line: BatchLine) -> types.InlinedRequest:
    """*line* in the SDK's types."""
    from google.genai import types

    from providers import gemini_request

    return types.InlinedRequest(
        contents=list(gemini_request.contents(line.request)),
        config=gemini_request.config(line.request).model_copy(update=_OUR_OWN),
        metadata={"key": line.key},
    )


def line_of(line: BatchLine) -> bytes:
    """*line* as one of a file: its names in snake_case, ``generation_config`` where the SDK says config."""
    from providers import gemini_request

    contents = [content.model_dump(mode="json", exclude_none=True) for content in gemini_request.contents(line.request)]
    config = gemini_request.config(line.request).model_copy(update=_OUR_OWN).model_dump(mode="json", exclude_none=True)
    instruction = config.pop("system_instruction", None)
    request = {
        "contents": contents,
        **({"system_instruction": {"parts": [{"text": instruction}]}} if instruction else {}),
        **({"tools": config.pop("tools")} if "tools" in config else {}),
        "generation_config": config,
    }
    return json.dumps({"key": line.key, "request": request}).encode()


_OUR_OWN: Final[Mapping[str, None]] = {"http_options": None, "should_return_http_response": None}
"""What of the SDK's configuration is not part of the request."""


def progress_of(operation: Mapping[str, Any]) -> BatchProgress:
    """What a job's operation says, whether as Google's API tells it or as the SDK would have it.

    Numbers that are zero are left out of Google's JSON.
    """
    metadata = mapping(operation.get("metadata"))
    stats = mapping(metadata.get("batchStats"))
    total = number(stats.get("requestCount"))
    zero = None if total is None else 0
    error = mapping(operation.get("error"))
    return BatchProgress(
        id=string(operation.get("name")) or string(metadata.get("name")),
        state=_state(operation, string(metadata.get("state")) or string(operation.get("state"))),
        total=total,
        succeeded=number(stats.get("successfulRequestCount", zero)),
        failed=number(stats.get("failedRequestCount", zero)),
        detail=sanitise(string(error.get("message"))),
    )


def results_file(operation: Mapping[str, Any]) -> str | None:
    """The name of the file in which the results are, if they are in one."""
    for output in (operation.get("response"), mapping(operation.get("metadata")).get("output")):
        file = string(mapping(output).get("responsesFile"))
        if _FILE.fullmatch(file):
            return file
    return None


def read(result: Result) -> tuple[str, Reply | Outcome]:
    """The key of the line that *result* answers, and what it says."""
    document = result.document
    key = string(document.get("key")) or string(mapping(document.get("metadata")).get("key"))
    error = mapping(document.get("error"))
    if error:
        return key, failed(error)
    if "response" not in document:
        return key, Outcome(name="bad_response", billed="maybe", detail="the line has neither a response nor an error")
    return key, google_wire.read(recorded(document["response"], result.images))


def failed(error: Mapping[str, Any]) -> Outcome:
    """The outcome of a line that was not answered: it is not billed."""
    code = number(error.get("code")) or 0
    status = _RPC.get(code, code)
    message = string(error.get("message"))
    said = UpstreamError(status=status, message=message, codes=tuple(filter(None, [string(error.get("status"))])))
    outcome = classify(Exchange(status=status), said)
    return replace(
        outcome,
        name="cancelled" if status == _RPC[1] else outcome.name,
        billed="no",
        detail=sanitise(message or f"code {code}"),
    )


def _operation(splitter: ListSplitter, batch_id: str) -> Mapping[str, Any]:
    """The operation around the results.

    Raises:
        BatchRefused: it is not that of the job *batch_id*.
    """
    operation = mapping(parse(bytes(splitter.frame)))
    if progress_of(operation).id != batch_id:
        raise unreadable(f"the answer is not about {batch_id}")
    return operation


def _state(operation: Mapping[str, Any], told: str) -> BatchState:
    """The state as *told*, if that agrees with whether the operation is done."""
    known = _STATES.get(told.removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_"), "running")
    if known in GOING_ON and operation.get("done") is True:
        return "failed" if operation.get("error") else "succeeded"
    return known


def _name(operation: Mapping[str, Any]) -> str:
    return string(mapping(operation.get("metadata")).get("displayName"))


def _named(name: str, seconds: float) -> types.CreateBatchJobConfig:
    from google.genai import types

    from providers.gemini_request import time_limit

    return types.CreateBatchJobConfig(display_name=name, http_options=time_limit(seconds))


def _timed(seconds: float) -> types.CancelBatchJobConfig:
    from google.genai import types

    from providers.gemini_request import time_limit

    return types.CancelBatchJobConfig(http_options=time_limit(seconds))


def _page(token: str, seconds: float) -> types.ListBatchJobsConfig:
    from google.genai import types

    from providers.gemini_request import time_limit

    return types.ListBatchJobsConfig(page_size=PAGE, page_token=token or None, http_options=time_limit(seconds))


def _upload(name: str, root: str, seconds: float) -> types.UploadFileConfig:
    """The pieces go to *root*, whatever address the upstream names for them: they carry the key."""
    from google.genai import types

    from providers.gemini_request import time_limit

    options = time_limit(seconds)
    options.base_url = root
    return types.UploadFileConfig(display_name=name, mime_type="application/jsonl", http_options=options)
