"""What trials taught, for the router: the verdicts of ``[router] acceptance``, by task and lane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

from gateway.router.acceptance import Judged, Verdicts
from gateway.trial.journal import Drawn, Journal, Trial, Verdict


def teach(verdicts: Verdicts, folders: Iterable[Path]) -> None:
    """Have *verdicts* take in those that were given in the trials kept in *folders*. Doing it again changes nothing.

    Raises:
        ConfigError: a folder holds no trial.
    """
    trials = [Journal(folder).trial() for folder in folders]
    for trial in trials:
        verdicts.recall(judged(trial))


def judged(trial: Trial) -> Iterator[Judged]:
    """The verdicts of *trial*, in the order in which they were given."""
    drawn = {image.id: image for image in trial.drawn.values()}
    rate = trial.begun.rate if trial.begun else Decimal(0)
    for given in trial.verdicts.values():
        if given.id in drawn:
            yield _judged(drawn[given.id], given, rate)


def _judged(image: Drawn, given: Verdict, rate: Decimal) -> Judged:
    return Judged(
        request_id=image.id, lane=image.lane, task=image.task, spend=image.usd, lost=image.lost, price=image.price,
        accepted=given.accepted, cleanup=given.cleanup(rate),
    )  # fmt: skip
