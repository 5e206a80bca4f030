"""The lines of a trial: nothing is lost, nothing is made up, and a line that was cut off does no harm."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.trial.journal import FILE, Failed, Journal, Revealed, Trial, Withdrawn
from providers.errors import ConfigError
from tests.trial.trials import BEGUN, CHEAP, FINE, drawn, kept, name, verdict


def failed(prompt: int, lost: str = "0") -> Failed:
    return Failed(prompt=f"key{prompt}", lane=CHEAP, reason="timeout", lost=Decimal(lost), attempts=1, seconds=9.0)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    journal = kept(tmp_path, BEGUN, drawn(0), verdict(0, CHEAP, False, 2.5), failed(1, "0.05"), Revealed(prompts=1))
    trial = journal.trial()
    assert trial.begun == BEGUN
    assert trial.drawn == {("key0", CHEAP): drawn(0)}
    assert trial.verdicts == {name(0): verdict(0, CHEAP, False, 2.5)}
    assert str(trial.failed["key1", CHEAP].lost) == "0.05"
    assert (trial.revealed, trial.final) == ((1,), {name(0)})


def test_an_image_that_was_drawn_after_all_has_not_failed() -> None:
    assert not Trial.of([BEGUN, failed(0), drawn(0)]).failed


def test_a_verdict_can_be_withdrawn_and_given_anew_as_the_last() -> None:
    given = [verdict(0, CHEAP, True), verdict(0, FINE, True), Withdrawn(id=name(0)), verdict(0, CHEAP, False)]
    trial = Trial.of([BEGUN, drawn(0), drawn(0, FINE), *given])
    assert [(each.id, each.accepted) for each in trial.verdicts.values()] == [
        (name(0, FINE), True),
        (name(0, CHEAP), False),
    ]


def test_a_line_that_was_cut_off_is_passed_over_and_the_next_one_stands_by_itself(tmp_path: Path) -> None:
    journal = kept(tmp_path, BEGUN, drawn(0))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-20])
    assert not journal.trial().drawn
    journal.add(drawn(1))
    assert list(journal.trial().drawn) == [("key1", CHEAP)]


@pytest.mark.parametrize(
    "line",
    [b'{"kind": "weather"}', b"[]", b'{"kind": "drawn"}', b'{"kind":"verdict","id":"a","accepted":true,"minutes":-1}'],
)
def test_a_file_of_somebody_else_is_refused_with_the_line(tmp_path: Path, line: bytes) -> None:
    (tmp_path / FILE).write_bytes(line + b"\n")
    with pytest.raises(ConfigError, match=re.escape(f"{FILE}, line 1: expected a line that image-gateway trial wrote")):
        Journal(tmp_path).trial()


def test_no_line_can_lead_out_of_the_folder(tmp_path: Path) -> None:
    journal = kept(tmp_path, BEGUN, drawn(0))
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(text.replace(f"{name(0)}.png", "../../etc/passwd"))
    with pytest.raises(ConfigError, match="line 2"):
        journal.trial()
