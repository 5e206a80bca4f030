"""The page's server: what it gives to whom, and what it takes from nobody else."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.trial.desk import Desk
from gateway.trial.journal import FILE, Journal
from gateway.trial.server import MAX_BODY, serving
from providers.errors import InvalidRequest
from tests.trial.trials import CHEAP, FINE, LANES, kept, lines, name, plan


@dataclass
class Page:
    """A browser without a mind of its own."""

    address: str
    desk: Desk
    journal: Journal

    @property
    def token(self) -> str:
        return urlsplit(self.address).path.strip("/")

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes, Any]:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        found = answer.status, answer.read(), answer.headers
        connection.close()
        return found

    def get(self, path: str) -> Any:
        status, content, _ = self.ask(f"/{self.token}/{path}")
        assert status == 200, content
        return json.loads(content)

    def post(self, path: str, document: Any, status: int = 200) -> Any:
        body = json.dumps(document).encode()
        found, content, _ = self.ask(f"/{self.token}/{path}", "POST", body, X_Trial_Token=self.token)
        assert found == status, content
        return json.loads(content)

    def judge(self, accepted: bool = True, **more: Any) -> Any:
        """Say the same of all images that are shown."""
        sheet = self.get("state")["sheet"]
        verdicts = [{"id": image["id"], "accepted": accepted, **more} for image in sheet["images"]]
        return self.post("verdicts", {"key": sheet["key"], "verdicts": verdicts})


def opened(folder: Path, prompts: int = 2) -> Iterator[Page]:
    journal = kept(folder, *lines(prompts, (), ()))
    desk = Desk(plan(prompts), LANES, journal)
    with serving(desk) as address:
        yield Page(address, desk, journal)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    yield from opened(tmp_path)


def test_the_page_is_judged_from_the_first_prompt_to_the_report(page: Page) -> None:
    state = page.get("state")
    assert (state["title"], state["bar"], state["judged"], state["total"]) == ("Posters", "It can be printed.", 0, 2)
    assert page.judge(False, reason="cut off", minutes=2.5)["judged"] == 1
    assert page.judge()["sheet"] is None
    told = page.post("reveal", {})
    assert {row["lane"] for row in told["rows"]} == set(LANES)
    assert page.desk.finished.wait(30)
    verdicts = page.journal.trial().verdicts.values()
    assert sorted((each.accepted, each.reason, each.minutes) for each in verdicts) == [
        (False, "cut off", 2.5), (False, "cut off", 2.5), (True, "", 0), (True, "", 0),
    ]  # fmt: skip


def test_no_answer_names_a_lane_before_the_report(page: Page) -> None:
    said = [page.ask(f"/{page.token}/{path}")[1] for path in ("", "trial.js", "report.js", "trial.css", "state")]
    said += [
        json.dumps(page.judge()).encode(),
        json.dumps(page.post("undo", {})).encode(),
        json.dumps(page.judge()).encode(),
    ]
    for word in (CHEAP, FINE, "first", "second", "painter"):
        assert not any(f'"{word}'.encode() in each for each in said)
    assert b"painter" not in b"".join(said)


def test_images_are_served_by_names_that_tell_nothing(page: Page) -> None:
    for image in page.get("state")["sheet"]["images"]:
        status, content, headers = page.ask(f"/{page.token}/images/{image['id']}")
        assert (status, content, headers["Content-Type"]) == (200, f"the image {image['id']}".encode(), "image/png")


def test_undo_brings_the_last_prompt_back_with_what_was_said_of_it(page: Page) -> None:
    first = page.get("state")["sheet"]["key"]
    page.judge(False, reason="blurred", minutes=3)
    state = page.post("undo", {})
    assert state["sheet"]["key"] == first
    assert [image["before"]["reason"] for image in state["sheet"]["images"]] == ["blurred", "blurred"]
    assert (state["judged"], state["undo"]) == (0, False)
    assert not page.journal.trial().verdicts
    page.post("undo", {}, status=409)


def test_verdicts_stand_once_the_lanes_are_known(page: Page) -> None:
    page.judge()
    page.judge()
    assert page.get("state")["undo"]
    page.post("reveal", {})
    assert not page.get("state")["undo"]
    page.post("undo", {}, status=409)


def test_there_is_no_report_before_everything_is_judged(page: Page) -> None:
    page.judge()
    assert "judged first" in page.post("reveal", {}, status=409)["error"]
    assert not page.desk.finished.is_set()


def test_a_trial_may_be_finished_early_where_the_stop_rule_is_met(tmp_path: Path) -> None:
    journal = kept(tmp_path, *lines(40, [False] * 20, [True] * 20, minutes=5))
    desk = Desk(plan(40), LANES, journal)
    assert desk.state()["settled"]
    assert desk.reveal()["recommendation"]["lane"] == FINE
    assert journal.trial().revealed == (20,)


def test_a_prompt_that_is_judged_is_not_judged_again(page: Page) -> None:
    sheet = page.get("state")["sheet"]
    page.judge()
    verdicts = [{"id": image["id"], "accepted": False} for image in sheet["images"]]
    assert (
        "still to be judged" in page.post("verdicts", {"key": sheet["key"], "verdicts": verdicts}, status=409)["error"]
    )


def test_what_cannot_be_meant_is_refused_and_not_written_down(page: Page) -> None:
    key = page.get("state")["sheet"]["key"]
    for verdicts in (None, [], "all", [{"id": name(0)}]):
        page.post("verdicts", {"key": key, "verdicts": verdicts}, status=409)
    page.post("weather", {}, status=404)
    assert not page.journal.trial().verdicts


@pytest.mark.parametrize("path", ["/", "/{}", "/wrong/", "/wrong/state", "/wrong/images/a", "/favicon.ico"])
def test_without_the_token_nothing_is_there(page: Page, path: str) -> None:
    assert page.ask(path.format(page.token))[0] == 404


@pytest.mark.parametrize(
    "path", ["images/nobody", "images/../trial.jsonl", "../trial.jsonl", "references/key0/0", "trial.py"]
)
def test_nothing_else_of_the_disk_is_served(page: Page, path: str) -> None:
    assert page.ask(f"/{page.token}/{path}")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "evil.example:{port}", "127.0.0.1.evil.example:{port}"])
def test_another_name_for_this_machine_is_refused(page: Page, host: str) -> None:
    port = str(urlsplit(page.address).port)
    assert page.ask(f"/{page.token}/state", Host=host.format(port=port))[0] == 403


def test_pages_of_others_cannot_post(page: Page) -> None:
    body = json.dumps({}).encode()
    token = page.token
    assert page.ask(f"/{token}/undo", "POST", body)[0] == 403
    assert page.ask(f"/{token}/undo", "POST", body, X_Trial_Token="wrong")[0] == 403
    assert page.ask(f"/{token}/undo", "POST", body, X_Trial_Token=token, Origin="http://evil.example")[0] == 403
    assert page.ask(f"/{token}/undo", "POST", body, X_Trial_Token=token, Origin=f"http://{page.host}")[0] == 409


@pytest.mark.parametrize(
    ("body", "length", "status"),
    [
        (b"x" * (MAX_BODY + 1), None, 413), (b"", "99999999999", 413), (b"", "-1", 413), (b"{", None, 400),
        (b"[" * 60000, None, 400),
    ],
)  # fmt: skip
def test_bodies_are_bounded_and_have_to_be_objects(page: Page, body: bytes, length: str | None, status: int) -> None:
    more = {"Content_Length": length} if length else {}
    try:
        found = page.ask(f"/{page.token}/undo", "POST", body, X_Trial_Token=page.token, **more)[0]
    except ConnectionError:
        found = 413  # it hung up while the rest was being sent
    assert found == status


def test_every_answer_forbids_what_the_page_does_not_need(page: Page) -> None:
    for path in (f"/{page.token}/", f"/{page.token}/state", "/"):
        headers = page.ask(path)[2]
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
        assert (headers["Referrer-Policy"], headers["Server"]) == ("no-referrer", "image-gateway")


def test_the_page_names_no_other_host(page: Page) -> None:
    for path in ("", "trial.js", "report.js", "trial.css"):
        text = page.ask(f"/{page.token}/{path}")[1].decode()
        assert "https:" not in text
        assert [word for word in text.split() if "http:" in word and "www.w3.org/2000/svg" not in word] == []


def test_it_listens_on_loopback_alone_and_each_time_under_another_token(tmp_path: Path, page: Page) -> None:
    assert urlsplit(page.address).hostname == "127.0.0.1"
    other = next(opened(tmp_path / "other"))
    assert len(page.token) >= 32
    assert other.token != page.token


def test_a_port_that_is_taken_is_told(page: Page) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidRequest, match="port: "), serving(page.desk, taken.getsockname()[1]):
            pass


def test_a_folder_that_is_gone_is_told_and_does_no_harm(page: Page) -> None:
    (page.journal.folder / FILE).unlink()
    status, content, _ = page.ask(f"/{page.token}/state")
    assert status == 500
    assert "the trial's folder cannot be used any more" in json.loads(content)["error"]
