"""A gateway with its cache: what is kept is given again for nothing, and what is under way is shared."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from gateway import ConfigError, GatewayError, InvalidRequest
from gateway.blobs import FolderBlobs, ObjectBlobs
from gateway.cache.cache import DOWNGRADED_LIFE, key_of
from gateway.configuration import config
from gateway.fingerprint import digest, fingerprint
from gateway.request import ImageRequest
from gateway.state import threads
from gateway.state.stores import StateUnavailable
from providers.images import ReferenceImage
from providers.outcome import Part
from providers.turns import Turn
from tests.gateway.caches import ended, files, images_in, painters
from tests.gateway.upstreams import Studio, draws, fails, image, lane, picture_of, relay, tables, two
from tests.gateway.virtual_time import VirtualTime
from tests.providers.wire import picture

# Given again


def test_the_second_time_the_image_comes_from_the_cache_and_costs_nothing() -> None:
    studio = painters()
    told = ended(studio)
    first, again = studio.draw(), studio.draw()
    assert len(studio.calls) == 1
    assert (first.cached, again.cached) == (False, True)
    assert again.images[0] == first.images[0]
    assert (again.lane, again.size, again.parts) == (first.lane, first.size, first.parts)
    assert (again.cost.usd, again.total_cost.usd, again.attempts) == (0, 0, ())
    assert again.request_id != first.request_id
    assert (first.elapsed, again.elapsed) == (5.0, 0.0)
    assert [(each.cached, each.attempts, each.total_usd) for each in told] == [
        (False, 1, Decimal("0.05")), (True, 0, Decimal(0)),
    ]  # fmt: skip


def test_without_a_word_nothing_is_kept() -> None:
    studio = two()
    assert [studio.draw().cached for _ in range(2)] == [False, False]
    assert len(studio.calls) == 2


def test_a_request_may_ask_for_the_cache_and_may_do_without() -> None:
    studio = two()
    studio.draw(cache=True)
    assert studio.draw(cache=True).cached
    assert not studio.draw().cached
    always = painters()
    always.draw()
    assert not always.draw(cache=False).cached


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a wolf"}, {"size": "2K"}, {"aspect_ratio": "16:9"}, {"model": "painter"}, {"n": 2}, {"seed": 7},
        {"temperature": 0.5}, {"output_format": "png"}, {"providers": {"only": ["first"]}}, {"images": [picture()]},
        {"system_instruction": "in ink"}, {"quality": "auto"}, {"history": (Turn(prompt="a hill"),)},
    ],
)  # fmt: skip
def test_whatever_shapes_the_image_makes_another_request(other: dict[str, Any]) -> None:
    studio = painters()
    studio.draw()
    studio.draw(**other)
    assert len(studio.calls) > 1


def test_a_field_that_is_new_counts() -> None:
    class Wider(ImageRequest):
        mood: str = "calm"

    assert fingerprint(Wider(prompt="a fox"), ()) != fingerprint(Wider(prompt="a fox", mood="wild"), ())


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(TypeError, match="a set has no fingerprint"):
        digest({"a", "b"})


@pytest.mark.parametrize("other", [{"tags": {"a": "b"}}, {"task": "poster"}, {"deadline": 50}, {"max_cost": 1}])
def test_what_is_about_the_job_makes_no_difference(other: dict[str, Any]) -> None:
    studio = painters()
    studio.draw()
    assert studio.draw(**other).cached


def test_a_reference_file_that_was_changed_makes_another_request(tmp_path: Path) -> None:
    studio = painters()
    reference = tmp_path / "fox.png"
    for number, data in enumerate((picture(), picture(seed=2), picture())):
        reference.write_bytes(data)
        assert studio.draw(images=[reference]).cached is (number == 2)
    assert len(studio.calls) == 2


def test_the_images_of_a_conversation_count_by_their_bytes() -> None:
    loaded = painters().config

    def key(data: bytes) -> str:
        turn = Turn(prompt="a hill", images=(ReferenceImage(data, "image/png"),), answer=(Part(image=image()),))
        return key_of(ImageRequest(prompt="a fox", history=(turn,)), (), loaded)

    assert key(b"\xff\x00 one") == key(b"\xff\x00 one") != key(b"\xff\x00 two")


def test_the_models_of_the_router_count_where_it_picks_one() -> None:
    loaded = painters().config
    narrow = replace(loaded, models=("painter",))
    free, named = ImageRequest(prompt="a fox"), ImageRequest(prompt="a fox", model=("painter",))
    assert key_of(free, (), loaded) != key_of(free, (), narrow)
    assert key_of(named, (), loaded) == key_of(named, (), narrow)


def test_the_task_counts_where_it_decides_on_the_model() -> None:
    loaded = painters().config
    keys = {key_of(ImageRequest(prompt="a fox", quality="auto", task=task), (), loaded) for task in ("poster", "icon")}
    assert len(keys) == 2


def test_warnings_are_given_again() -> None:
    studio = painters()
    first = studio.draw(temperature=0.5)  # these lanes do not know it
    again = studio.draw(temperature=0.5)
    assert again.cached
    assert again.warnings == first.warnings != ()


def test_what_is_given_again_is_saved_where_it_is_wanted(tmp_path: Path) -> None:
    studio = painters()
    first, again = (studio.draw(save_to=tmp_path / name) for name in ("first", "again"))
    assert again.cached
    for result, name in ((first, "first.png"), (again, "again.png")):
        assert (tmp_path / name).read_bytes() == result.images[0].data == result.parts[0].image.data  # type: ignore[union-attr]
    (tmp_path / "first.png").unlink()
    assert studio.draw().images[0].data == again.images[0].data


def test_a_place_where_nothing_can_be_saved_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    studio = painters()
    with pytest.raises(InvalidRequest, match="save_to"):
        studio.draw(save_to=tmp_path / "nowhere" / "fox")
    assert studio.calls == []


def test_an_image_that_cannot_be_saved_is_on_the_error_and_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = painters()

    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(GatewayError, match="could not be saved: No space") as failed:
        studio.draw(save_to=tmp_path / "fox")
    assert len(failed.value.images) == 1
    assert studio.draw().cached


def test_some_of_several_images_are_not_kept() -> None:
    studio = painters()
    for provider in ("first", "second"):
        studio.script(provider, *[fails("invalid")] * 5)
    studio.script("first", draws(), fails("invalid"))
    assert len(studio.draw(n=2).images) == 1
    studio.scripts.clear()
    assert not studio.draw(n=2).cached


def test_a_verdict_on_a_cached_image_counts_for_the_one_that_was_paid_for() -> None:
    studio = painters()
    studio.draw(task="poster")
    studio.draw(task="poster").accept()
    assert studio.gateway._dispatcher.verdicts.of("poster")["first/painter"].accepted > 0


def test_a_key_that_is_used_again_and_the_cache_do_not_get_in_each_others_way() -> None:
    studio = painters()
    studio.draw()
    by_key = studio.draw(idempotency_key="order 7")
    assert by_key.cached
    assert studio.draw(idempotency_key="order 7") == by_key
    assert len(studio.calls) == 1


def test_an_object_store_keeps_images_as_a_folder_does() -> None:
    studio = painters()
    studio.gateway._dispatcher.setups.current.cache.blobs = ObjectBlobs(MemoryStore())
    first = studio.draw()
    again = studio.draw()
    assert (again.cached, again.images) == (True, first.images)


# The configuration


@pytest.mark.parametrize(
    ("written", "meant"), [(7, 7), ("7B", 7), ("1.5 kB", 1500), ("5GB", 5 * 10**9), ("1 GiB", 2**30), ("2MiB", 2**21)]
)
def test_a_limit_is_a_number_of_bytes_or_says_its_unit(written: object, meant: int) -> None:
    assert painters(max_bytes=written).config.cache.max_bytes == meant


@pytest.mark.parametrize("written", [0, -1, True, 1.5, "5", "5 gigs", "B", ""])
def test_what_is_no_number_of_bytes_is_refused(written: object) -> None:
    with pytest.raises(
        ConfigError, match=r'cache.max_bytes: expected bytes: an integer above 0, or a text such as "5GB"'
    ):
        painters(max_bytes=written)


def test_a_folder_begins_where_the_file_is_and_an_address_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    for store, meant in (("kept", str(tmp_path / "kept")), ("s3://bucket/prefix", "s3://bucket/prefix")):
        file.write_text(f'[cache]\nstore = "{store}"\n[providers.google]\nkind = "google"\napi_key = "env:KEY"\n')
        assert config.load(file, environ={"KEY": "canary"}).cache.store == meant


def test_what_is_in_the_cache_outlives_a_reload() -> None:
    studio = painters()
    studio.draw()
    made = tables(first=relay(lane(price=0.05)))
    studio.gateway.reload({**made, "cache": {"enabled": True}})
    assert studio.draw().cached


# How long, how much


def test_an_image_is_kept_for_so_long() -> None:
    studio = painters(max_age=100)
    studio.draw()
    studio.time.now += 99
    assert studio.draw().cached
    studio.time.now += 2
    assert not studio.draw().cached


def test_an_image_that_takes_more_than_there_is_room_for_is_delivered_with_a_warning() -> None:
    studio = painters(max_bytes=10)
    assert "more than [cache] max_bytes" in studio.draw().warnings[0]
    assert not studio.draw().cached


def test_what_was_not_used_for_longest_makes_room_on_the_disk_too(tmp_path: Path) -> None:
    studio = painters(tmp_path, max_bytes=2500)
    fox = studio.draw("a fox", model="painter")
    wolf = [image(1024 + each, 1024) for each in range(9)]
    for number in range(9):
        studio.script("first", draws(wolf[number]))
        studio.draw(f"wolf {number}")
        assert studio.draw("a fox", model="painter").cached
    assert fox.images[0].data in [path.read_bytes() for path in images_in(tmp_path)]
    assert len(images_in(tmp_path)) < 10
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 2500


def test_the_images_of_two_entries_are_kept_once_and_go_with_the_second(tmp_path: Path) -> None:
    studio = painters(tmp_path)
    studio.draw("a fox")
    studio.draw("another fox")
    assert len(images_in(tmp_path)) == 1
    cache, state = studio.gateway._dispatcher.setups.current.cache, studio.gateway._dispatcher.setups.current.state

    async def dropped(prompt: str) -> None:
        key = key_of(ImageRequest(prompt=prompt), (), studio.config)
        entry = await state.cache.find(key)
        assert entry is not None
        await cache._discard(await state.cache.drop(key, entry.reference))

    studio.time.run(lambda: dropped("a fox"))
    assert studio.draw("another fox").cached
    studio.time.run(lambda: dropped("another fox"))
    assert files(tmp_path) == []


def test_what_writers_that_died_have_left_is_swept_up_and_nothing_else(tmp_path: Path) -> None:
    long_after = VirtualTime(wall=datetime(2200, 1, 1, tzinfo=UTC))
    studio = Studio(painters(tmp_path).config, time=long_after)
    orphan = FolderBlobs(tmp_path).put(b"left behind")
    studio.draw("a fox")
    for thread in tuple(threads._running):
        thread.join()
    assert FolderBlobs(tmp_path).get(orphan) is None
    orphan = FolderBlobs(tmp_path).put(b"left behind")
    studio.draw("a wolf")
    assert FolderBlobs(tmp_path).get(orphan) is not None  # it is not looked for each time
    assert studio.draw("a fox").cached


# What can go wrong


def test_an_image_that_was_changed_is_dropped_and_drawn_anew(tmp_path: Path) -> None:
    studio = painters(tmp_path)
    first = studio.draw()
    (kept,) = images_in(tmp_path)
    kept.write_bytes(b"image/forged")
    again = studio.draw()
    assert not again.cached
    assert again.images[0].data == first.images[0].data
    assert kept.read_bytes() == first.images[0].data
    assert studio.draw().cached
    assert len(studio.calls) == 2


def test_an_image_that_was_deleted_is_drawn_anew(tmp_path: Path) -> None:
    studio = painters(tmp_path)
    studio.draw()
    for path in images_in(tmp_path):
        path.unlink()
    assert not studio.draw().cached
    assert studio.draw().cached


def test_a_full_disk_costs_a_warning_and_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = painters(tmp_path)

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        result = studio.draw()
    assert len(result.images) == 1
    assert "the result could not be cached" in result.warnings[0]
    assert "No space left" in result.warnings[0]
    assert files(tmp_path) == []
    assert not studio.draw().cached
    assert studio.draw().cached


def test_a_state_that_cannot_be_asked_costs_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    studio = painters()
    state = studio.gateway._dispatcher.setups.current.state

    async def away(*_: object) -> Any:
        raise StateUnavailable("the state is away")

    for store, names in ((state.cache, ("find", "keep", "drop", "blobs")), (state.claims, ("claim",))):
        for name in names:
            monkeypatch.setattr(store, name, away)
    result = studio.draw()
    assert len(result.images) == 1
    assert result.warnings == ("the result could not be cached: the state is away",)


# Smaller than asked


def test_a_smaller_image_is_never_given_to_one_who_does_not_take_it() -> None:
    studio = painters()
    studio.script("first", draws(picture_of("2K")))
    small = studio.draw(size="4K")
    assert (small.size, small.downgraded) == ("2K", True)
    assert studio.draw(size="4K").size == "2K"
    for strict in ({"min_size": "4K"}, {"fallback": []}, {"fallback": ["switch"]}):
        studio.script("first", draws(picture_of("4K")))
        assert studio.draw(size="4K", **strict).size == "4K"  # the first of them puts it into the cache
    assert len(studio.calls) == 2
    assert studio.draw(size="4K").size == "4K"


def test_a_smaller_image_is_given_again_for_an_hour_at_most() -> None:
    studio = painters()
    studio.script("first", draws(picture_of("2K")))
    studio.draw(size="4K")
    studio.time.now += DOWNGRADED_LIFE - 10
    assert studio.draw(size="4K").downgraded
    studio.time.now += 20
    assert studio.draw(size="4K").size == "4K"


def test_an_image_as_large_as_asked_serves_those_who_would_take_less_and_those_who_would_not() -> None:
    studio = painters()
    studio.draw(size="4K", min_size="1K")
    assert studio.draw(size="4K", min_size="4K", fallback=[]).cached
