"""OpenAI's Batch API: files of requests, jobs, and files of results and of errors."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from providers.simulator.actions import chosen
from providers.simulator.batch_jobs import BatchJob, BatchJobs, Line, State, Workbench
from providers.simulator.files import Files, StoredFile
from providers.simulator.forms import parse_form
from providers.simulator.messages import JSON, Answer, Request, RequestError, answer
from providers.simulator.openai_errors import openai_error

ENDPOINTS: Final = ("/v1/images/generations", "/v1/images/edits", "/v1/chat/completions")
"""Endpoints that draw and take batches (OpenAI's API reference, 2026-10)."""

_STATUSES: Final[dict[State, str]] = {"pending": "validating", "running": "in_progress", "succeeded": "completed"}
_GIVEN_UP: Final = openai_error(500, "The server had an error while processing your request.", "server_error")
_EXPIRED: Final = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}


@dataclass(frozen=True, slots=True)
class OpenAIJob:
    """A job as OpenAI tells of it: the *endpoint* of its calls, the id of its *input*, and its *metadata*."""

    job: BatchJob
    endpoint: str
    input: str
    metadata: JSON

    @property
    def id(self) -> str:
        """The id of the job."""
        return f"batch_{self.job.id}"


class OpenAIBatches:
    """Answers calls of the Batch API, and of the files that belong to it."""

    def __init__(self, jobs: BatchJobs, bench: Workbench, files: Files) -> None:
        self._jobs = jobs
        self._bench = bench
        self._files = files
        self._told: dict[str, OpenAIJob] = {}

    async def answer(self, request: Request, origin: str) -> Answer:
        """The answer to *request*.

        Raises:
            RequestError: the request is refused.
        """
        found = chosen(_ACTIONS, request)
        if found is None:
            raise _missing("path", request.path)
        act, name = found
        return await act(self, request, name)

    async def upload(self, request: Request, _: str) -> Answer:
        """``POST files``, a form with the file and its purpose."""
        form = parse_form(request.body, request.headers.get("content-type", ""))
        if form is None or form.fields.get("purpose") != "batch" or not form.files:
            raise _refused("A file and the purpose 'batch' are required.", "purpose")
        file = StoredFile(id=f"file-{uuid.uuid4().hex[:22]}", body=(form.files[0][1],))
        self._files.put(file)
        return answer(_describe(file))

    async def metadata(self, request: Request, file_id: str) -> Answer:
        """``GET files/ID``."""
        return answer(_describe(self._file(file_id)))

    async def content(self, request: Request, file_id: str) -> Answer:
        """``GET files/ID/content``."""
        return Answer(media_type="application/octet-stream", body=self._file(file_id).body)

    async def create(self, request: Request, _: str) -> Answer:
        """``POST batches``."""
        payload = request.json()
        endpoint = str(payload.get("endpoint"))
        if endpoint not in ENDPOINTS:
            raise _refused(f"Invalid value: '{endpoint}'.", "endpoint")
        if payload.get("completion_window") != "24h":
            raise _refused("Invalid value: expected '24h'.", "completion_window")
        source = self._file(str(payload.get("input_file_id")))
        texts = [text for text in source.content.splitlines() if text.strip()]
        lines = [_line(number, text, endpoint) for number, text in enumerate(texts, 1)]
        metadata = payload.get("metadata") or {}
        job = BatchJob(str(metadata.get("name") or ""), lines, self._bench, self._jobs.behaviour)
        self._jobs.add(job)
        told = OpenAIJob(job, endpoint, source.id, metadata)
        self._told[told.id] = told
        for kind, make in (("output", _output), ("error", _errors)):
            self._promise(told, kind, make)
        return answer(_document(told))

    async def look(self, request: Request, job_id: str) -> Answer:
        """``GET batches/ID``, which brings the job on."""
        told = self._job(job_id)
        await told.job.look()
        return answer(_document(told))

    async def every(self, request: Request, _: str) -> Answer:
        """``GET batches``, newest first, in pages."""
        told = list(reversed(self._told.values()))
        after, size = request.query.get("after"), int(request.query.get("limit") or 20)
        start = next((index + 1 for index, each in enumerate(told) if each.id == after), 0)
        page = [_document(each) for each in told[start : start + size]]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return answer({"object": "list", "data": page, **ends, "has_more": start + size < len(told)})

    async def cancel(self, request: Request, job_id: str) -> Answer:
        """``POST batches/ID/cancel``; the next look finds it cancelled."""
        told = self._job(job_id)
        if told.job.is_over:
            raise _refused(f"Cannot cancel a batch with status '{_status(told.job)}'.", "batch_id")
        await told.job.cancel()
        return answer({**_document(told), "status": "cancelling"})

    def _promise(self, told: OpenAIJob, kind: str, make: Callable[[BatchJob], Iterable[bytes]]) -> None:
        file_id = f"{kind}-{told.job.id}"
        self._files.promise(file_id, lambda: StoredFile(id=file_id, body=tuple(make(told.job))))

    def _job(self, job_id: str) -> OpenAIJob:
        told = self._told.get(job_id)
        if told is None:
            raise _missing("batch", job_id)
        return told

    def _file(self, file_id: str) -> StoredFile:
        file = self._files.get(file_id)
        if file is None:
            raise _missing("File object", file_id)
        return file


Action = Callable[[OpenAIBatches, Request, str], Awaitable[Answer]]

_ROOT: Final = r"^(?:/api)?(?:/v1beta/openai|/v1)?"

_ACTIONS: Final[tuple[tuple[str, str, Action], ...]] = (
    ("POST", rf"{_ROOT}/files()$", OpenAIBatches.upload),
    ("GET", rf"{_ROOT}/files/([\w-]+)$", OpenAIBatches.metadata),
    ("GET", rf"{_ROOT}/files/([\w-]+)/content$", OpenAIBatches.content),
    ("POST", rf"{_ROOT}/batches()$", OpenAIBatches.create),
    ("GET", rf"{_ROOT}/batches/([\w-]+)$", OpenAIBatches.look),
    ("GET", rf"{_ROOT}/batches()$", OpenAIBatches.every),
    ("POST", rf"{_ROOT}/batches/([\w-]+)/cancel$", OpenAIBatches.cancel),
)

PATHS: Final = tuple((method, pattern) for method, pattern, _ in _ACTIONS)
"""Methods and patterns of the paths that are answered here; the one group of a pattern names a job or a file."""


def _line(number: int, text: bytes, endpoint: str) -> Line:
    try:
        entry = json.loads(text)
        key, url, body = str(entry["custom_id"]), entry["url"], json.dumps(entry["body"]).encode()
    except (ValueError, LookupError, TypeError):
        raise _refused(f"Line {number} of the input file is not a request.", "input_file_id") from None
    if url != endpoint:
        raise _refused(f"The URL of line {number} does not match the batch's endpoint.", "input_file_id")
    headers = {"content-type": "application/json"}
    return Line(key=key, request=Request(method="POST", path=endpoint, headers=headers, body=body))


def _document(told: OpenAIJob) -> JSON:
    job = told.job
    succeeded = job.succeeded
    return {
        "id": told.id,
        "object": "batch",
        "endpoint": told.endpoint,
        "input_file_id": told.input,
        "completion_window": "24h",
        "status": _status(job),
        "output_file_id": f"output-{job.id}" if job.is_over and succeeded else None,
        "error_file_id": f"error-{job.id}" if job.is_over and any(_errors(job)) else None,
        "created_at": int(job.created.timestamp()),
        "request_counts": {"total": job.total, "completed": succeeded, "failed": len(job.done) - succeeded},
        "metadata": told.metadata,
    }


def _status(job: BatchJob) -> str:
    return _STATUSES.get(job.state, job.state)


def _output(job: BatchJob) -> Iterable[bytes]:
    for done in job.done:
        if done.succeeded:
            yield from _result(done.key, done.answer)


def _errors(job: BatchJob) -> Iterable[bytes]:
    """Lines that failed, and those that an expired job did not come to."""
    for done in job.done:
        if not done.succeeded:
            yield from _result(done.key, done.answer or _GIVEN_UP)
    for key in job.undone if job.state == "expired" else ():
        yield json.dumps({**_entry(key), "response": None, "error": _EXPIRED}).encode() + b"\n"


def _result(key: str, answered: Answer | None) -> Iterable[bytes]:
    """A line with what the call was answered, the body as the bytes it was composed of."""
    assert answered is not None
    before, after = json.dumps({**_entry(key), "error": None}).encode()[:-1], uuid.uuid4().hex.encode()
    yield b'%s, "response": {"status_code": %d, "request_id": "%s", "body": ' % (before, answered.status, after)
    yield from answered.body or (b"null",)
    yield b"}}\n"


def _entry(key: str) -> JSON:
    return {"id": f"batch_req_{uuid.uuid4().hex}", "custom_id": key}


def _describe(file: StoredFile) -> JSON:
    purpose = "batch" if file.id.startswith("file-") else "batch_output"
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(time.time()),
        "filename": f"{file.id}.jsonl",
        "purpose": purpose,
        "status": "processed",
    }


def _refused(message: str, param: str) -> RequestError:
    return RequestError(openai_error(400, message, "invalid_request_error", "invalid_value", param))


def _missing(what: str, name: str) -> RequestError:
    return RequestError(openai_error(404, f"No such {what}: {name}", "invalid_request_error", None, "id"))
