"""`spend` and `reconcile`: what the ledger says, and whether an invoice agrees."""

import csv
import io
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anyio
import pytest
from PIL import Image

from gateway.clock import Clock
from gateway.money.entries import Entry
from gateway.money.ledger import Ledger
from gateway.result import Cost
from gateway.state import open_state
from tests.cli.conftest import FLASH, configure, google_table, run, run_json, words

LEDGER = "sqlite:///ledger.db"


def call(number: int, lane: str, day: int, **more: Any) -> Entry:
    provider, _, model = lane.partition("/")
    facts: dict[str, Any] = {
        "request_id": f"request-{number}", "number": 1, "lane": lane, "provider": provider, "model": model, "size": "1K",
        "images": 1, "quoted": Decimal("0.04"), "started": datetime(2026, 10, day, 12, tzinfo=UTC),
    }  # fmt: skip
    return Entry(**{**facts, **more})


def write_ledger(url: str = LEDGER) -> None:
    """Five calls: three that were paid, one that may have been, one whose process died."""

    async def main() -> None:
        state = open_state(url)
        ledger = Ledger(state.ledger, Clock(wall=lambda: datetime(2026, 10, 3, tzinfo=UTC)))
        paid = [
            call(1, "google/nano", 1, task="poster", tags={"team": "art"}),
            call(2, "google/nano", 2, tags={"team": "art", "job": "7"}),
            call(3, "relay/pro", 2, quoted=Decimal("0.15"), task="poster"),
        ]
        for entry in paid:
            ledger.settle(await ledger.reserve(entry), "ok", "yes", Cost(entry.quoted, "catalogue"))
        slow = await ledger.reserve(call(4, "relay/pro", 2, quoted=Decimal("0.15")))
        ledger.settle(slow, "timeout", "maybe", Cost(Decimal("0.15"), "catalogue"))
        free = await ledger.reserve(call(6, "relay/pro", 2, quoted=Decimal("0.15")))
        ledger.settle(free, "rate_limited", "no", None)
        await ledger.reserve(call(5, "google/nano", 2, tags={"team": "=cmd()"}))
        await state.engine.aclose()

    anyio.run(main)


@pytest.fixture
def ledger(folder: Path) -> None:
    write_ledger()


def rows(*arguments: str) -> list[tuple[Any, ...]]:
    told = run_json("spend", "--state", LEDGER, *arguments)["rows"]
    return [(row["name"], row["calls"], row["failed"], row["usd"], row["uncertain"]) for row in told]


@pytest.mark.usefixtures("ledger")
class TestSums:
    def test_by_lane_from_the_dearest_down(self) -> None:
        assert rows() == [("relay/pro", 3, 2, 0.3, 0.15), ("google/nano", 3, 0, 0.12, 0.04)]

    def test_by_day_in_order(self) -> None:
        assert rows("--by", "day") == [("2026-10-01", 1, 0, 0.04, 0), ("2026-10-02", 5, 2, 0.38, 0.19)]

    def test_by_tag_a_call_counts_under_each_of_its_tags_and_once_in_the_total(self) -> None:
        assert rows("--by", "tag") == [
            ("(none)", 3, 2, 0.3, 0.15), ("team=art", 2, 0, 0.08, 0), ("job=7", 1, 0, 0.04, 0),
            ("team==cmd()", 1, 0, 0.04, 0.04),
        ]  # fmt: skip
        assert run_json("spend", "--state", LEDGER, "--by", "tag")["total"]["usd"] == 0.42

    def test_by_task(self) -> None:
        assert rows("--by", "task") == [("(none)", 4, 2, 0.23, 0.19), ("poster", 2, 0, 0.19, 0)]

    def test_since_a_day(self) -> None:
        assert rows("--since", "2026-10-02")[1] == ("google/nano", 2, 0, 0.08, 0.04)
        assert "since: expected a date" in words(run("spend", "--since", "yesterday", status=2).stderr)

    def test_for_people_with_bars_and_a_remark_on_what_is_not_certain(self) -> None:
        printed = run("spend", "--state", LEDGER).stdout.splitlines()
        assert printed[0].split() == ["lane", "calls", "failed", "USD", "perhaps"]
        assert printed[1].split() == ["relay/pro", "3", "2", "$0.30", "$0.15", "█" * 20]
        assert printed[2].split() == ["google/nano", "3", "0", "$0.12", "$0.04", "█" * 8]
        assert printed[3].split() == ["total", "6", "2", "$0.42", "$0.19"]
        assert printed[-1].startswith("perhaps: the part of USD")
        assert max(map(len, printed)) <= 80


@pytest.mark.usefixtures("ledger")
class TestExports:
    def test_every_call_as_csv_that_no_spreadsheet_runs(self) -> None:
        run("spend", "--state", LEDGER, "--csv", "out.csv")
        found = list(csv.DictReader(Path("out.csv").read_text(encoding="utf-8").splitlines()))
        assert [(row["id"], row["state"], row["billed"], row["usd"]) for row in found] == [
            ("request-1/1", "settled", "yes", "0.04"), ("request-2/1", "settled", "yes", "0.04"),
            ("request-3/1", "settled", "yes", "0.15"), ("request-4/1", "settled", "maybe", "0.15"),
            ("request-5/1", "unknown", "maybe", "0.04"), ("request-6/1", "settled", "no", "0"),
        ]  # fmt: skip
        assert found[0]["tags"] == '{"team": "art"}'
        printed = run("spend", "--state", LEDGER, "--csv", "-").stdout
        assert list(csv.DictReader(io.StringIO(printed))) == found

    def test_a_lane_that_looks_like_a_formula_is_made_harmless(self) -> None:
        async def main() -> None:
            state = open_state("sqlite:///evil.db")
            await state.ledger.reserve(call(1, '=HYPERLINK("x")', 1), ())
            await state.engine.aclose()

        anyio.run(main)
        assert ",\"'=HYPERLINK(" in run("spend", "--state", "sqlite:///evil.db", "--csv", "-").stdout

    def test_a_plot_as_svg_and_as_png(self) -> None:
        run("spend", "--state", LEDGER, "--plot", "spend.svg")
        run("spend", "--state", LEDGER, "--plot", "spend.png")
        texts = [each.text for each in ElementTree.parse("spend.svg").iter() if each.tag.endswith("text")]
        assert texts == [
            "USD by lane",
            "relay/pro",
            "$0.30",
            "google/nano",
            "$0.12",
            "blue: billed; yellow: perhaps billed",
        ]
        with Image.open("spend.png") as image:
            colours = {colour for _, colour in image.getcolors(1 << 16) or []}
            assert {(0x2B, 0x6C, 0xB0), (0xE0, 0xA0, 0x30)} <= colours

    @pytest.mark.parametrize("name", ["spend.gif", "no/folder/spend.svg"])
    def test_a_plot_that_cannot_be_written_is_told(self, name: str) -> None:
        assert "plot:" in words(run("spend", "--state", LEDGER, "--plot", name, status=2).stderr)


class TestWhichLedger:
    def test_without_a_ledger_nothing_has_been_spent_and_none_is_made(self, folder: Path) -> None:
        assert run("spend", "--state", LEDGER).stdout == "Nothing has been spent.\n"
        assert list(folder.iterdir()) == []

    def test_the_configured_one(self) -> None:
        write_ledger()
        configure({"state": LEDGER}, google={"kind": "google", "api_key": "env:KEY", "base_url": "http://localhost:1"})
        assert "KEY" in words(run("spend", status=2).stderr)  # what is wrong with the configuration is told
        assert run_json("spend", "--state", LEDGER)["total"]["calls"] == 6

    def test_the_configured_one_when_the_configuration_is_right(self, google: Any) -> None:
        write_ledger()
        configure({"state": LEDGER}, google=google_table(google))
        assert run_json("spend")["total"]["calls"] == 6

    def test_else_this_users_own(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(folder))
        (folder / "image-gateway").mkdir()
        write_ledger(f"sqlite:///{folder}/image-gateway/state.db")
        assert run_json("spend")["total"]["calls"] == 6


def reconciled(text: str, *arguments: str, status: int = 1) -> list[tuple[Any, ...]]:
    Path("invoice.csv").write_text(text, encoding="utf-8")
    told = run_json("reconcile", "invoice.csv", "--state", LEDGER, *arguments, status=status)["differences"]
    return [(each["day"], each["model"], each["invoiced"], each["words"]) for each in told]


@pytest.mark.usefixtures("ledger")
class TestReconcile:
    AGREES = "Usage date,SKU,Cost (USD),Quantity\n2026-10-01,Nano image,$0.04,1\n2026-10-02,Nano image,0.08,2\n"

    def test_an_invoice_that_agrees(self) -> None:
        Path("invoice.csv").write_text(self.AGREES, encoding="utf-8")
        printed = run("reconcile", "invoice.csv", "--state", LEDGER, "--provider", "google").stdout
        assert printed == "The invoice agrees with the ledger: 2 sums compared.\n"

    def test_what_may_have_been_billed_may_be_on_the_invoice_or_not(self) -> None:
        for amount in ("0.04", "0.08"):
            text = f"date;model;amount\n2026-10-01;nano;0.04\n2026-10-02;google/nano;{amount}\n"
            assert reconciled(text, "--provider", "google", status=0) == []

    def test_what_differs_is_listed(self) -> None:
        text = (
            "date,model,amount\n2026-10-01,nano,0.05\n2026-10-02,pro,0.10\n2026-10-03,nano,1.00\n2026-10-02,other,2\n"
        )
        assert reconciled(text) == [
            ("2026-10-01", "nano", 0.05, "more than the ledger"),
            ("2026-10-02", "nano", 0, "not on the invoice"),
            ("2026-10-02", "other", 2, "not in the ledger"),
            ("2026-10-02", "pro", 0.1, "less than the ledger"),
            ("2026-10-03", "nano", 1, "not in the ledger"),
        ]
        printed = run("reconcile", "invoice.csv", "--state", LEDGER, status=1).stdout
        assert "2026-10-01 nano $0.05 $0.04 $0.04 more than the ledger" in words(printed)
        assert "5 of 5 sums differ." in printed

    def test_by_model_alone_or_by_day_alone(self) -> None:
        assert reconciled("model,total\nnano,0.12\npro,0.30\n", status=0) == []
        assert reconciled("day\ttotal\n2026-10-01\t0.04\n2026-10-02\t9\n") == [
            ("2026-10-02", "", 9, "more than the ledger")
        ]

    def test_days_are_those_of_the_zone_that_is_named(self) -> None:
        text = "day,total\n2026-10-02,0.04\n2026-10-03,0.38\n"
        assert reconciled(text, "--zone", "Pacific/Kiritimati", status=0) == []
        assert "zone: expected a time zone" in words(run("reconcile", "invoice.csv", "--zone", "Mars", status=2).stderr)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "expected a heading with an amount"),
            ("when,what\n1,2\n", "it has when, what"),
            ("date,amount\nlast week,1\n", "line 2: expected a date"),
            ("date,amount\n2026-10-01,1\n2026-10-01,free\n", "line 3: amount: expected a number"),
            ("date;amount\n2026-10-01;12,34\n", "line 2: amount: expected a number"),  # a comma is not a point
            ("date,amount\n2026-10-01,NaN\n", "line 2: amount: expected a number"),
        ],
    )
    def test_what_cannot_be_read_is_told_with_its_place(self, text: str, told: str) -> None:
        Path("invoice.csv").write_text(text, encoding="utf-8")
        assert told in words(run("reconcile", "invoice.csv", "--state", LEDGER, status=2).stderr)

    def test_thousands_and_currencies_are_understood(self) -> None:
        (found,) = reconciled('date,amount\n2026-10-01,"US$1,234.50"\n2026-10-02,0.38 USD\n')
        assert found[2] == 1234.5

    def test_a_file_that_is_not_there(self) -> None:
        assert "invoice: none.csv cannot be read" in words(run("reconcile", "none.csv", status=2).stderr)


def test_bars_give_way_to_long_names_without_a_second_line(google):
    run("generate", "A cat", "--size", "512")
    rows = [line for line in run("spend").stdout.splitlines() if "█" in line]
    assert [line.split()[0] for line in rows] == [f"google/{FLASH}"]


def test_an_output_that_takes_no_more_is_told_without_a_traceback(google):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "lanes"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, "error: No space left on device\n")
