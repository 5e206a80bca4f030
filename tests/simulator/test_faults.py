"""Failures on command."""

import base64
import gzip
import io
import json
import zlib

import httpx2
import openai
import pytest
from google.genai import errors
from PIL import Image

from providers.simulator import Fault, faults, parse_fault
from providers.simulator.faults import REGISTRY
from tests.simulator.conftest import google_client, openai_client, pixels, post


def data_of(answer: httpx2.Response) -> bytes:
    return base64.b64decode(encoded_of(answer))


def encoded_of(answer: httpx2.Response) -> str:
    return inline_of(answer)["data"]


def inline_of(answer: httpx2.Response) -> dict:
    return answer.json()["candidates"][0]["content"]["parts"][-1]["inlineData"]


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("overloaded", 503, "UNAVAILABLE"),
        ("internal", 500, "INTERNAL"),
        ("deadline", 504, "DEADLINE_EXCEEDED"),
        ("rate_limited", 429, "RESOURCE_EXHAUSTED"),
        ("region", 400, "FAILED_PRECONDITION"),
        ("bad_key", 400, "INVALID_ARGUMENT"),
        ("leaked_key", 403, "PERMISSION_DENIED"),
        ("model_gone", 404, "NOT_FOUND"),
    ],
)
def test_googles_sdk_sees_the_real_error(image_upstream, name, status, reason):
    image_upstream.inject(parse_fault(name))
    with google_client(image_upstream) as client, pytest.raises(errors.APIError) as failed:
        client.models.generate_content(model="gemini-3-pro-image", contents="a cat")
    assert (failed.value.code, failed.value.status) == (status, reason)
    assert image_upstream.billed == 0


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (faults.overloaded(), 503, None),
        (faults.bad_key(), 401, "invalid_api_key"),
        (faults.insufficient_quota(), 429, "insufficient_quota"),
        (faults.moderation_blocked(), 400, "moderation_blocked"),
        (faults.prompt_blocked(), 400, "prompt_blocked"),
        (faults.string_code(), 429, "429"),
        (faults.balance(), 402, "402"),
        (faults.empty_429(), 429, None),
        (faults.cdn_502(), 502, None),
    ],
)
def test_openais_sdk_sees_the_real_error(simulate, fault, status, code):
    simulator = simulate("openai", [fault])
    with pytest.raises(openai.APIStatusError) as failed:
        openai_client(simulator).images.generate(model="gpt-image-2", prompt="a cat")
    assert (failed.value.status_code, failed.value.code) == (status, code)


def details(answer: httpx2.Response) -> str:
    return json.dumps(answer.json()["error"])


def test_the_three_quotas_say_which_they_are(simulate):
    simulator = simulate(faults=[faults.rate_limited(count=1), faults.daily_quota(count=1), faults.no_quota(count=1)])
    minute, day, none = (details(post(simulator)) for _ in range(3))
    assert '"retryDelay": "3s"' in minute
    assert "PerMinute" in minute
    assert "PerDay" in day
    assert "limit: 0, model: gemini-3-pro-image" in none


def test_an_error_of_google_takes_each_flavours_form(simulate):
    def message(flavour: str) -> object:
        simulator = simulate(flavour, [faults.overloaded()])
        headers = {"Authorization": "Bearer any"}
        body = {"model": "gemini-3-pro-image", "messages": [{"role": "user", "content": "a cat"}]}
        return httpx2.post(f"{simulator.openai_url}/chat/completions", json=body, headers=headers).json()

    assert json.loads(message("openrouter")["error"]["metadata"]["raw"])["error"]["status"] == "UNAVAILABLE"
    assert message("new-api")["error"]["code"] == 503
    assert message("litellm")["error"]["code"] == "503"
    assert message("google-compat")[0]["error"]["status"] == "UNAVAILABLE"


def test_the_list_wrapped_key_error_is_a_list(simulate):
    assert post(simulate(faults=[faults.bad_key_list()])).json()[0]["error"]["code"] == 400


def test_a_fault_strikes_the_size_it_names_alone(simulate):
    simulator = simulate(faults=[faults.overloaded(size="4K")])
    assert [post(simulator, size).status_code for size in ("4K", "1K", "4K")] == [503, 200, 503]


def test_a_fault_strikes_the_model_it_names_by_any_of_its_ids(simulate):
    simulator = simulate(faults=[faults.overloaded(model="google/gemini-3-pro-image-preview")])
    models = ("gemini-3-pro-image", "gemini-3.1-flash-image")
    assert [post(simulator, model=model).status_code for model in models] == [503, 200]


def test_a_fault_with_a_count_is_spent(simulate):
    simulator = simulate(faults=[faults.overloaded(count=2)])
    assert [post(simulator).status_code for _ in range(3)] == [503, 503, 200]


def test_counted_faults_go_before_endless_ones_and_clearing_ends_all(simulate):
    simulator = simulate(faults=[faults.internal(), faults.overloaded(count=1)])
    assert [post(simulator).status_code for _ in range(2)] == [503, 500]
    simulator.clear_faults()
    assert post(simulator).status_code == 200


@pytest.mark.parametrize("name", ["region", "bad_key", "leaked_key", "cdn_502", "challenge", "redirect"])
def test_free_calls_fail_for_what_concerns_the_account_or_the_way_there(simulate, name):
    simulator = simulate(faults=[parse_fault(name)])
    assert httpx2.get(f"{simulator.url}/v1beta/models?key=any").status_code >= 300


@pytest.mark.parametrize("name", ["overloaded", "rate_limited", "model_gone", "text_only", "cut", "hang"])
def test_free_calls_do_not_fail_for_what_concerns_a_drawing(simulate, name):
    simulator = simulate(faults=[parse_fault(name)])
    assert httpx2.get(f"{simulator.url}/v1beta/models?key=any").status_code == 200


def test_a_path_narrows_a_fault(simulate):
    simulator = simulate(faults=[faults.overloaded(path="/models/gemini-3.1")])
    models = ("gemini-3-pro-image", "gemini-3.1-flash-image")
    assert [post(simulator, model=model).status_code for model in models] == [200, 503]


def test_a_wrong_size_draws_and_charges_another_tier(simulate):
    simulator = simulate(faults=[faults.wrong_size("1K")])
    answer = post(simulator, "4K", imageConfig={"imageSize": "4K", "aspectRatio": "16:9"})
    assert pixels(data_of(answer)) == (1376, 768)
    assert str(simulator.bill) == "0.134"


def test_a_wrong_ratio_is_a_square(simulate):
    answer = post(simulate(faults=[faults.wrong_ratio()]), imageConfig={"aspectRatio": "16:9"})
    assert pixels(data_of(answer)) == (1024, 1024)


def test_fewer_draws_one(simulate):
    simulator = simulate(faults=[faults.fewer()])
    assert len(openai_client(simulator).images.generate(model="gpt-image-2", prompt="a cat", n=3).data) == 1


def test_drafts_come_before_the_image_unmarked(simulate):
    parts = post(simulate(faults=[faults.drafts()])).json()["candidates"][0]["content"]["parts"]
    assert [("inlineData" in part, part.get("thought")) for part in parts] == [(False, None)] + [(True, None)] * 3


@pytest.mark.parametrize(
    ("name", "reason", "charged"),
    [
        ("prohibited", "IMAGE_PROHIBITED_CONTENT", 1),
        ("image_other", "IMAGE_OTHER", 0),
        ("recitation", "IMAGE_RECITATION", 1),
        ("image_safety", "IMAGE_SAFETY", 1),
        ("no_image", "NO_IMAGE", 1),
        ("text_only", "STOP", 1),
    ],
)
def test_a_refusal_is_a_200_without_an_image(simulate, name, reason, charged):
    simulator = simulate(faults=[parse_fault(name)])
    with google_client(simulator) as client:
        answer = client.models.generate_content(model="gemini-3-pro-image", contents="a cat")
    assert answer.candidates[0].finish_reason.value == reason
    assert not any(part.inline_data for part in answer.parts or ())
    assert simulator.billed == charged


def test_a_blocked_prompt_has_feedback_and_no_candidates(simulate):
    simulator = simulate(faults=[faults.prompt_feedback()])
    answer = post(simulator).json()
    assert answer["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
    assert "candidates" not in answer
    assert simulator.billed == 0


def test_no_candidates_is_a_null(simulate):
    assert post(simulate(faults=[faults.no_candidates()])).json()["candidates"] is None


def test_refusals_on_the_other_wires(simulate):
    simulator = simulate("new-api", [faults.image_safety()])
    client = openai_client(simulator)
    choice = client.chat.completions.create(
        model="gemini-3-pro-image", messages=[{"role": "user", "content": "a cat"}]
    ).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("", "content_filter")
    assert client.images.generate(model="gpt-image-2", prompt="a cat").data == []
    url = f"{simulator.url}/v1beta/models/imagen-4.0-generate-001:predict?key=any"
    filtered = httpx2.post(url, json={"instances": [{"prompt": "a cat"}]}).json()["predictions"]
    assert "raiFilteredReason" in filtered[0]
    assert simulator.billed == 2


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_cut_body_breaks_the_read_and_is_charged(simulate, framing):
    simulator = simulate(faults=[faults.cut(0.5, framing)])
    with pytest.raises(httpx2.RemoteProtocolError):
        post(simulator)
    assert simulator.billed == 1


def test_a_body_cut_at_the_end_of_a_connection_looks_complete(simulate):
    answer = post(simulate(faults=[faults.cut(0.5, "close")]))
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_reset_after_the_request_is_charged(simulate):
    simulator = simulate(faults=[faults.reset()])
    with pytest.raises(httpx2.ReadError):
        post(simulator)
    assert (simulator.billed, simulator.requests[-1].fault) == (1, "reset")


def test_an_early_reset_is_not_charged(simulate):
    simulator = simulate(faults=[faults.reset_early(count=1)])
    with pytest.raises(httpx2.TransportError):
        post(simulator)
    assert (simulator.billed, simulator.requests[-1].body) == (0, b"")
    assert post(simulator).status_code == 200


def test_garbage_is_not_http(simulate):
    with pytest.raises(httpx2.RemoteProtocolError):
        post(simulate(faults=[faults.garbage()]))


def test_a_hanging_upstream_sends_nothing(simulate):
    simulator = simulate(faults=[faults.hang()])
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(
            f"{simulator.url}/v1beta/models/gemini-3-pro-image:generateContent?key=any",
            json={"contents": [{"parts": [{"text": "a cat"}]}]},
            timeout=httpx2.Timeout(5, read=0.05),
        )
    assert simulator.requests[-1].fault == "hang"


def test_a_slow_upstream_answers_late_but_well(simulate):
    simulator = simulate(faults=[faults.slow(0.01)])
    assert pixels(data_of(post(simulator))) == (1024, 1024)


def test_a_dripping_body_arrives_in_the_end(simulate):
    answer = post(simulate(faults=[faults.drip(every=0, piece=50_000)]))
    assert pixels(data_of(answer)) == (1024, 1024)


def test_a_png_with_a_bad_checksum_fails_verification(simulate):
    answer = post(simulate(faults=[faults.bad_crc()]))
    with Image.open(io.BytesIO(data_of(answer))) as image, pytest.raises(SyntaxError):
        image.verify()


def test_short_pixels_do_not_load(simulate):
    with pytest.raises(OSError, match="truncated"):
        pixels(data_of(post(simulate(faults=[faults.short_pixels()]))))


def test_truncated_base64_does_not_decode(simulate):
    with pytest.raises(ValueError, match="base64"):
        data_of(post(simulate(faults=[faults.truncated_base64()])))


def test_foreign_characters_stand_in_the_base64(simulate):
    assert "!?*" in encoded_of(post(simulate(faults=[faults.garbage_base64()])))


@pytest.mark.parametrize(
    ("name", "begins"), [("html_image", b"<!DOCTYPE"), ("svg_image", b"<svg"), ("not_an_image", b"This is not")]
)
def test_other_bytes_stand_where_the_image_should(simulate, name, begins):
    assert data_of(post(simulate(faults=[parse_fault(name)]))).startswith(begins)


def test_html_claims_to_be_a_png(simulate):
    assert inline_of(post(simulate(faults=[faults.html_image()])))["mimeType"] == "image/png"


def test_a_jpeg_claims_to_be_a_png(simulate):
    answer = post(simulate(faults=[faults.wrong_mime()]))
    assert (inline_of(answer)["mimeType"], data_of(answer)[:2]) == ("image/png", b"\xff\xd8")


def test_a_script_follows_the_image(simulate):
    assert data_of(post(simulate(faults=[faults.polyglot()]))).endswith(b"</script>")


def test_a_giant_header_claims_400_megapixels(simulate):
    data = data_of(post(simulate(faults=[faults.giant_header()])))
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24]), len(data) < 1000) == (20_000, 20_000, True)


def test_gzip_is_unpacked_to_the_right_answer(simulate):
    answer = post(simulate(faults=[faults.gzipped()]))
    assert answer.headers["content-encoding"] == "gzip"
    assert pixels(data_of(answer)) == (1024, 1024)


@pytest.mark.parametrize("name", ["corrupt_gzip", "false_gzip"])
def test_broken_gzip_does_not_unpack(simulate, name):
    with pytest.raises(httpx2.DecodingError):
        post(simulate(faults=[parse_fault(name)]))


def test_truncated_gzip_is_half_an_answer(simulate):
    simulator = simulate(faults=[faults.truncated_gzip()])
    url = f"{simulator.url}/v1beta/models/gemini-3-pro-image:generateContent?key=any"
    body = {"contents": [{"parts": [{"text": "a cat"}]}]}
    with httpx2.stream("POST", url, json=body, timeout=20) as answer, pytest.raises(EOFError):
        gzip.decompress(b"".join(answer.iter_raw()))


def test_a_gzip_bomb_is_small_until_it_is_unpacked(simulate):
    simulator = simulate(faults=[faults.gzip_bomb()])
    url = f"{simulator.url}/v1beta/models/gemini-3-pro-image:generateContent?key=any"
    body = {"contents": [{"parts": [{"text": "a cat"}]}]}
    with httpx2.stream("POST", url, json=body, timeout=20) as answer:
        packed = b"".join(answer.iter_raw())
    assert len(packed) < 300_000
    assert len(zlib.decompressobj(31).decompress(packed, 2**22)) == 2**22


def test_a_wrong_content_type_leaves_the_body_right(simulate):
    answer = post(simulate(faults=[faults.wrong_type()]))
    assert answer.headers["content-type"] == "text/html"
    assert pixels(data_of(answer)) == (1024, 1024)


def test_something_follows_the_document(simulate):
    with pytest.raises(json.JSONDecodeError, match="Extra data"):
        post(simulate(faults=[faults.trailing_garbage()])).json()


def test_a_redirect_names_where_to_go(simulate):
    answer = post(simulate(faults=[faults.redirect("http://127.0.0.1:9/elsewhere", 302)]))
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:9/elsewhere")


def test_a_retry_after_is_sent_as_it_is_given(simulate):
    answer = post(simulate(faults=[faults.retry_after("nan")]))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "nan")


def test_any_status_can_be_had(simulate):
    assert post(simulate(faults=[faults.status(529)])).status_code == 529


def test_a_200_can_hold_an_error(simulate):
    answer = post(simulate(faults=[faults.error_in_200()]))
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, 502)


def test_a_challenge_is_a_page(simulate):
    answer = post(simulate(faults=[faults.challenge()]))
    assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=UTF-8")


def test_faults_are_parsed_from_words():
    assert parse_fault("overloaded@4K") == faults.overloaded(size="4K")
    assert parse_fault("rate-limited@google/gemini-3-pro-image*2") == faults.rate_limited(
        model="gemini-3-pro-image", count=2
    )
    assert parse_fault("cut=0.3@2k") == faults.cut(0.3, size="2K")
    assert parse_fault("wrong_size=512") == faults.wrong_size("512")
    assert parse_fault("slow=2.5").delay == 2.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("overlode", "unknown fault 'overlode'; known faults: .*overloaded"),
        ("region=3", "takes no value"),
        ("wrong_size=9K", "not a size"),
        ("cut=half", "half"),
        ("overloaded*0", "at least 1"),
        ("slow=-1", "delay"),
        ("", "unknown fault ''"),
    ],
)
def test_words_that_name_no_fault_are_an_error(text, message):
    with pytest.raises(ValueError, match=message):
        parse_fault(text)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_named_fault_is_a_function_of_the_module_and_explains_itself(name):
    assert isinstance(getattr(faults, name)(count=1), Fault)
    assert parse_fault(name).name == name
    assert REGISTRY[name].meaning
