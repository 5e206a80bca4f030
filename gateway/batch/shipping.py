"""Lines on their way up: reserved, packed into chunks that are written down before they are sent, looked after, called back.

A chunk whose fate is unknown, since a process died or an answer was lost, is looked up by its name before it is sent (again).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from gateway.batch import endings, intake, keys
from gateway.batch.endings import Ending
from gateway.batch.jobs import IN_TRANSIT, PASSING, Chunk, Line, was_unreachable
from gateway.batch.offers import travelling
from gateway.batch.round import Round
from gateway.configuration.credentials import KEY_TROUBLE
from gateway.health.cooldowns import Cause
from gateway.health.quotas import until_midnight
from gateway.money.ledger import Booking
from providers.batches import BatchLine, BatchRefused
from providers.errors import BudgetExceeded, GatewayError, InvalidRequest
from providers.outcome import Outcome

MAX_LINES: Final = 5_000
"""Lines of one chunk: they are in memory together while they are sent."""
MAX_BYTES: Final = 100_000_000
"""Bytes of one chunk, roughly. Google takes files of 2 GB, OpenAI of 200 MB; it is in memory while it is sent."""
TIMEOUT: Final = 300.0
"""Seconds for one exchange with an upstream about a job."""
AT_ONCE: Final = 50
"""Reservations made together, so that they share the wait for the disk."""
GONE: Final = frozenset({"invalid", "model_gone"})
"""What an upstream answers about a job that it does not know."""
TOO_FULL: Final = frozenset({*PASSING, "quota_exhausted", "balance"}) - {"cancelled"}
"""Refusals of a whole job that pass: it waits."""


@dataclass(frozen=True, slots=True)
class Shipping:
    """The way up for the lines of one *round*."""

    round: Round

    async def reserve(self, lines: Sequence[Line]) -> list[tuple[Line, BudgetExceeded]]:
        """Reserve the money for the present try of *lines*, where that has not happened; those that are refused it.

        Raises:
            StateUnavailable: the books cannot be written now.
        """
        refused = []
        for start in range(0, len(lines), AT_ONCE):
            some = lines[start : start + AT_ONCE]
            answers = await asyncio.gather(*map(self._reserve, some), return_exceptions=True)
            for line, answer in zip(some, answers, strict=True):
                if isinstance(answer, BudgetExceeded):
                    refused.append((line, answer))
                elif isinstance(answer, BaseException):
                    raise answer
                elif line.counters is None:
                    self.round.learn(replace(line, counters=tuple(charge.counter for charge in answer.charges)))
        return refused

    async def withdraw(self) -> None:
        """Give back what is reserved for lines that were never sent."""
        for line in self.round.lines.values():
            await self.round.void(line)

    async def give_up_unsent(self) -> None:
        """Give up all lines, if this round could not reach an upstream with any of them."""
        round_ = self.round
        unsent = [name for name, outcome in round_.refusals.items() if was_unreachable(outcome)]
        under_way = [chunk for chunk in round_.chunks.values() if not chunk.settled]
        if any(chunk.name not in unsent for chunk in under_way):
            return
        for chunk in under_way:
            outcome = round_.refusals[chunk.name]
            told = replace(outcome, detail=f"nothing was sent: {outcome.detail}")
            for line in round_.travellers(chunk):
                await self.give_up(line, told)

    async def move(self) -> list[Ending]:
        """Bring everything on as far as that goes now; the lines that end with it."""
        ended = await self._confirm()
        ended += await (self._stop() if self.round.is_stopping else self._send())
        return ended + await self.look()

    async def look(self) -> list[Ending]:
        """Ask how the chunks are doing that may be asked about; the lines that end with it."""
        ended = []
        for chunk in self.round.open_chunks():
            if chunk.id and not chunk.is_over:
                ended += await self._look(chunk)
        return ended

    async def lost(self, chunk: Chunk, outcome: Outcome) -> list[Ending]:
        """The end of the lines of *chunk*, of which the upstream says with *outcome* that it does not know it."""
        told = Outcome(name=outcome.name, billed="maybe", detail=f"the job is not there any more: {outcome.detail}")
        ended = [await self.give_up(line, told) for line in self.round.travellers(chunk)]
        await self.round.write_off(chunk, told)
        await self.round.keep(replace(chunk.refused(outcome, self.round.now), settled=True))
        return ended

    # What is known of chunks

    async def _confirm(self) -> list[Ending]:
        """Find out about chunks of which nobody knows whether they arrived."""
        ended = []
        for chunk in self.round.open_chunks():
            if not chunk.id:
                ended += await self._find(chunk)
        return ended

    async def _find(self, chunk: Chunk) -> list[Ending]:
        round_ = self.round
        try:
            found = await round_.adapter(chunk).find_batch(chunk.name, TIMEOUT)
        except BatchRefused as refused:
            await round_.postpone(chunk, refused.outcome)
            return []
        if found is not None:
            await round_.keep(chunk.told(found, round_.now))
        elif round_.is_stopping:  # it never was sent, and will not be
            back = [replace(line, state="waiting", chunk="") for line in round_.travellers(chunk)]
            await round_.keep(replace(chunk, settled=True), *back)
        else:
            return await self._create(chunk)
        return []

    async def _look(self, chunk: Chunk) -> list[Ending]:
        round_ = self.round
        try:
            progress = await round_.adapter(chunk).batch_progress(chunk.id, TIMEOUT)
        except BatchRefused as refused:
            if refused.outcome.name in GONE:
                return await self.lost(chunk, refused.outcome)
            await round_.postpone(chunk, refused.outcome)
        else:
            await round_.keep(chunk.told(progress, round_.now))
        return []

    # The way up

    async def _send(self) -> list[Ending]:
        """Reserve and send what waits."""
        round_ = self.round
        waiting = [line for line in round_.lines.values() if line.state == "waiting"]
        ended = [await self._refuse(line, refusal) for line, refusal in await self.reserve(waiting)]
        waiting = [line for line in round_.lines.values() if line.state == "waiting"]
        asked = [(line, await round_.document(line)) for line in waiting]
        for (lane, _), alike in groupby(sorted(asked, key=_kind), _kind):
            for piece in _pieces((line, intake.weight(document)) for line, document in alike):
                ended += await self._begin(lane, piece)
        return ended

    async def _begin(self, lane: str, lines: Sequence[Line]) -> list[Ending]:
        """Write down that *lines* are about to be sent, and send them."""
        round_ = self.round
        name = f"image-gateway-{round_.job.token}-{len(round_.chunks) + 1}"
        chunk = Chunk(name=name, lane=lane, digest=self._digest(lane), begun=round_.now)
        sent = [line.travelling(name) for line in lines]
        if not await round_.book.begin(round_.job.id, chunk, sent):
            return []  # another process is at it, which has taken this one for dead
        round_.learn(chunk, *sent)
        return await self._create(chunk)

    async def _create(self, chunk: Chunk) -> list[Ending]:
        round_ = self.round
        packed, ended = await self._packed(chunk)
        if not await round_.lease.held():
            return ended  # another process goes on
        if not packed:
            await round_.keep(replace(chunk, settled=True))
            return ended
        await round_.keep(replace(chunk, not_before=round_.now + IN_TRANSIT))  # should this process end here
        try:
            progress = await round_.adapter(chunk).submit_batch(chunk.name, packed, TIMEOUT)
        except BatchRefused as refused:
            return ended + await self._refused(chunk, refused.outcome)
        await round_.keep(chunk.told(progress, round_.now))
        return ended

    async def _packed(self, chunk: Chunk) -> tuple[list[BatchLine], list[Ending]]:
        """The lines of *chunk* as they are sent; those that cannot be any more end here."""
        packed: list[BatchLine] = []
        ended: list[Ending] = []
        for line in self.round.travellers(chunk):
            try:
                references = await self.round.references(line)
            except intake.Lost as lost:
                ended.append(await self._refuse(line, InvalidRequest(f"images: {lost}")))
                continue
            order = (await self.round.desk(line)).order
            packed.append(travelling(line, replace(order, references=references), TIMEOUT))
        return packed, ended

    async def _refused(self, chunk: Chunk, outcome: Outcome) -> list[Ending]:
        """Go on after the upstream did not take *chunk*: look it up later, try another key, wait, or give its lines up."""
        round_ = self.round
        if outcome.billed == "no" and self._has_another_key(chunk, outcome):
            await round_.keep(replace(chunk, digest=self._digest(chunk.lane)))  # due at once
            return await self._create(round_.chunks[chunk.name])
        if outcome.billed != "no" or outcome.name in TOO_FULL:
            round_.refusals[chunk.name] = outcome
            await round_.postpone(chunk, outcome)
            return []
        ended = [await self.give_up(line, outcome) for line in round_.travellers(chunk)]
        await round_.keep(replace(chunk.refused(outcome, round_.now), settled=True))
        return ended

    def _digest(self, lane: str) -> str:
        """The digest of the key that is to be used for *lane* now."""
        setup, (provider, _, model) = self.round.setup, lane.partition("/")
        place = setup.credentials[provider].pick(model, self.round.needs.clock.monotonic())
        return keys.digest(setup.config.providers[provider].settings[place])

    def _has_another_key(self, chunk: Chunk, outcome: Outcome) -> bool:
        """Whether the key was refused, is passed over from now on, and another one is left."""
        if outcome.name not in KEY_TROUBLE:
            return False
        needs, (provider, _, model) = self.round.needs, chunk.lane.partition("/")
        cause = Cause(
            outcome=outcome.name,
            reset=until_midnight(self.round.now),
            lasting=outcome.lasting,
            luck=needs.monitor.luck(),
        )
        credentials = self.round.setup.credentials[provider]
        return credentials.rest(self.round.place(chunk), model, cause, needs.clock.monotonic())

    # The way back

    async def _stop(self) -> list[Ending]:
        """Call back what is under way; what was not sent ends here, or goes to the chain."""
        round_ = self.round
        ended = []
        for line in [each for each in round_.lines.values() if each.state == "waiting"]:
            if round_.cancelled:
                ended.append(await self.give_up(line, Outcome(name="cancelled", billed="no", detail="cancelled")))
            else:
                await round_.void(line)
                await round_.keep(line.to_chain(round_.now))
        await self.call_back()
        if round_.is_out_of_patience and not round_.cancelled:
            await self._overtake()
        return ended

    async def call_back(self) -> None:
        """Tell upstreams to leave undone what they have not begun."""
        for chunk in [
            each for each in self.round.chunks.values() if each.id and not each.is_over and not each.stopping
        ]:
            await self._call_back(chunk)

    async def _call_back(self, chunk: Chunk) -> None:
        round_ = self.round
        try:
            await round_.adapter(chunk).cancel_batch(chunk.id, TIMEOUT)
        except BatchRefused as refused:
            await round_.keep(replace(chunk, detail=f"{refused.outcome.name}: {refused.outcome.detail}"))
        else:
            await round_.keep(replace(chunk, stopping=True, not_before=None))

    async def _overtake(self) -> None:
        """Give to the chain what a chunk does not say anything about; should its answer come yet, it is kept."""
        round_ = self.round
        late = [chunk for chunk in round_.chunks.values() if not chunk.is_over and not chunk.settled]
        for chunk in late:
            lines = [line.to_chain(round_.now) for line in round_.travellers(chunk)]
            if lines:
                await round_.keep(*lines)

    # The end of a line

    async def give_up(self, line: Line, outcome: Outcome) -> Ending:
        """The end of *line* with *outcome*, for good."""
        round_ = self.round
        return await round_.conclude(
            line, endings.judged(await round_.desk(line), line, outcome, round_.seconds(line))
        )  # fmt: skip

    async def _refuse(self, line: Line, refusal: GatewayError) -> Ending:
        """The end of *line*, which *refusal* keeps from travelling."""
        await self.round.void(line)
        error = endings.refused(await self.round.desk(line), line, refusal)
        return await self.round.end(line, error, line.attempts)

    async def _reserve(self, line: Line) -> Booking:
        return await self.round.setup.ledger.reserve(await self.round.entry(line))


def _kind(asked: tuple[Line, Mapping[str, Any]]) -> tuple[str, bool]:
    """What lines of one chunk share: the lane, and whether they edit images, which has an endpoint of its own at OpenAI."""
    line, document = asked
    return line.lane, "images" in document


def _pieces(weighed: Iterable[tuple[Line, int]]) -> Iterator[list[Line]]:
    """The lines of *weighed*, each with its bytes, cut into what one chunk takes."""
    piece: list[Line] = []
    held = 0
    for line, weight in weighed:
        if piece and (len(piece) >= MAX_LINES or held + weight > MAX_BYTES):
            yield piece
            piece, held = [], 0
        piece.append(line)
        held += weight
    if piece:
        yield piece
