"""Jobs as they stand in the state store: read, and written line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from gateway.batch.jobs import Chunk, Job, Line
from gateway.state.stores import HEAD, JobStore, Record
from providers.errors import InvalidRequest
from providers.sanitise import sanitise

AT_ONCE: Final = 200
"""Records written in one step while a job is put down: others want to write, too."""
CANCELLED: Final = "cancelled"
"""The mark of a job that somebody has cancelled: a record of its own, so that it meets no other write."""

_JOB: Final = TypeAdapter(Job)
_LINE: Final = TypeAdapter(Line)
_CHUNK: Final = TypeAdapter(Chunk)


@dataclass(frozen=True, slots=True)
class Book:
    """The jobs in *store*."""

    store: JobStore

    async def find(self, job_id: str) -> Job | None:
        """The job of that name, if there is one."""
        text = (await self.store.read(job_id, HEAD)).get("")
        return None if text is None else _JOB.validate_json(text)

    async def job(self, job_id: str) -> Job:
        """The job of that name.

        Raises:
            InvalidRequest: there is none.
        """
        found = await self.find(job_id)
        if found is None:
            raise InvalidRequest(
                f"job: there is no batch {sanitise(job_id)!r} in this state; image-gateway batch status lists them"
            )
        return found

    async def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        heads = await self.store.heads()
        return sorted((_JOB.validate_json(text) for text in heads.values()), key=lambda job: job.created)

    async def write_down(self, job: Job, lines: Iterable[Line], requests: Mapping[int, Mapping[str, Any]]) -> None:
        """Put *job* down with the documents of its *requests* by number; it is there when all of it is."""
        await self.store.discard(job.id)  # what a process left that died over it
        records = [_line_record(line) for line in lines]
        records += [Record("request", str(number), json.dumps(document)) for number, document in requests.items()]
        for start in range(0, len(records), AT_ONCE):
            await self.store.put(job.id, records[start : start + AT_ONCE])
        await self.store.put(job.id, [Record("head", "", _JOB.dump_json(job).decode())])

    async def lines(self, job_id: str) -> dict[int, Line]:
        """The job's lines by number, in order."""
        texts = await self.store.read(job_id, "line")
        return {int(name): _LINE.validate_json(texts[name]) for name in sorted(texts, key=int)}

    async def chunks(self, job_id: str) -> dict[str, Chunk]:
        """The job's chunks by name."""
        texts = await self.store.read(job_id, "chunk")
        return {name: _CHUNK.validate_json(text) for name, text in texts.items()}

    async def requests(self, job_id: str) -> dict[int, dict[str, Any]]:
        """The documents of the job's requests, by number."""
        texts = await self.store.read(job_id, "request")
        return {int(name): json.loads(text) for name, text in texts.items()}

    async def begin(self, job_id: str, chunk: Chunk, lines: Sequence[Line]) -> bool:
        """Write down that *lines* are about to travel in *chunk*; False if another process has begun one of that name."""
        record = _chunk_record(chunk)
        return await self.store.put(job_id, [record, *map(_line_record, lines)], unless=record)

    async def keep(self, job_id: str, *facts: Line | Chunk) -> None:
        """Write *facts* down as they are now, in one step."""
        await self.store.put(
            job_id, [_line_record(each) if isinstance(each, Line) else _chunk_record(each) for each in facts]
        )

    async def cancel(self, job_id: str) -> None:
        """Mark the job as cancelled."""
        await self.store.put(job_id, [Record("mark", CANCELLED, "")])

    async def is_cancelled(self, job_id: str) -> bool:
        """Whether somebody has cancelled the job."""
        return CANCELLED in await self.store.read(job_id, "mark")

    async def discard(self, job_id: str) -> None:
        """Forget the job."""
        await self.store.discard(job_id)


def _line_record(line: Line) -> Record:
    return Record("line", str(line.number), _LINE.dump_json(line).decode())


def _chunk_record(chunk: Chunk) -> Record:
    return Record("chunk", chunk.name, _CHUNK.dump_json(chunk).decode())
