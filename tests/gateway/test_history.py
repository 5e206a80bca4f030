"""What a lane is sent of a conversation, and where a conversation goes on."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import ImageRequest, InvalidRequest, catalogue
from gateway.chat.history import ROOM, for_lane, plain, told
from gateway.configuration import config
from gateway.configuration.settings import ProviderTable
from gateway.router.router import note
from gateway.saving import SavedImage
from providers.images import GeneratedImage, ReferenceImage
from providers.outcome import Part
from providers.turns import Turn
from tests.gateway.lanes import FLASH, at, order, planned, why
from tests.gateway.upstreams import lane, relay, tables

HERE = FLASH.name
ROOMY = replace(FLASH, references=14)
IMAGES_ONLY = replace(FLASH, turns=False)


def drawn(size: int = 100) -> GeneratedImage:
    return GeneratedImage(data=bytes(size), mime_type="image/png", width=64, height=64)


def turn(prompt: str = "a fox", lane: str = HERE, *, size: int = 100, references: int = 0) -> Turn:
    answer = (Part(text="Here.", signature="c2ln"), Part(image=drawn(size), signature="bmVk"))
    given = tuple(ReferenceImage(bytes(50), "image/png") for _ in range(references))
    return Turn(prompt=prompt, images=given, answer=answer, lane=lane)


def prompts(turns: tuple[Turn, ...]) -> list[str]:
    return [each.prompt for each in turns]


def signatures(turns: tuple[Turn, ...]) -> list[str | None]:
    return [part.signature for each in turns for part in each.answer]


class TestSignatures:
    def test_go_back_to_the_lane_that_gave_them(self) -> None:
        history = (turn(), turn())
        assert for_lane(history, ROOMY, 0) == history

    @pytest.mark.parametrize("other", ["acme/pro", "relay/flash", ""])
    def test_of_another_model_or_another_provider_stay_behind(self, other: str) -> None:
        sent = for_lane((turn(), turn(lane=other)), ROOMY, 0)
        assert signatures(sent) == ["c2ln", "bmVk", None, None]

    def test_nothing_else_of_a_foreign_turn_is_lost(self) -> None:
        foreign = turn(lane="relay/flash", references=1)
        (sent,) = for_lane((foreign,), ROOMY, 0)
        assert (sent.prompt, sent.images, sent.words, sent.drawn) == (
            foreign.prompt, foreign.images, foreign.words, foreign.drawn,
        )  # fmt: skip


class TestImages:
    def test_in_a_file_come_into_memory(self, tmp_path: Path) -> None:
        (tmp_path / "fox.png").write_bytes(b"fox")
        saved = SavedImage(path=tmp_path / "fox.png", mime_type="image/png", width=64, height=32)
        assert plain(saved) == GeneratedImage(data=b"fox", mime_type="image/png", width=64, height=32)

    def test_whose_file_is_gone_cost_no_result(self, tmp_path: Path) -> None:
        gone = SavedImage(path=tmp_path / "gone.png", mime_type="image/png", width=64, height=32)
        assert plain(gone) is gone


class TestRoom:
    def test_the_last_turns_are_sent_as_far_as_the_lane_takes_their_images(self) -> None:
        history = tuple(turn(str(number)) for number in range(1, 21))
        assert prompts(for_lane(history, ROOMY, 0)) == [str(number) for number in range(7, 21)]

    def test_new_references_take_room_from_old_turns(self) -> None:
        history = (turn("1"), turn("2", references=1), turn("3"))
        assert prompts(for_lane(history, replace(FLASH, references=5), 1)) == ["1", "2", "3"]
        assert prompts(for_lane(history, replace(FLASH, references=5), 2)) == ["2", "3"]

    def test_the_last_turn_is_sent_without_its_references_rather_than_not_at_all(self) -> None:
        history = (turn("1"), turn("2", references=3))
        (sent,) = for_lane(history, FLASH, 2)
        assert (sent.prompt, sent.images, sent.drawn) == ("2", (), history[1].drawn)

    def test_a_request_does_not_grow_beyond_what_google_takes(self) -> None:
        history = tuple(turn(str(number), size=ROOM // 3) for number in range(1, 6))
        assert prompts(for_lane(history, ROOMY, 0)) == ["3", "4", "5"]

    def test_an_image_that_is_too_large_for_the_lane_ends_it_unless_the_lane_drew_it(self) -> None:
        small = replace(ROOMY, reference_bytes=1_000)
        own = (turn("1", size=2_000), turn("2"))
        assert prompts(for_lane(own, small, 0)) == ["1", "2"]
        assert prompts(for_lane((turn("1", "relay/flash", size=2_000), turn("2")), small, 0)) == ["2"]

    def test_a_lane_that_is_told_of_no_turns_is_left_to_take_the_last_image(self) -> None:
        history = tuple(turn(str(number)) for number in range(20))
        assert len(for_lane(history, IMAGES_ONLY, 0)) == 20


class TestWarnings:
    def test_none_where_nothing_changed(self) -> None:
        assert list(told((turn(), turn()), ROOMY, 0)) == []
        assert list(told((), ROOMY, 0)) == []

    def test_a_move_names_both_lanes_and_what_was_left_behind(self) -> None:
        assert list(told((turn(lane="relay/flash"),), ROOMY, 0)) == [
            "the conversation moved from relay/flash to acme/flash: it was sent the earlier turns in its own form; thought "
            "signatures were left behind"
        ]

    def test_a_move_to_edits_says_that_one_image_is_all_that_went(self) -> None:
        assert list(told((turn(lane="relay/flash"),), IMAGES_ONLY, 0)) == [
            "the conversation moved from relay/flash to acme/flash: it was sent the last image and the new prompt; earlier "
            "turns and thought signatures were left behind"
        ]

    def test_nothing_is_said_of_signatures_where_there_were_none(self) -> None:
        silent = replace(turn(lane="relay/flash"), answer=(Part(image=drawn()),))
        for lane_there in (ROOMY, IMAGES_ONLY):
            assert "signatures" not in "".join(told((silent,), lane_there, 0))

    def test_turns_without_room_are_counted(self) -> None:
        history = tuple(turn() for _ in range(5))
        assert list(told(history, FLASH, 1)) == [
            "acme/flash was not sent the first 3 of 5 turns: a request has no room for their images"
        ]

    def test_references_without_room_are_mentioned(self) -> None:
        assert list(told((turn(references=3),), FLASH, 0)) == [
            "acme/flash was not sent the reference images of the last turn: a request has no room for them"
        ]


def begun_at(provider: str, **fields: Any) -> dict[str, Any]:
    return {"history": (turn(lane=f"{provider}/flash"),), **fields}


class TestTheRouter:
    def test_stays_with_the_last_lane_though_others_are_cheaper(self) -> None:
        lanes = (at("cheap", "0.01"), at("dear", "0.09"))
        assert order(planned(*lanes)) == ["cheap", "dear"]
        assert order(planned(*lanes, **begun_at("dear"))) == ["dear", "cheap"]

    @pytest.mark.parametrize("fallback", [("switch", "downgrade"), ("downgrade", "switch"), ("downgrade",)])
    def test_stays_however_it_gives_way(self, fallback: tuple[str, ...]) -> None:
        lanes = (at("cheap", "0.01"), at("dear", "0.09"))
        plan = planned(*lanes, **begun_at("dear", size="4K", fallback=fallback))
        assert plan.candidates[0].lane == "dear/flash"
        assert plan.candidates[0].size == "4K"

    def test_stays_with_it_where_quality_would_be_learnt(self) -> None:
        lanes = (at("cheap", "0.01"), at("dear", "0.09", lane_class="premium"))
        assert order(planned(*lanes, **begun_at("dear", quality="auto")))[0] == "dear"

    def test_goes_where_the_caller_says(self) -> None:
        lanes = (at("cheap", "0.01"), at("dear", "0.09"), at("other", "0.09", model="pro", upstream_model="pro"))
        assert order(planned(*lanes, **begun_at("dear", providers={"order": ["cheap"]})))[0] == "cheap"
        assert order(planned(*lanes, **begun_at("dear", model="pro"))) == ["other"]
        assert order(planned(*lanes, **begun_at("other", model=["flash", "pro"])))[0] == "cheap"

    def test_does_not_stay_with_a_lane_that_has_not_the_size(self) -> None:
        lanes = (at("large", "0.09"), at("small", "0.01", sizes=("1K", "2K")))
        assert order(planned(*lanes, **begun_at("small", size="4K")))[0] == "large"

    def test_leaves_out_lanes_that_take_no_image_back(self) -> None:
        blind = at("blind", references=0)
        plan = planned(blind, at("seeing"), **begun_at("blind"))
        assert order(plan) == ["seeing"]
        assert why(plan) == {"blind": ("capability", "takes 0 reference images, not 1")}

    def test_counts_the_last_image_among_the_references(self) -> None:
        new = [bytes(10)] * 3
        assert order(planned(at("three"), images=new)) == ["three"]
        assert why(planned(at("three"), **begun_at("other", images=new)))["three"][0] == "capability"

    def test_weighs_the_last_image_unless_the_lane_drew_it(self) -> None:
        lanes = (at("first", reference_bytes=50), at("second", reference_bytes=50))
        plan = planned(*lanes, **begun_at("second"))
        assert order(plan) == ["second"]
        assert why(plan) == {"first": ("capability", "takes reference images of 50 bytes, not 100")}

    def test_a_conversation_makes_no_lane_the_incumbent(self) -> None:
        incumbents: dict[Any, str] = {}
        note(incumbents, ImageRequest(prompt="x", history=(turn(),)), planned(FLASH))
        assert incumbents == {}
        note(incumbents, ImageRequest(prompt="x"), planned(FLASH))
        assert list(incumbents.values()) == [HERE]


class TestARequestWithHistory:
    def test_takes_turns_and_nothing_else(self) -> None:
        assert ImageRequest(prompt="x", history=[turn()]).history == (turn(),)
        with pytest.raises(InvalidRequest, match="history: "):
            ImageRequest(prompt="x", history=["a fox"])

    def test_shows_none_of_it(self) -> None:
        request = ImageRequest(prompt="x", history=(turn("a secret fox"),))
        assert "secret" not in f"{request!r} {request} {request.history!r}"
        assert "history" not in request.model_dump()

    def test_pickles(self) -> None:
        request = ImageRequest(prompt="x", history=(turn(),))
        assert pickle.loads(pickle.dumps(request)) == request


def test_the_catalogue_knows_which_wires_tell_of_turns() -> None:
    dialects = ("images", "images-json", "openrouter-images", "chat", "chat-flat", "new-api")
    task = {"submit": "/t", "poll": "/t/{id}", "id": "id", "status": "s", "images": "i"}
    providers: dict[str, Any] = {name: relay(lane(), dialect=name) for name in dialects}
    providers |= {"task": relay(lane(), task=task), "google": {"kind": "google", "api_key": "key-1"}}
    loaded = config.load(tables(**providers), environ={})
    told_of: dict[str, bool] = {each.provider: each.turns for each in loaded.lanes}
    assert [name for name, turns in told_of.items() if turns] == ["chat", "chat-flat", "new-api", "google"]


def test_an_adapter_of_a_kind_of_its_own_is_asked_for_edits() -> None:
    table = ProviderTable.model_validate(
        {"kind": "acme", "api_key": "env:K", "lanes": [lane()]}, context={"kinds": ("acme",)}
    )
    assert [each.turns for each in catalogue.lanes_for("p", table)] == [False]
