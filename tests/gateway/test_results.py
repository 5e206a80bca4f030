"""What a caller holds in the end: results that save and travel, errors that come back from a pickle as they were."""

from __future__ import annotations

import pickle
from decimal import Decimal
from pathlib import Path

import pytest

from gateway import (
    AllAttemptsFailed,
    Attempt,
    BudgetExceeded,
    ConfigError,
    ContentBlocked,
    Cost,
    DeadlineExceeded,
    Exclusion,
    GatewayError,
    ImageResult,
    InvalidRequest,
    NoLaneAvailable,
    OutcomeUnknown,
    Plan,
)
from gateway.chain.conclusion import NoLaneForRequest
from providers.images import GeneratedImage
from tests.gateway.upstreams import draws, image, relay, studio, two

PNG, JPEG, WEBP = (image(mime_type=f"image/{form}") for form in ("png", "jpeg", "webp"))


def result(*images: GeneratedImage) -> ImageResult:
    painters = two()
    painters.script("first", draws(*images))
    return painters.draw()


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


@pytest.mark.parametrize(
    ("given", "saved"),
    [
        ("poster", "poster.png"),
        ("poster.png", "poster.png"),
        ("poster.PNG", "poster.PNG"),
        ("poster.jpg", "poster.png"),
        ("poster.webp", "poster.png"),
        ("poster.v2", "poster.v2.png"),
    ],
)
def test_a_suffix_is_added_or_corrected_to_the_real_format(tmp_path: Path, given: str, saved: str) -> None:
    (path,) = result(PNG).save(tmp_path / given)
    assert path == tmp_path / saved
    assert path.read_bytes() == PNG.data


@pytest.mark.parametrize(
    ("drawn", "given", "saved"), [(JPEG, "a.jpeg", "a.jpeg"), (JPEG, "a", "a.jpg"), (WEBP, "a.png", "a.webp")]
)
def test_each_format_has_its_suffix(tmp_path: Path, drawn: GeneratedImage, given: str, saved: str) -> None:
    assert names(result(drawn).save(str(tmp_path / given))) == [saved]


def test_several_images_are_numbered_from_the_second_on_each_with_its_own_suffix(tmp_path: Path) -> None:
    paths = result(PNG, JPEG, WEBP).save(tmp_path / "poster.v2")
    assert names(paths) == ["poster.v2.png", "poster.v2-2.jpg", "poster.v2-3.webp"]
    assert [path.read_bytes() for path in paths] == [PNG.data, JPEG.data, WEBP.data]


def test_in_a_folder_files_are_named_after_the_request(tmp_path: Path) -> None:
    made = result(PNG, JPEG)
    assert names(made.save(tmp_path)) == [f"{made.request_id}.png", f"{made.request_id}-2.jpg"]


def test_one_image_saves_alone(tmp_path: Path) -> None:
    assert JPEG.save(tmp_path / "fox.png") == tmp_path / "fox.jpg"
    assert (tmp_path / "fox.jpg").read_bytes() == JPEG.data


def test_a_folder_that_does_not_exist_is_an_os_error_and_the_image_is_still_there(tmp_path: Path) -> None:
    made = result(PNG)
    with pytest.raises(FileNotFoundError):
        made.save(tmp_path / "missing" / "fox")
    assert names(made.save(tmp_path / "fox")) == ["fox.png"]


def test_a_result_pickles() -> None:
    made = result(PNG, JPEG)
    assert pickle.loads(pickle.dumps(made)) == made


def test_every_request_has_an_id_of_its_own() -> None:
    assert result(PNG).request_id != result(PNG).request_id


def test_neither_a_result_nor_an_image_shows_its_bytes() -> None:
    assert "1024x1024" not in repr(result(PNG)) + repr(PNG)


def test_plans_and_health_pickle() -> None:
    painters = two()
    plan, health = painters.gateway.plan("a fox", size="4K"), painters.gateway.health()
    assert pickle.loads(pickle.dumps((plan, health))) == (plan, health)


ERRORS = (
    AllAttemptsFailed, BudgetExceeded, ConfigError, ContentBlocked, DeadlineExceeded, GatewayError, InvalidRequest,
    NoLaneAvailable, NoLaneForRequest, OutcomeUnknown,
)  # fmt: skip


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_comes_back_from_a_pickle_with_all_it_carries(kind: type[GatewayError]) -> None:
    attempt = Attempt(lane="a/b", size="4K", outcome="timeout", billed="maybe", cost=Cost(Decimal("0.1"), "catalogue"))
    plan = Plan((), (Exclusion(lane="a/b", reason="quota", detail="again in 5 s", retry_after=5.0),))
    error = kind("what happened", attempts=(attempt,), images=(PNG,), retry_after=5.0, plan=plan)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (str(back), back.attempts, back.images, back.retry_after, back.plan) == (
        "what happened", (attempt,), (PNG,), 5.0, plan,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_a_gateway_error_that_carries_nothing_unless_told(kind: type[GatewayError]) -> None:
    error = kind("what happened")
    assert isinstance(error, GatewayError)
    assert (error.attempts, error.images, error.retry_after, error.plan) == ((), (), None, None)


# Verdicts


def test_a_verdict_on_a_result_teaches_the_gateway_about_its_task() -> None:
    painters = studio(first=relay())
    painters.draw(task="poster").accept()
    painters.draw(task="poster").reject(cleanup_cost=2)
    (row,) = painters.gateway.plan("a fox", task="poster", quality="auto").acceptance.rows  # type: ignore[union-attr]
    assert (row.lane, row.verdicts, row.accepted) == ("first/painter", 2, pytest.approx(0.5, abs=0.01))
    assert float(row.cost or 0) == pytest.approx(2.10, rel=0.01)


def test_a_verdict_may_come_later_and_by_the_requests_id() -> None:
    painters = studio(first=relay())
    result = painters.draw(task="poster")
    painters.time.run(lambda: painters.gateway.feedback(result.request_id, False, cleanup_cost=1))
    result.accept()  # on second thoughts
    (row,) = painters.gateway.plan("a fox", task="poster", quality="auto").acceptance.rows  # type: ignore[union-attr]
    assert (row.verdicts, row.accepted) == (1, 1.0)


def test_a_verdict_on_a_pickled_result_says_where_it_can_be_given() -> None:
    result = pickle.loads(pickle.dumps(studio(first=relay()).draw()))
    with pytest.raises(InvalidRequest, match=r"gateway\.feedback\(result\.request_id"):
        result.accept()


def test_a_verdict_on_a_request_nobody_made_is_refused() -> None:
    painters = studio(first=relay())
    with pytest.raises(InvalidRequest, match="request_id"):
        painters.time.run(lambda: painters.gateway.feedback("0123456789abcdef", True))
