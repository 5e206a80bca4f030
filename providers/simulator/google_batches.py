"""Google's Batch API: ``:batchGenerateContent``, jobs as operations, requests and results inline or in files."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from providers.simulator import files as google_files
from providers.simulator.actions import chosen
from providers.simulator.batch_jobs import BatchJob, BatchJobs, Done, Line, Workbench
from providers.simulator.files import Files, StoredFile
from providers.simulator.flavours import Site
from providers.simulator.google_errors import invalid, no_such_model
from providers.simulator.messages import JSON, Answer, Request, RequestError, answer, error

MAX_INLINE: Final = 20 * 2**20
"""Bytes of a request with its lines inline (Google's Batch API guide, 2026)."""
PAGE: Final = 50
"""Jobs on a page of the list, if no other number is asked for."""

_TYPE: Final = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
_NOT_FOUND: Final = error(404, "NOT_FOUND", "Requested entity was not found.")
_CANCELLED: Final = {"code": 1, "message": "The operation was cancelled."}
"""What a failed line of a succeeded job has been seen to say."""
_RPC: Final = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4}
"""Codes of google.rpc (google/rpc/code.proto) by HTTP status."""
_RESULTS: Final = '"\\u0000results\\u0000"'
"""Where results go, as ``json.dumps`` writes the text that stands for them."""


@dataclass(frozen=True, slots=True)
class GoogleJob:
    """A job as Google tells of it: of which *model*, and with which *source*, ``""`` for requests that came inline."""

    job: BatchJob
    model: str
    source: str


class GoogleBatches:
    """Answers calls of the Batch API, and of the files that belong to it."""

    def __init__(self, jobs: BatchJobs, bench: Workbench, files: Files, site: Site) -> None:
        self._jobs = jobs
        self._bench = bench
        self._files = files
        self._site = site
        self._told: dict[str, GoogleJob] = {}

    async def answer(self, request: Request, origin: str) -> Answer:
        """The answer to *request*.

        Raises:
            RequestError: the request is refused.
        """
        found = chosen(_ACTIONS, request)
        if found is None:
            return _NOT_FOUND
        act, name = found
        return await act(self, request, origin if "/upload/" in request.path else name)

    async def create(self, request: Request, model: str) -> Answer:
        """``POST models/MODEL:batchGenerateContent``."""
        known = self._site.find(model)
        if known is None or known.method != "generateContent":
            return no_such_model(model, "v1beta", "batchGenerateContent")
        batch = request.json().get("batch") or {}
        config = batch.get("inputConfig") or batch.get("input_config") or {}
        source = str(config.get("fileName") or config.get("file_name") or "")
        if not source and len(request.body) > MAX_INLINE:
            return invalid(f"Request payload size exceeds the limit: {MAX_INLINE} bytes.")
        lines = self._lines_of_file(source, model) if source else _inline_lines(config, model)
        job = BatchJob(str(batch.get("displayName") or ""), lines, self._bench, self._jobs.behaviour)
        self._jobs.add(job)
        self._told[job.id] = GoogleJob(job, model, source)
        self._files.promise(f"batch-{job.id}", lambda: _results_file(job))
        return self._operation(job.id)

    async def look(self, request: Request, job_id: str) -> Answer:
        """``GET batches/ID``, which brings the job on."""
        told = self._told.get(job_id)
        if told is None:
            return _NOT_FOUND
        await told.job.look()
        return self._operation(job_id)

    async def every(self, request: Request, _: str) -> Answer:
        """``GET batches``, newest first, in pages and without results."""
        size, start = int(request.query.get("pageSize") or PAGE), int(request.query.get("pageToken") or 0)
        told = list(reversed(self._told.values()))
        page: JSON = {"operations": [_document(each, results=False) for each in told[start : start + size]]}
        if start + size < len(told):
            page["nextPageToken"] = str(start + size)
        return answer(page)

    async def cancel(self, request: Request, job_id: str) -> Answer:
        """``POST batches/ID:cancel``."""
        told = self._told.get(job_id)
        if told is None:
            return _NOT_FOUND
        await told.job.cancel()
        return answer({})

    async def upload(self, request: Request, origin: str) -> Answer:
        """``POST upload/files``."""
        return google_files.upload(request, self._files, origin)

    async def download(self, request: Request, file_id: str) -> Answer:
        """``GET download/files/ID:download``."""
        return google_files.download(file_id, self._files)

    async def metadata(self, request: Request, file_id: str) -> Answer:
        """``GET files/ID``."""
        return google_files.metadata(file_id, self._files)

    def _operation(self, job_id: str) -> Answer:
        told = self._told[job_id]
        inline = told.job.is_over and not told.source
        results = tuple(_joined(_inline_result(done) for done in told.job.done)) if inline else ()
        pieces: list[bytes] = []
        for number, text in enumerate(json.dumps(_document(told, results=True)).split(_RESULTS)):
            pieces += [b"[", *results, b"]"] if number else []
            pieces.append(text.encode())
        return Answer(body=tuple(pieces))

    def _lines_of_file(self, source: str, model: str) -> list[Line]:
        file = self._files.get(source.removeprefix("files/"))
        if file is None:
            raise RequestError(invalid(f"File {source} not found."))
        return [_line(number, text, model) for number, text in enumerate(file.content.splitlines()) if text.strip()]


Action = Callable[[GoogleBatches, Request, str], Awaitable[Answer]]

_ACTIONS: Final[tuple[tuple[str, str, Action], ...]] = (
    ("POST", r"^/v1(?:beta1?)?/models/([^/:]+):batchGenerateContent$", GoogleBatches.create),
    ("GET", r"^/v1beta1?/batches/([^/:]+)$", GoogleBatches.look),
    ("GET", r"^/v1beta1?/batches()$", GoogleBatches.every),
    ("POST", r"^/v1beta1?/batches/([^/:]+):cancel$", GoogleBatches.cancel),
    ("POST", r"^/upload/v1beta1?/files()$", GoogleBatches.upload),
    ("GET", r"^(?:/download)?/v1beta1?/files/([^/:]+):download$", GoogleBatches.download),
    ("GET", r"^/v1beta1?/files/([^/:]+)$", GoogleBatches.metadata),
)

PATHS: Final = tuple((method, pattern) for method, pattern, _ in _ACTIONS)
"""Methods and patterns of the paths that are answered here; the one group of a pattern names a model, a job or a file."""


def _inline_lines(config: JSON, model: str) -> list[Line]:
    requests = (config.get("requests") or {}).get("requests") or []
    if not requests:
        raise RequestError(invalid("* GenerateContentBatch.input_config: no requests are specified\n"))
    keys = ((entry.get("metadata") or {}).get("key") for entry in requests)
    return [_as_call(str(key or ""), entry.get("request"), model) for key, entry in zip(keys, requests, strict=True)]


def _line(number: int, text: bytes, model: str) -> Line:
    try:
        entry = json.loads(text)
        return _as_call(str(entry.get("key") or ""), entry["request"], model)
    except (ValueError, AttributeError, KeyError):
        raise RequestError(invalid(f"Failed to parse the input file at line {number + 1}.")) from None


def _as_call(key: str, request: object, model: str) -> Line:
    """The line as a call of its own; Google's SDK repeats the model in each, which such a call does not take."""
    body = {name: value for name, value in request.items() if name != "model"} if isinstance(request, dict) else request
    path = f"/v1beta/models/{model}:generateContent"
    return Line(key=key, model=model, request=Request(method="POST", path=path, body=json.dumps(body).encode()))


def _document(told: GoogleJob, *, results: bool) -> JSON:
    """The operation, a text in place of inline results if *results* are to be there at all."""
    job, name = told.job, f"batches/{told.job.id}"
    output: JSON = {}
    if job.is_over and told.source:
        output = {"responsesFile": f"files/batch-{job.id}"}
    elif job.is_over and results:
        output = {"inlinedResponses": {"inlinedResponses": "\0results\0"}}
    metadata = {
        "@type": _TYPE,
        "model": f"models/{told.model}",
        "displayName": job.name,
        "inputConfig": {"fileName": told.source} if told.source else {},
        **({"output": output} if output else {}),
        "createTime": job.created.isoformat(),
        **({"endTime": job.ended.isoformat()} if job.ended else {}),
        "batchStats": _stats(job),
        "state": f"BATCH_STATE_{job.state.upper()}",
        "name": name,
    }
    over = {"done": True, "response": {"@type": f"{_TYPE}Output", **output}} if job.is_over else {}
    return {"name": name, "metadata": metadata, **over}


def _stats(job: BatchJob) -> JSON:
    """Numbers as strings, and those that are zero left out: so 64-bit integers look in Google's JSON."""
    succeeded = job.succeeded
    numbers = {
        "requestCount": job.total,
        "successfulRequestCount": succeeded,
        "failedRequestCount": len(job.done) - succeeded,
        "pendingRequestCount": 0 if job.is_over else job.total - len(job.done),
    }
    return {name: str(number) for name, number in numbers.items() if number}


def _results_file(job: BatchJob) -> StoredFile:
    pieces = [piece for done in job.done for piece in (*_result(done, _key(done)), b"\n")]
    return StoredFile(id=f"batch-{job.id}", body=tuple(pieces))


def _inline_result(done: Done) -> tuple[bytes, ...]:
    return _result(done, b'"metadata": {%s}' % _key(done))


def _key(done: Done) -> bytes:
    return b'"key": %s' % json.dumps(done.key).encode()


def _result(done: Done, named: bytes) -> tuple[bytes, ...]:
    """The response or the error of a line, and what names it; a response goes in as the bytes it was composed of."""
    if done.answer is not None and done.succeeded:
        return b'{"response": ', *done.answer.body, b", ", named, b"}"
    wrong = _CANCELLED if done.answer is None else _status(done.answer)
    return b'{"error": ', json.dumps(wrong).encode(), b", ", named, b"}"


def _status(refusal: Answer) -> JSON:
    """An error answer as the ``google.rpc.Status`` of a line."""
    try:
        message = str(json.loads(refusal.content)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        message = ""
    return {"code": _RPC.get(refusal.status, 2), "message": message}


def _joined(results: Iterator[tuple[bytes, ...]]) -> Iterator[bytes]:
    for number, pieces in enumerate(results):
        yield from (b", ",) if number else ()
        yield from pieces
