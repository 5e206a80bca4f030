"""Where the verdicts come in: what the page shows next, and what is written down."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gateway.trial.journal import Drawn, Journal, Revealed, Trial, Verdict, Withdrawn
from gateway.trial.judging import Sheet, judged_in_order, sheets, verdicts_on
from gateway.trial.plan import TrialPlan
from gateway.trial.report import recommended, report
from providers.errors import InvalidRequest


class Desk:
    """The verdicts on one trial. Any thread may use it. *finished* is set when the lanes have been revealed, and told.

    What it gives out are documents for the page. None but the report names a lane.
    """

    def __init__(self, plan: TrialPlan, lanes: Sequence[str], journal: Journal) -> None:
        self._plan, self._lanes, self._journal = plan, tuple(lanes), journal
        self._lock = threading.Lock()
        self._again = ""
        self._before: Mapping[str, Verdict] = {}
        self.finished = threading.Event()

    def state(self) -> dict[str, Any]:
        """What to show next.

        Raises:
            OSError, ConfigError: the journal cannot be read any more.
        """
        trial = self._journal.trial()
        shown = sheets(self._plan, self._lanes, trial)
        left = [sheet for sheet in shown if not sheet.judged(trial)]
        sheet = next((each for each in left if each.prompt.key == self._again), left[0] if left else None)
        return {
            "title": self._plan.title,
            "bar": self._plan.bar,
            "judged": len(shown) - len(left),
            "total": len(shown),
            "undo": self._last(shown, trial) is not None,
            "settled": recommended(shown, self._lanes, self._plan, trial).decided,
            "sheet": self._sheet(sheet) if sheet else None,
        }

    def judge(self, key: str, answers: Any) -> dict[str, Any]:
        """Write down the *answers* on the images of the prompt *key*; what to show next.

        Raises:
            InvalidRequest: they cannot be meant.
            OSError: they could not be written down.
        """
        with self._lock:
            trial = self._journal.trial()
            sheet = next((each for each in sheets(self._plan, self._lanes, trial) if each.prompt.key == key), None)
            if sheet is None or sheet.judged(trial):
                raise InvalidRequest("key: expected a prompt that is still to be judged; reload the page")
            self._journal.add(*verdicts_on(sheet, answers))
            self._again, self._before = "", {}
        return self.state()

    def undo(self) -> dict[str, Any]:
        """Take the last verdicts back; what to show next.

        Raises:
            InvalidRequest: there are none that may be taken back.
        """
        with self._lock:
            trial = self._journal.trial()
            last = self._last(sheets(self._plan, self._lanes, trial), trial)
            if last is None:
                raise InvalidRequest("undo: there is no verdict that may be taken back")
            self._again = last.prompt.key
            self._before = {image.id: trial.verdicts[image.id] for image in last.images}
            self._journal.add(*(Withdrawn(id=image.id) for image in last.images))
        return self.state()

    def reveal(self) -> dict[str, Any]:
        """The report, with which the verdicts become final.

        Raises:
            InvalidRequest: there is more to judge, and the stop rule is not met.
        """
        with self._lock:
            trial = self._journal.trial()
            shown = sheets(self._plan, self._lanes, trial)
            judged = judged_in_order(shown, trial)
            if len(judged) < len(shown) and not recommended(shown, self._lanes, self._plan, trial).decided:
                raise InvalidRequest("reveal: expected all images to be judged first")
            told = asdict(report(self._plan, self._lanes, trial))
            self._journal.add(Revealed(prompts=len(judged)))
        return told

    def image(self, name: str) -> tuple[bytes, str] | None:
        """The bytes and the media type of an image, by the id that the page knows it by.

        Raises:
            OSError: it cannot be read any more.
        """
        drawn = next((each for each in self._journal.trial().drawn.values() if each.id == name), None)
        return None if drawn is None else (self._journal.image(drawn), drawn.mime_type)

    def reference(self, key: str, number: int) -> tuple[bytes, str] | None:
        """The bytes and the media type of a prompt's reference image."""
        given = next((prompt.references for prompt in self._plan.prompts if prompt.key == key), ())
        return (given[number].data, given[number].mime_type) if number < len(given) else None

    def _sheet(self, sheet: Sheet) -> dict[str, Any]:
        return {
            "key": sheet.prompt.key,
            "prompt": sheet.prompt.text,
            "references": len(sheet.prompt.references),
            "images": [self._shown(image) for image in sheet.images],
        }

    def _shown(self, image: Drawn) -> dict[str, Any]:
        before = self._before.get(image.id)
        return {"id": image.id, "width": image.width, "height": image.height, "before": before and asdict(before)}

    def _last(self, shown: Sequence[Sheet], trial: Trial) -> Sheet | None:
        """The sheet judged last, if its verdicts are not final."""
        judged = judged_in_order(shown, trial)
        final = not judged or any(image.id in trial.final for image in judged[-1].images)
        return None if final else judged[-1]
