"""Lines on their way back: answers kept before they are told, failures sent again, and what is late drawn by the chain."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from gateway.batch import endings, intake
from gateway.batch.endings import Ending
from gateway.batch.jobs import TRIES, Chunk, Line, is_passing, unanswered
from gateway.batch.round import Round
from gateway.batch.shipping import GONE, TIMEOUT, Shipping
from gateway.chain.chain import Walk
from gateway.events import warn
from gateway.request import ImageRequest
from gateway.state.claims import KEPT
from providers.batches import BatchAnswer, BatchRefused
from providers.errors import BudgetExceeded, GatewayError, InvalidRequest, OutcomeUnknown
from providers.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Harvest:
    """The way back for the lines of one *round*."""

    round: Round

    async def collect(self) -> AsyncGenerator[Ending, None]:
        """Take in the answers of chunks that are over: the lines that end with it, each as soon as it is kept."""
        for chunk in self.round.open_chunks():
            if chunk.id and chunk.is_over:
                async with aclosing(self._collected(chunk)) as ended:
                    async for ending in ended:
                        yield ending

    async def _collected(self, chunk: Chunk) -> AsyncGenerator[Ending, None]:
        round_ = self.round
        answers = round_.adapter(chunk).batch_answers(chunk.id, TIMEOUT)
        try:
            async for answer in answers:
                ending = await self._taken(chunk, answer)
                if ending is not None:
                    yield ending
        except BatchRefused as refused:
            if refused.outcome.name not in GONE:
                await round_.postpone(chunk, refused.outcome)
                return
            for ending in await Shipping(round_).lost(chunk, refused.outcome):
                yield ending
            return
        finally:
            if isinstance(answers, AsyncGenerator):  # the caller may have had enough in the middle
                await answers.aclose()
        for line in round_.travellers(chunk):
            ending = await self._judged(line, unanswered(chunk))
            if ending is not None:
                yield ending
        await round_.write_off(chunk, unanswered(chunk))
        await round_.keep(replace(chunk, settled=True))

    async def _taken(self, chunk: Chunk, answer: BatchAnswer) -> Ending | None:
        """Take in one *answer*; the end of its line, if it is that."""
        line = self.round.lines.get(int(answer.key)) if answer.key.isdecimal() else None
        if line is None:
            warn(f"batch {self.round.job.id}: {chunk.lane} has answered a line that was not asked; it is ignored")
        elif line.chunk != chunk.name:
            pass  # it failed here and travels again, and this is read for the second time
        elif line.state == "submitted":
            return await self._judged(line, answer.outcome)
        elif line.handed_over is not None:
            return await self._late(line, answer.outcome)
        return None

    async def _judged(self, line: Line, outcome: Outcome) -> Ending | None:
        """Take in how the present try of *line* ended; its end, unless it travels again or goes to the chain."""
        round_ = self.round
        walk = await self._walk(line, outcome)
        attempt = walk.tried[-1].attempt
        lost, again = is_passing(outcome), line.again(attempt, round_.now)
        if lost and not round_.cancelled and round_.is_late:
            next_one = line.to_chain(round_.now, attempt)
        elif lost and not round_.is_stopping and line.tries < TRIES and endings.is_covered(again, walk.order.request):
            next_one = again
        else:
            return await round_.conclude(line, walk)
        await round_.settle(line, attempt)
        await round_.keep(next_one)
        return None

    async def _late(self, line: Line, outcome: Outcome) -> Ending | None:
        """Take in an answer to *line*, which was given to the chain meanwhile: what was paid for is kept, and counts.

        It is the end of *line* where the chain has not delivered.
        """
        round_ = self.round
        walk = await self._walk(line, outcome)
        await round_.settle(line, walk.tried[-1].attempt)
        if not walk.delivered or line.extra:
            return None
        ended = round_.ended(walk)
        if line.state == "succeeded":
            warn(
                f"batch {round_.job.id}: a line was drawn twice, since its answer came after the deadline; both are kept"
            )
            await round_.keep(replace(line, extra=await round_.kept(ended), attempts=endings.trail(walk)))
            return None
        return await round_.end(line, ended, endings.trail(walk))

    async def _walk(self, line: Line, outcome: Outcome) -> Walk:
        return endings.judged(await self.round.desk(line), line, outcome, self.round.seconds(line))

    async def hand_over(self) -> AsyncGenerator[Ending, None]:
        """Have the chain draw what is late: the lines that end with it, as they end.

        Each under an idempotency key of its own: whoever dies over it, it is not paid for a second time.
        """
        round_ = self.round
        requests: list[tuple[Line, ImageRequest]] = []
        for line in [each for each in round_.lines.values() if each.state == "chain"]:
            try:
                requests.append((line, await self._request(line)))
            except GatewayError as error:
                yield await round_.end(line, error, line.attempts)
        async with aclosing(round_.needs.chain([request for _, request in requests])) as drawn:
            async for place, ended in drawn:
                line = requests[place][0]
                yield await round_.end(line, ended, (*line.attempts, *ended.attempts))

    async def _request(self, line: Line) -> ImageRequest:
        """What the chain is asked for.

        Raises:
            OutcomeUnknown: it was asked so long ago that nobody knows any more what came of it.
            BudgetExceeded: its tries so far have used up its ``max_cost``.
            InvalidRequest: a reference image is lost.
        """
        round_ = self.round
        if line.handed_over is not None and round_.now - line.handed_over > KEPT:
            raise OutcomeUnknown(
                "the line was given to the chain more than a day ago, and nobody knows any more what came of it: money "
                "may have been spent (image-gateway spend shows what is known)"
            )
        try:
            references = await round_.references(line)
        except intake.Lost as lost:
            raise InvalidRequest(f"images: {lost}") from None
        key = f"batch/{round_.job.token}/{line.number}"
        asked = intake.bare(await round_.document(line))
        left = endings.left(line, asked)
        if left is not None and left <= 0:
            raise BudgetExceeded(f"max_cost ${asked.max_cost} is used up by what was or may have been charged so far")
        return asked.model_copy(
            update={"images": references, "idempotency_key": key, "save_to": None, "max_cost": left}
        )
