"""Thought signatures: the simulator gives them and wants them back as Google's own wire does."""

from __future__ import annotations

import base64
from copy import deepcopy
from typing import Any

import httpx2
import pytest

from providers.simulator import Simulator, faults
from tests.simulator.conftest import picture

PRO = "gemini-3-pro-image"


def ask(simulator: Simulator, contents: list[Any], model: str = PRO, path: str = "v1beta/models") -> httpx2.Response:
    body = {"contents": contents, "generationConfig": {"imageConfig": {"aspectRatio": "1:1"}}}
    return httpx2.post(f"{simulator.url}/{path}/{model}:generateContent?key=any", json=body, timeout=20)


def user(text: str, *parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text}, *parts]}


def first_turn(simulator: Simulator, model: str = PRO) -> list[Any]:
    """A conversation of one turn, as it has to be sent back."""
    answer = ask(simulator, [user("a fox")], model).raise_for_status().json()
    return [user("a fox"), answer["candidates"][0]["content"]]


def said(answer: httpx2.Response) -> tuple[int, str, str]:
    problem = answer.json()["error"]
    return answer.status_code, problem["status"], problem["message"]


def test_a_turn_that_comes_back_as_it_was_is_accepted(image_upstream: Simulator) -> None:
    before = first_turn(image_upstream)
    assert ask(image_upstream, [*before, user("a hat")]).status_code == 200
    assert image_upstream.requests[-1].images == 1


def test_the_words_and_the_image_have_signatures_of_their_own(image_upstream: Simulator) -> None:
    _, content = first_turn(image_upstream)
    assert len({part["thoughtSignature"] for part in content["parts"]}) == len(content["parts"]) == 2


def test_every_draft_is_signed(image_upstream: Simulator) -> None:
    image_upstream.inject(faults.drafts())
    _, content = first_turn(image_upstream)
    assert len({part["thoughtSignature"] for part in content["parts"]}) == 4


@pytest.mark.parametrize(("place", "kind", "number"), [(0, "Text", 1), (1, "Image", 2)])
def test_a_missing_one_is_named_by_its_place(image_upstream: Simulator, place: int, kind: str, number: int) -> None:
    before = first_turn(image_upstream)
    del before[1]["parts"][place]["thoughtSignature"]
    code, status, message = said(ask(image_upstream, [*before, user("a hat")]))
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert message.startswith(
        f"{kind} part is missing a thought_signature in content position 2, part position {number}. Please refer to "
    )
    assert image_upstream.requests[-1].model is None  # refused, and so not drawn
    assert image_upstream.billed == 1


def test_words_after_an_image_need_none(image_upstream: Simulator) -> None:
    before = first_turn(image_upstream)
    parts = before[1]["parts"]
    before[1]["parts"] = [parts[1], {"text": "There."}]
    assert ask(image_upstream, [*before, user("a hat")]).status_code == 200


def test_thoughts_need_none(image_upstream: Simulator) -> None:
    before = first_turn(image_upstream)
    before[1]["parts"].insert(0, {"text": "Hm.", "thought": True})
    assert ask(image_upstream, [*before, user("a hat")]).status_code == 200


def test_an_image_that_the_user_shows_needs_none(image_upstream: Simulator) -> None:
    shown = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(picture(64, 64)).decode()}}
    assert ask(image_upstream, [user("a fox", shown), user("a hat")]).status_code == 200


def altered(signature: str) -> str:
    return ("B" if signature[0] == "A" else "A") + signature[1:]


def test_an_altered_one_is_corrupt(image_upstream: Simulator) -> None:
    before = first_turn(image_upstream)
    part = before[1]["parts"][1]
    part["thoughtSignature"] = altered(part["thoughtSignature"])
    assert said(ask(image_upstream, [*before, user("a hat")])) == (
        400, "INVALID_ARGUMENT", "Corrupted thought signature.",
    )  # fmt: skip


def test_one_of_another_model_or_another_upstream_is_corrupt(image_upstream: Simulator) -> None:
    before = first_turn(image_upstream)
    assert "Corrupted" in said(ask(image_upstream, [*before, user("a hat")], "gemini-3.1-flash-image"))[2]
    with Simulator() as other:
        assert "Corrupted" in said(ask(other, [*before, user("a hat")]))[2]


def test_the_other_alphabet_of_base64_is_the_same_signature(image_upstream: Simulator) -> None:
    before = first_turn(image_upstream)
    for part in before[1]["parts"]:
        part["thoughtSignature"] = part["thoughtSignature"].replace("+", "-").replace("/", "_")
    assert ask(image_upstream, [*before, user("a hat")]).status_code == 200


@pytest.mark.parametrize("dummy", ["context_engineering_is_the_way_to_go", "skip_thought_signature_validator"])
@pytest.mark.parametrize("written", [str, lambda text: base64.b64encode(text.encode()).decode()], ids=["text", "b64"])
def test_the_dummies_that_google_documents_are_accepted(image_upstream: Simulator, dummy: str, written: Any) -> None:
    before = first_turn(image_upstream)
    for part in before[1]["parts"]:
        part["thoughtSignature"] = written(dummy)
    assert ask(image_upstream, [*before, user("a hat")]).status_code == 200


def test_a_preview_takes_the_signatures_of_its_release(image_upstream: Simulator) -> None:
    before = first_turn(image_upstream)
    assert ask(image_upstream, [*before, user("a hat")], f"{PRO}-preview").status_code == 200


def test_gemini_2_5_neither_signs_nor_checks(image_upstream: Simulator) -> None:
    before = first_turn(image_upstream, "gemini-2.5-flash-image")
    assert not any("thoughtSignature" in part for part in before[1]["parts"])
    assert ask(image_upstream, [*before, user("a hat")], "gemini-2.5-flash-image").status_code == 200


def test_vertex_lets_a_missing_one_pass_but_not_a_corrupt_one(image_upstream: Simulator) -> None:
    vertex = "v1beta1/projects/p/locations/eu/publishers/google/models"
    before = first_turn(image_upstream)
    missing, corrupt = deepcopy(before), deepcopy(before)
    del missing[1]["parts"][1]["thoughtSignature"]
    corrupt[1]["parts"][1]["thoughtSignature"] = "AAAA"
    assert ask(image_upstream, [*missing, user("a hat")], path=vertex).status_code == 200
    assert ask(image_upstream, [*corrupt, user("a hat")], path=vertex).status_code == 400
