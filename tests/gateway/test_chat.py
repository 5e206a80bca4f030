"""Conversations: what is kept of each turn, what changes them and what does not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway import AllAttemptsFailed, ContentBlocked, Gateway, ImageResult, InvalidRequest
from gateway.chat.chat import UNSIGNED, AsyncChat
from gateway.configuration import config as configuration
from providers.exchange import Exchange
from providers.outcome import Outcome, Part
from providers.request import UpstreamRequest
from tests.gateway.upstreams import Answer, Studio, draws, fails, image, lane, picture_of, relay, studio, tables
from tests.providers.wire import picture

FIRST, SECOND = "first/painter", "second/painter"


def signing(text: str = "Here.", signature: str = "c2lnbmVk") -> Answer:
    """Draws, and signs what it says and draws."""

    async def answer(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        drawn = picture_of(request.size or "1K")
        parts = (Part(text=text, signature=signature), Part(image=drawn, signature=signature))
        return Outcome(name="ok", billed="yes", parts=parts)

    return answer


@pytest.fixture
def painters() -> Studio:
    """``first`` at $0.05 and ``second`` at $0.06, both of which take 14 images."""
    first, second = relay(lane(price=0.05, references=14)), relay(lane(price=0.06, references=14))
    return studio({"max_attempts": 2}, first=first, second=second)


def said(painters: Studio, chat: AsyncChat, prompt: str = "a fox", **fields: Any) -> ImageResult:
    return painters.time.run(lambda: chat.send(prompt, **fields))


def prompts(chat: AsyncChat) -> list[str]:
    return [turn.prompt for turn in chat.turns]


def last_call(painters: Studio) -> UpstreamRequest:
    return painters.calls[-1].request


class TestATurn:
    def test_is_sent_with_all_that_was_said_before(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        painters.script("first", signing("One."), signing("Two."))
        said(painters, chat, "a fox", images=[picture()])
        said(painters, chat, "a red one")
        said(painters, chat, "with a hat")
        asked = last_call(painters)
        assert (asked.prompt, asked.images) == ("with a hat", ())
        assert [(turn.prompt, turn.words, turn.lane) for turn in asked.history] == [
            ("a fox", "One.", FIRST), ("a red one", "Two.", FIRST),
        ]  # fmt: skip
        assert [reference.data for reference in asked.history[0].images] == [picture()]
        assert asked.history == chat.turns[:2]

    def test_keeps_the_signatures_of_its_lane(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        painters.script("first", signing(signature="bmVk"))
        said(painters, chat)
        said(painters, chat)
        assert [part.signature for part in last_call(painters).history[0].answer] == ["bmVk", "bmVk"]

    def test_begins_from_the_fields_of_the_conversation_and_may_have_its_own(self, painters: Studio) -> None:
        chat = painters.gateway.chat(size="1k", aspect_ratio="16:9", tags={"job": "7"})
        said(painters, chat)
        said(painters, chat, size="4K")
        said(painters, chat)
        assert [size for _, size in painters.asked] == ["1K", "4K", "1K"]
        assert {call.request.aspect_ratio for call in painters.calls} == {"16:9"}

    def test_keeps_every_image_that_came(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        result = said(painters, chat, n=3)
        assert chat.turns[0].drawn == result.images
        assert len(result.images) == 3
        assert chat.image == result.images[-1]

    def test_is_drawn_by_the_last_lane_and_the_result_says_when_that_changes(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        assert said(painters, chat, model="painter", providers={"only": ["second"]}).lane == SECOND
        stayed = said(painters, chat)
        assert (stayed.lane, stayed.warnings) == (SECOND, ())
        painters.script("second", fails("overloaded"), fails("overloaded"))
        moved = said(painters, chat)
        assert moved.lane == FIRST
        assert moved.warnings[0].startswith(f"the conversation moved from {SECOND} to {FIRST}: ")
        assert said(painters, chat).warnings == ()

    def test_by_several_lanes_has_no_signatures_that_would_hold_anywhere(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        painters.script("first", signing(), fails("model_gone"))
        painters.script("second", signing())
        result = said(painters, chat, n=2)
        assert {attempt.lane for attempt in result.attempts if attempt.outcome == "ok"} == {FIRST, SECOND}
        assert [part.signature for part in chat.turns[0].answer] == [None] * 4

    def test_keeps_its_images_whatever_becomes_of_the_file(self, painters: Studio, tmp_path: Path) -> None:
        chat = painters.gateway.chat(save_to=tmp_path / "fox.png")
        painters.script("first", draws(image(1024, 1024)), draws(image(1024, 1000)))
        before = [said(painters, chat).images[0].data, said(painters, chat).images[0].data]
        assert [turn.drawn[0].data for turn in chat.turns] == before
        assert before[0] != before[1]
        (tmp_path / "fox.png").unlink()
        said(painters, chat)
        assert [turn.drawn[0].data for turn in last_call(painters).history] == before

    def test_is_an_edit_of_the_last_image_where_an_upstream_is_told_of_no_turns(self) -> None:
        painters = studio(first=relay(lane(references=3), dialect="images"))
        chat = painters.gateway.chat()
        painters.script("first", draws(image(1024, 1024)), draws(image(1024, 1000)))
        said(painters, chat)
        said(painters, chat)
        said(painters, chat, images=[picture()])
        asked = last_call(painters)
        assert asked.history == ()
        assert [each.data for each in asked.images] == [image(1024, 1000).data, picture()]


class TestWhatFails:
    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (fails("overloaded"), AllAttemptsFailed), (fails("blocked"), ContentBlocked),
            (fails("invalid"), InvalidRequest), (draws(image(10, 10)), AllAttemptsFailed),
        ],
        ids=["overloaded", "blocked", "invalid", "paid for but too small"],
    )  # fmt: skip
    def test_leaves_the_conversation_as_it_was(self, painters: Studio, answer: Answer, kind: type[Exception]) -> None:
        chat = painters.gateway.chat(min_size="1K")
        said(painters, chat, "a fox")
        before = chat.turns
        painters.script("first", answer, answer)
        painters.script("second", answer, answer)
        with pytest.raises(kind):
            said(painters, chat, "with a hat")
        assert chat.turns == before
        painters.scripts.clear()
        painters.time.now += 3_600  # whatever rests is awake again
        assert said(painters, chat, "with a hat").images
        assert [turn.prompt for turn in last_call(painters).history] == ["a fox"]

    def test_a_reference_that_cannot_be_read_costs_nothing(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        with pytest.raises(InvalidRequest, match=r"images\[0\]"):
            said(painters, chat, images=["/nowhere.png"])
        assert (len(chat), painters.calls) == (0, [])

    def test_being_cancelled_leaves_it_as_it_was(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        painters.script("first", draws(seconds=60))

        async def main() -> None:
            with anyio.move_on_after(1):
                await chat.send("a fox")

        painters.time.run(main)
        assert len(chat) == 0
        assert said(painters, chat).lane == FIRST  # and it waits for nobody


class TestRefusedSignatures:
    DETAIL = "Corrupted thought signature."

    def test_are_left_out_when_no_lane_takes_them(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        painters.script("first", signing(), fails("invalid", detail=self.DETAIL), signing())
        painters.script("second", fails("invalid"))
        said(painters, chat)
        result = said(painters, chat)
        assert [attempt.outcome for attempt in result.attempts] == ["invalid", "invalid", "ok"]
        assert UNSIGNED in result.warnings
        refused, again = (call.request.history[0] for call in painters.calls if call.provider == "first" and
                          call.request.history)  # fmt: skip
        assert {part.signature for part in refused.answer} == {"c2lnbmVk"}
        assert {part.signature for part in again.answer} == {None}

    def test_are_not_tried_again_in_the_next_turn(self, painters: Studio) -> None:
        chat = painters.gateway.chat(providers={"only": ["first"]})
        painters.script("first", signing(), fails("invalid", detail=self.DETAIL), signing(signature="bmV3"))
        said(painters, chat)
        said(painters, chat)
        assert [part.signature for turn in chat.turns for part in turn.answer] == [None, None, "bmV3", "bmV3"]

    def test_make_no_other_request_of_it_for_an_idempotency_key(self, painters: Studio) -> None:
        chat = painters.gateway.chat(providers={"only": ["first"]})
        painters.script("first", signing(), fails("invalid", detail=self.DETAIL), signing())
        said(painters, chat)
        before = chat.branch(1)
        paid = said(painters, chat, "a red one", idempotency_key="order 7")
        asked = len(painters.calls)
        assert said(painters, before, "a red one", idempotency_key="order 7").request_id == paid.request_id
        assert len(painters.calls) == asked

    def test_are_left_out_too_where_another_lane_is_out_of_order(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        painters.script("first", signing(), fails("invalid", detail=self.DETAIL), signing())
        painters.script("second", fails("overloaded"))
        said(painters, chat)
        assert [attempt.outcome for attempt in said(painters, chat).attempts] == ["invalid", "overloaded", "ok"]

    def test_are_not_left_out_at_the_price_of_a_call(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        painters.script("first", signing(), fails("invalid", detail=self.DETAIL), signing())
        painters.script("second", fails("overloaded", "maybe"))
        said(painters, chat)
        with pytest.raises(AllAttemptsFailed):
            said(painters, chat)

    def test_another_refusal_is_final(self, painters: Studio) -> None:
        chat = painters.gateway.chat(providers={"only": ["first"]})
        painters.script("first", signing(), fails("invalid", detail="Aspect ratio"), signing())
        said(painters, chat)
        with pytest.raises(InvalidRequest):
            said(painters, chat)
        assert len(painters.calls) == 2


class TestBranchAndUndo:
    @pytest.fixture
    def chat(self, painters: Studio) -> AsyncChat:
        made = painters.gateway.chat(size="2K")
        for prompt in ("one", "two", "three"):
            said(painters, made, prompt)
        return made

    def test_a_branch_has_the_first_turns_and_the_same_fields(self, painters: Studio, chat: AsyncChat) -> None:
        branch = chat.branch(2)
        said(painters, branch, "another")
        assert (prompts(branch), prompts(chat)) == (["one", "two", "another"], ["one", "two", "three"])
        assert last_call(painters).size == "2K"

    @pytest.mark.parametrize("number", [0, -1, 4, True, "1", 1.0])
    def test_there_is_no_branch_from_a_turn_that_is_not_there(self, chat: AsyncChat, number: Any) -> None:
        with pytest.raises(InvalidRequest, match="turn: expected a number from 1 to 3"):
            chat.branch(number)

    def test_undo_takes_back_the_last_turn_and_returns_it(self, painters: Studio, chat: AsyncChat) -> None:
        assert chat.undo().prompt == "three"
        assert prompts(chat) == ["one", "two"]
        said(painters, chat, "four")
        assert [turn.prompt for turn in last_call(painters).history] == ["one", "two"]

    def test_there_is_nothing_to_undo_in_an_empty_one(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        with pytest.raises(InvalidRequest, match="undo: nothing"):
            chat.undo()
        with pytest.raises(InvalidRequest, match="turn: expected a turn, and there is none yet"):
            chat.branch(1)


class TestOneAtATime:
    def test_a_second_send_is_refused_at_once(self, painters: Studio) -> None:
        chat = painters.gateway.chat()

        async def main() -> list[object]:
            return await asyncio.gather(chat.send("one"), chat.send("two"), return_exceptions=True)

        first, second = painters.time.run(main)
        assert isinstance(first, ImageResult)
        assert isinstance(second, InvalidRequest)
        assert "waiting for an answer" in str(second)
        assert prompts(chat) == ["one"]

    def test_so_is_undo_but_a_branch_goes_on_beside_it(self, painters: Studio) -> None:
        chat = painters.gateway.chat()
        said(painters, chat, "one")

        async def main() -> AsyncChat:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(chat.send, "two")
                await anyio.sleep(0.5)
                with pytest.raises(InvalidRequest, match="waiting"):
                    chat.undo()
                branch = chat.branch(1)
                await branch.send("other")
            return branch

        branch = painters.time.run(main)
        assert (prompts(chat), prompts(branch)) == (["one", "two"], ["one", "other"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "x"}, "prompt: give it to send"),
        ({"images": [b"x"]}, "images: give them to send"),
        ({"idempotency_key": "k"}, "idempotency_key: give one to each send"),
        ({"history": ()}, "history: it is the conversation's own"),
        ({"siez": "1K"}, "siez: there is no such field; did you mean size"),
        ({"size": "3K"}, "size: expected one of"),
    ],
)
def test_what_a_conversation_cannot_begin_from(painters: Studio, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        painters.gateway.chat(**fields)


def test_a_turn_cannot_bring_a_history_of_its_own(painters: Studio) -> None:
    with pytest.raises(InvalidRequest, match="history: it is the conversation's own"):
        said(painters, painters.gateway.chat(), history=())


def test_nothing_that_was_said_shows(painters: Studio) -> None:
    chat = painters.gateway.chat()
    said(painters, chat, "a secret fox")
    assert repr(chat) == "<AsyncChat: 1 turns>"
    assert "secret" not in repr(chat.turns)


def test_an_error_that_quotes_an_earlier_prompt_does_not_show_it(painters: Studio) -> None:
    chat = painters.gateway.chat(providers={"only": ["first"]})
    secret = "a fox that nobody must ever hear about"
    painters.script("first", draws(), fails("invalid", detail=f"Unsafe: {secret}!"))
    said(painters, chat, secret)
    with pytest.raises(InvalidRequest) as refused:
        said(painters, chat, "with a hat")
    assert "[prompt]" in str(refused.value)
    assert "nobody" not in str(refused.value)


def test_an_empty_conversation_is_there_all_the_same(painters: Studio) -> None:
    assert painters.gateway.chat()


def test_the_sync_face_does_the_same(tmp_path: Path) -> None:
    table = tables(first=relay(lane(references=3)))
    made = Studio(configuration.load(table, environ={}))
    made.scripts["first"] = [draws(image(1024, 1024), seconds=0)] * 3
    with Gateway(made.config, load=made.load) as gateway:
        chat = gateway.chat(size="1K")
        chat.send("one")
        chat.send("two")
        branch = chat.branch(1)
        branch.send("other")
        assert chat.undo().prompt == "two"
        assert [turn.prompt for turn in branch.turns] == ["one", "other"]
        assert (len(chat), repr(chat), chat.image, dict(chat.defaults)) == (
            1, "<Chat: 1 turns>", image(1024, 1024), {"size": "1K"},
        )  # fmt: skip
    assert [call.request.prompt for call in made.calls] == ["one", "two", "other"]
