"""What every adapter does around an SDK call."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from importlib import import_module

import anyio

from providers.answers import Piece, Reply, conclude, final_pieces
from providers.exchange import Exchange
from providers.facts import ImageDefect, ImageFacts
from providers.failures import broken, classify, read_error
from providers.fetch import FetchRefusedError, ImageFetcher
from providers.outcome import Outcome, OutcomeName, Part
from providers.provider import ProviderSettings
from providers.sanitise import sanitise
from providers.secret import Secret
from providers.spool import FileBytes, SpooledImage
from providers.transport import recording
from providers.turnstile import turn
from providers.verification import PixelDefect, verify_all


class CredentialsError(Exception):
    """There are no credentials to sign a call with, or their issuer refuses them; the call was not made."""


Reader = Callable[[Exchange], Reply | Outcome]


async def call(
    send: Callable[[], Awaitable[object]],
    exchange: Exchange,
    read: Reader,
    settings: ProviderSettings,
    fetcher: ImageFetcher | None = None,
) -> Outcome:
    """Let the SDK *send*, then *read* what came of it from the record; the SDK's own verdict on it is not needed."""
    refused = await run(send, exchange)
    if refused is not None and _never_began(exchange):
        return _unsent(refused, settings)
    return await _spooled(exchange, settle(read(exchange), fetcher, settings))


async def _spooled(exchange: Exchange, settling: Awaitable[Outcome]) -> Outcome:
    """The outcome, its images left in the files they came to; files of others (drafts, thoughts, damaged ones) removed."""
    used: list[FileBytes] = []
    try:
        outcome = await settling
        parts = tuple(map(_in_its_file, outcome.parts))
        used = [part.image.file for part in parts if isinstance(part.image, SpooledImage)]
        return replace(outcome, parts=parts) if used else outcome
    finally:
        for data in exchange.images.values():
            if isinstance(data, FileBytes) and not any(data is file for file in used):
                data.discard()


def _in_its_file(part: Part) -> Part:
    image = part.image
    if image is None or not isinstance(image.data, FileBytes):
        return part
    return replace(
        part,
        image=SpooledImage(file=image.data, mime_type=image.mime_type, width=image.width, height=image.height),
    )


async def settle(reply: Reply | Outcome, fetcher: ImageFetcher | None, settings: ProviderSettings) -> Outcome:
    """The outcome of *reply*, its linked images fetched and all of them looked at, its detail without keys."""
    outcome = reply if isinstance(reply, Outcome) else await _looked_at(reply, fetcher, settings)
    return replace(outcome, detail=sanitise(outcome.detail, _secrets(settings))) if outcome.detail else outcome


async def _looked_at(reply: Reply, fetcher: ImageFetcher | None, settings: ProviderSettings) -> Outcome:
    await turn()
    pieces = final_pieces(reply)
    if fetcher is not None:
        pieces = [await _fetched(piece, fetcher) for piece in pieces]
    return conclude(replace(reply, pieces=tuple(await _verified(pieces, settings))))


async def _verified(pieces: Sequence[Piece], settings: ProviderSettings) -> list[Piece]:
    """*pieces* with the facts of their images, or what is wrong with them."""
    images = [piece.data for piece in pieces if piece.data is not None]
    if not images:
        return list(pieces)
    results = iter(await verify_all(images, _pixel_check(settings)))
    return [piece if piece.data is None else _judged(piece, next(results)) for piece in pieces]


def _pixel_check(settings: ProviderSettings) -> int | None:
    """Bytes of picture data to go through in each image, if the provider's table says so."""
    value = settings.options.get("pixel_check")
    return value if isinstance(value, int) else None


def _judged(piece: Piece, result: ImageFacts | ImageDefect) -> Piece:
    """*piece* with what came of looking at its image.

    A file that is not whole may have been cut on its way, which :func:`conclude` finds out from its bytes. Pixel data that
    fails within a whole file was drawn or written like that: it is paid for, as any corrupt image is.
    """
    if isinstance(result, ImageFacts):
        return replace(piece, facts=result)
    if not isinstance(result, PixelDefect):
        return replace(piece, defect=str(result))
    # A piece without bytes counts as cut unless it has a link: an empty one says that nothing more is to be had.
    return replace(piece, data=None, defect=str(result), url=piece.url or "")


async def _fetched(piece: Piece, fetcher: ImageFetcher) -> Piece:
    if piece.url is None:
        return piece
    try:
        return replace(piece, data=await fetcher.fetch(piece.url))
    except FetchRefusedError as refusal:
        return replace(piece, defect=str(refusal))


async def checked(send: Callable[[], Awaitable[object]], settings: ProviderSettings, timeout: float) -> Outcome:  # noqa: ASYNC109
    """The outcome of a free call, which is never billed."""
    exchange = Exchange()
    with anyio.move_on_after(timeout) as scope:
        refused = await run(send, exchange)
        if refused is not None and _never_began(exchange):
            return _unsent(refused, settings)
    if scope.cancelled_caught:
        return Outcome(name="timeout", billed="no", detail=f"no answer within {timeout:g} s")
    outcome = _check_outcome(exchange)
    return replace(outcome, billed="no", detail=sanitise(outcome.detail, _secrets(settings)))


def option(settings: ProviderSettings, name: str) -> str:
    """A text option of the provider's table, or nothing."""
    value = settings.options.get(name)
    return value if isinstance(value, str) else ""


async def import_off_loop(module: str, exchange: Exchange | None = None) -> None:
    """Import an SDK in a thread: its first import takes up to half a second, in which the event loop goes on.

    *exchange* is told how long the call has waited for that.
    """
    if module not in sys.modules:
        began = time.perf_counter()
        await anyio.to_thread.run_sync(import_module, module)
        if exchange is not None:
            exchange.import_seconds += time.perf_counter() - began


def fetcher_for(settings: ProviderSettings) -> ImageFetcher:
    """The fetcher of linked images, with the exceptions that the provider's ``download_hosts`` name."""
    hosts = settings.options.get("download_hosts")
    allowed = [str(host) for host in hosts] if isinstance(hosts, list | tuple) else []
    return ImageFetcher(allowed, proxy=settings.proxy)


async def run(send: Callable[[], Awaitable[object]], exchange: Exchange) -> Exception | None:
    """Send; the exception is the SDK's view of what *exchange* holds, unless it refused to send at all."""
    try:
        with recording(exchange):
            await send()
    except Exception as error:  # SDKs raise what they like; what happened is in the record
        return error
    return None


def _never_began(exchange: Exchange) -> bool:
    """Whether the SDK gave up before anything reached the network."""
    return exchange.status is None and exchange.failure is None and not exchange.sent


def _unsent(refused: Exception, settings: ProviderSettings) -> Outcome:
    """The outcome of a call that the SDK did not make."""
    name: OutcomeName = "auth" if isinstance(refused, CredentialsError) else "invalid"
    return Outcome(name=name, billed="no", detail=sanitise(refused, _secrets(settings)))


def _check_outcome(exchange: Exchange) -> Outcome:
    if exchange.failure is not None or exchange.status is None:
        return broken(exchange)
    error = read_error(exchange)
    return classify(exchange, error) if error else Outcome(name="ok", billed="no")


def _secrets(settings: ProviderSettings) -> tuple[Secret, ...]:
    return (settings.api_key,) if settings.api_key else ()
