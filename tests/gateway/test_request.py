"""A request that cannot be meant is refused before any call, by a sentence that names the field and not its value."""

from __future__ import annotations

import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import GatewayError, ImageRequest, InvalidRequest, ProviderPreferences, ReferenceImage
from gateway.client import as_request
from tests.gateway.upstreams import two

NAN, INFINITY = float("nan"), float("inf")
REFERENCE = ReferenceImage(b"bytes of an image", "image/png")


def complaint(**fields: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        ImageRequest(**{"prompt": "a fox", **fields})
    return str(caught.value)


def ask(**fields: Any) -> ImageRequest:
    return ImageRequest(**{"prompt": "a fox", **fields})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"prompt": ""}, "prompt: expected a description of the image"),
        ({"prompt": " \n"}, "prompt: expected a description of the image"),
        ({"prompt": b"a fox"}, "prompt: expected a string"),
        ({"prompt": None}, "prompt: expected a string"),
        ({"prompt": "half \ud800 of a pair"}, "prompt: holds half of a surrogate pair"),
        ({"images": "fox.png"}, "images: expected a sequence of paths, bytes or ReferenceImage; put a single one in a"),
        ({"images": b"\x89PNG"}, "images: expected a sequence"),
        ({"images": Path("fox.png")}, "images: expected a sequence"),
        ({"images": REFERENCE}, "images: expected a sequence"),
        ({"images": {"fox.png"}}, "images: expected a sequence"),
        ({"images": ["fox.png", 7]}, "images: image 2: expected a path, bytes or ReferenceImage, not int"),
        ({"images": [ReferenceImage("text", "image/png")]}, "images: image 1: expected a path, bytes"),  # type: ignore[arg-type]
        ({"size": "8K"}, 'size: expected one of "512", "1K", "2K", "4K"'),
        ({"size": 512}, 'size: expected one of "512"'),
        ({"size": None}, "size: expected one of"),
        ({"aspect_ratio": "16x9"}, 'aspect_ratio: expected a ratio such as "16:9"'),
        ({"aspect_ratio": "0:9"}, "aspect_ratio: expected a ratio"),
        ({"aspect_ratio": 1.5}, "aspect_ratio: expected a string"),
        ({"model": ""}, "model: expected a model's id or alias, or None"),
        ({"model": []}, "model: expected a model's id or alias, or None"),
        ({"model": ["flash", 3]}, "model: expected a string"),
        ({"model": {"flash", "pro"}}, "model: expected a tuple"),
        ({"quality": "best"}, "quality: expected 'standard', 'premium' or 'auto'"),
        ({"task": 3}, "task: expected a string"),
        ({"n": 0}, "n: expected greater than or equal to 1"),
        ({"n": True}, "n: expected an integer"),
        ({"n": "2"}, "n: expected an integer"),
        ({"n": 1.5}, "n: expected an integer"),
        ({"n": 101}, "n: expected less than or equal to 100"),
        ({"min_size": "3K"}, "min_size: expected one of"),
        ({"size": "1K", "min_size": "2K"}, "min_size: 2K is above size 1K; lower it, or raise size"),
        ({"fallback": ["swich"]}, "fallback: expected 'switch' or 'downgrade'"),
        ({"max_cost": 0}, "max_cost: expected greater than 0"),
        ({"max_cost": -1.5}, "max_cost: expected greater than 0"),
        ({"max_cost": NAN}, "max_cost: expected a finite number"),
        ({"max_cost": INFINITY}, "max_cost: expected a finite number"),
        ({"max_cost": Decimal("sNaN")}, "max_cost: expected a finite number"),
        ({"max_cost": True}, "max_cost: expected a number"),
        ({"max_cost": "0.50"}, "max_cost: expected a number"),
        ({"max_cost": 10**400}, "max_cost: expected less than or equal to 1000000"),
        ({"deadline": 0}, "deadline: expected greater than 0"),
        ({"deadline": INFINITY}, "deadline: expected a finite number"),
        ({"deadline": True}, "deadline: expected a number"),
        ({"deadline": 1e9}, "deadline: expected less than or equal to 86400"),
        ({"residency": 49}, "residency: expected a string"),
        ({"providers": "google"}, "providers: expected a dictionary or instance of ProviderPreferences"),
        ({"providers": {"onyl": "google"}}, "providers: onyl: there is no such field; did you mean only?"),
        ({"system_instruction": 3}, "system_instruction: expected a string"),
        ({"temperature": NAN}, "temperature: expected a finite number"),
        ({"temperature": True}, "temperature: expected a number"),
        ({"temperature": 2.1}, "temperature: expected less than or equal to 2"),
        ({"top_p": -0.1}, "top_p: expected greater than or equal to 0"),
        ({"top_p": INFINITY}, "top_p: expected a finite number"),
        ({"seed": True}, "seed: expected an integer"),
        ({"seed": 1.0}, "seed: expected an integer"),
        ({"thinking": "max"}, "thinking: expected 'minimal', 'low', 'medium' or 'high'"),
        ({"grounding": "yes"}, "grounding: expected a boolean"),
        ({"output_format": "gif"}, "output_format: expected 'png', 'jpeg' or 'webp'"),
        ({"require_parameters": 1}, "require_parameters: expected a boolean"),
        ({"save_to": 7}, "save_to: expected an instance of Path"),
        ({"save_to": "a\0b"}, "save_to: expected a path; a NUL character cannot be in one"),
        ({"tags": {"team": 1}}, "tags: expected a string"),
        ({"tags": ["team"]}, "tags: expected a dictionary"),
    ],
)
def test_a_field_that_cannot_be_meant_is_named_with_what_was_expected(fields: dict[str, Any], told: str) -> None:
    assert complaint(**fields).startswith(told)


def test_the_nearest_field_is_named_for_one_that_does_not_exist() -> None:
    assert complaint(aspect="1:1") == "aspect: there is no such field; did you mean aspect_ratio?"


def test_a_prompt_is_required() -> None:
    with pytest.raises(InvalidRequest, match=r"^prompt: required$"):
        ImageRequest()  # type: ignore[call-arg]


def test_every_wrong_field_is_told_of_at_once() -> None:
    assert complaint(size="8K", n=0).count(";") == 1


def test_generate_refuses_before_any_call() -> None:
    studio = two()
    with pytest.raises(InvalidRequest, match="size"):
        studio.draw(size="8K")
    assert studio.calls == []


def test_plan_refuses_in_the_same_words() -> None:
    studio = two()
    with pytest.raises(InvalidRequest, match=r"^siez: there is no such field; did you mean size\?$"):
        studio.gateway.plan("a fox", siez="1K")


SECRET = "tell nobody that the mayor is a fox"


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": SECRET, "size": "8K"},
        {"prompt": SECRET.encode()},
        {"prompt": SECRET + "\ud800"},
        {"prompt": "a fox", "system_instruction": SECRET.encode()},
        {"prompt": "a fox", "images": SECRET.encode()},
        {"prompt": "a fox", "images": [object(), SECRET.encode()]},
        {"prompt": "a fox", "tags": {"note": [SECRET]}},
        {"prompt": "a fox", "model": [SECRET.encode()]},
    ],
)
def test_no_message_and_no_context_holds_a_value(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ImageRequest(**fields)
    assert "mayor" not in str(caught.value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_neither_prompt_nor_instruction_nor_image_is_shown_by_repr() -> None:
    shown = repr(ImageRequest(prompt=SECRET, system_instruction=SECRET, images=(SECRET.encode(),)))
    assert "mayor" not in shown
    assert "size='1K'" in shown


@pytest.mark.parametrize("name", ["512", "1k", "2K", " 4k "])
def test_sizes_are_taken_in_either_case(name: str) -> None:
    request = ask(size=name, min_size="512")
    assert request.size == name.strip().upper()


def test_a_ratio_is_written_without_leading_zeros() -> None:
    assert ask(aspect_ratio="016:09").aspect_ratio == "16:9"


@given(st.integers(1, 10_000_000))
def test_a_float_is_the_decimal_it_reads_as(millionths: int) -> None:
    wanted = Decimal(millionths) / 1_000_000
    assert ask(max_cost=float(wanted)).max_cost == wanted
    assert ask(deadline=float(wanted)).deadline == wanted


@pytest.mark.parametrize(("given_cost", "kept"), [(1, Decimal(1)), (Decimal("0.10"), Decimal("0.10"))])
def test_an_integer_or_decimal_cost_is_kept_as_it_is(given_cost: Any, kept: Decimal) -> None:
    assert ask(max_cost=given_cost).max_cost == kept


def test_one_name_stands_for_a_sequence_of_one() -> None:
    request = ask(model="flash", fallback="switch", providers={"only": "google", "order": ["a", "b"]})
    assert (request.model, request.fallback) == (("flash",), ("switch",))
    assert (request.providers.only, request.providers.order) == (("google",), ("a", "b"))


def test_references_are_paths_bytes_or_reference_images() -> None:
    assert ask(images=["fox.png", Path("owl.png"), b"bytes", REFERENCE]).images == (
        Path("fox.png"),
        Path("owl.png"),
        b"bytes",
        REFERENCE,
    )


def test_providers_may_be_given_as_a_mapping() -> None:
    assert ask(providers={"ignore": ["relay"]}).providers == ProviderPreferences(ignore=("relay",))


def test_preferences_refuse_what_they_do_not_know() -> None:
    with pytest.raises(InvalidRequest, match=r"^sort: expected 'price', 'latency' or 'success'$"):
        ProviderPreferences(sort="beauty")  # type: ignore[arg-type]


def test_parameters_are_those_that_were_given() -> None:
    assert ask().parameters() == {}
    assert ask(seed=0, temperature=0, grounding=True, thinking="low").parameters() == {
        "seed": 0,
        "temperature": 0,
        "grounding": True,
        "thinking": "low",
    }


def test_fields_beside_a_request_replace_its_own() -> None:
    request = ask(size="4K", min_size="2K", tags={"team": "posters"})
    changed = as_request(request, {"size": "2K"})
    assert (changed.size, changed.min_size, changed.tags) == ("2K", "2K", {"team": "posters"})
    assert as_request(request, {}) is request


def test_fields_beside_a_request_are_checked_with_it() -> None:
    with pytest.raises(InvalidRequest, match="min_size: 2K is above size 1K"):
        as_request(ask(size="4K", min_size="2K"), {"size": "1K"})


def test_invalid_request_is_a_gateway_error_and_a_value_error() -> None:
    assert issubclass(InvalidRequest, GatewayError)
    assert issubclass(InvalidRequest, ValueError)


def test_a_request_pickles() -> None:
    request = ask(
        images=[b"bytes", REFERENCE, "fox.png"], size="4k", max_cost=0.1, model=["flash", "pro"], tags={"team": "posters"},
        providers={"only": "google"}, save_to="out/fox",
    )  # fmt: skip
    assert pickle.loads(pickle.dumps(request)) == request
