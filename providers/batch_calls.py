"""Calls about batch jobs: what the upstream answers, or :class:`~providers.batches.BatchRefused`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2

from providers.adapter import CredentialsError, run
from providers.batch_results import Result, Splitter
from providers.batches import BatchLine, BatchRefused, not_offered
from providers.exchange import Exchange
from providers.extraction import ExtractionError
from providers.failures import answer_of, broken
from providers.outcome import Billed, Outcome, OutcomeName
from providers.provider import ProviderSettings
from providers.sanitise import sanitise
from providers.transport import STREAMED, recording

SLOWEST: Final = 250_000
"""Bytes per second below which an upload is given up."""

Address = tuple[str, Mapping[str, str]]
"""Where to get something, and the headers to ask for it with."""


class BatchCalls:
    """Makes calls for the provider of *settings*; those that the SDK does not make go out over *carrier*."""

    def __init__(self, settings: ProviderSettings, carrier: Callable[[], httpx2.AsyncClient]) -> None:
        self._settings = settings
        self._carrier = carrier

    async def ask(
        self,
        send: Callable[[], Awaitable[object]],
        timeout: float,  # noqa: ASYNC109 - seconds for the whole call, as in BatchProvider
        *,
        free: bool = True,
    ) -> Mapping[str, Any]:
        """The JSON object that the upstream answers to what the SDK *sends*.

        Raises:
            BatchRefused: there is none. What came of a *free* call is never billed.
        """
        exchange = Exchange()
        refused: Exception | None = None
        with anyio.move_on_after(timeout) as scope:
            refused = await run(send, exchange)
        if scope.cancelled_caught:
            exchange.failure, exchange.failure_detail = "timeout", f"no answer within {timeout:g} s"
        elif refused is not None and not (exchange.sent or exchange.status or exchange.failure):
            name: OutcomeName = "auth" if isinstance(refused, CredentialsError) else "invalid"
            raise self.refusal(Outcome(name=name, billed="no", detail=str(refused)), free=free)
        answer = answer_of(exchange)
        if isinstance(answer, Outcome):
            raise self.refusal(answer, free=free)
        return answer

    async def results(self, splitter: Splitter, address: Address, timeout: float) -> AsyncGenerator[Result]:  # noqa: ASYNC109
        """What *splitter* finds in the body of what stands at *address*.

        *timeout* is seconds until that begins, and between two pieces of it: it may go on for as long as it comes.

        Raises:
            BatchRefused: it is not to be had, or breaks off.
        """
        response = await self._begun(address, timeout)
        try:
            async for piece in response.aiter_bytes():
                for result in splitter.feed(piece):
                    yield result
            for result in splitter.close():
                yield result
        except httpx2.HTTPError as error:
            detail = f"the results broke off: {type(error).__name__}: {error}"
            raise self.refusal(Outcome(name="transport", billed="no", detail=detail), free=True) from None
        except ExtractionError as error:
            raise unreadable(str(error)) from None
        finally:
            await response.aclose()

    async def _begun(self, address: Address, timeout: float) -> httpx2.Response:  # noqa: ASYNC109
        """The answer at *address*, its body unread."""
        url, headers = address
        exchange, client = Exchange(), self._carrier()
        request = client.build_request("GET", url, headers=dict(headers), timeout=timeout, extensions={STREAMED: True})
        try:
            with recording(exchange):
                response = await client.send(request, stream=True)
        except httpx2.HTTPError:
            raise self.refusal(broken(exchange), free=True) from None
        if response.status_code == httpx2.codes.OK:
            return response
        await response.aclose()
        answer = answer_of(exchange)
        raise self.refusal(answer if isinstance(answer, Outcome) else broken(exchange), free=True)

    def refusal(self, outcome: Outcome, *, free: bool) -> BatchRefused:
        """*outcome* as an exception, without keys; what is not *free* may have begun a job, but has drawn nothing yet."""
        key = self._settings.api_key
        name: OutcomeName = "bad_response" if outcome.name == "no_image" else outcome.name
        billed: Billed = "no" if free else "maybe" if outcome.billed == "yes" else outcome.billed
        return BatchRefused(
            replace(outcome, name=name, billed=billed, detail=sanitise(outcome.detail, (key,) if key else ()))
        )


def unreadable(problem: str, billed: Billed = "no") -> BatchRefused:
    """The refusal to go on with an answer that makes no sense."""
    return BatchRefused(Outcome(name="bad_response", billed=billed, detail=problem))


def upload_time(size: int, seconds: float) -> float:
    """Seconds for an upload of *size* bytes where an exchange of a few has *seconds*."""
    return seconds + size / SLOWEST


def one_model(lines: Sequence[BatchLine]) -> str:
    """The model that all *lines* are for.

    Raises:
        BatchRefused: there are no lines, they are for several models, or two have the same key.
    """
    models = {line.request.model for line in lines}
    if len(models) != 1:
        raise not_offered("a batch needs lines, all for one model" if models else "a batch needs at least one line")
    if len({line.key for line in lines}) != len(lines):
        raise not_offered("two lines of the batch have the same key")
    return models.pop()


def write_lines(lines: Iterable[bytes], path: Path, most: int) -> int:
    """Write *lines* to *path*, one at a time; the number of bytes.

    Raises:
        BatchRefused: they are more than *most* bytes.
    """
    size = 0
    with path.open("wb") as file:
        for line in lines:
            size += file.write(line + b"\n")
            if size > most:
                raise not_offered(f"the batch is over the upstream's limit of {most} bytes: make it several")
    return size


def number(value: Any) -> int | None:
    """A count, which Google writes as text."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def recorded(document: Any, images: Mapping[str, bytes], status: int = 200) -> Exchange:
    """The record of a call of its own that would have been answered with *document*: lines are read as such calls are."""
    return Exchange(sent=True, status=status, body=json.dumps(document).encode(), images=dict(images))
