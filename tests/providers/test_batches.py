"""What upstreams have been seen to say of batch jobs, read without a connection; and what is said to them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from providers import google_batches, openai_batches
from providers.answers import Reply
from providers.batch_results import LineSplitter, Result
from providers.batches import BatchLine, BatchProgress, BatchProvider, BatchRefused
from providers.dialects import DIALECTS, Call
from providers.google import GoogleProvider, VertexProvider
from providers.images import ReferenceImage
from providers.openai_compatible import OpenAICompatibleProvider
from providers.outcome import Outcome
from providers.provider import ProviderSettings
from providers.request import UpstreamRequest
from providers.secret import Secret
from tests.providers.wire import KEY, PICTURE

SUCCEEDED: dict[str, Any] = {
    "name": "batches/3a96ht58d9rd3fci7tg3qlrhlfawe5ykp6ge",
    "metadata": {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": "models/gemini-3.5-flash-lite",
        "displayName": "lupa-batch",
        "inputConfig": {"fileName": "files/voe5u4gdj968"},
        "output": {"responsesFile": "files/batch-3a96ht58d9rd3fci7tg3qlrhlfawe5ykp6ge"},
        "createTime": "2026-08-20T20:08:31.015405218Z",
        "endTime": "2026-08-20T20:10:25.852081585Z",
        "batchStats": {"requestCount": "9", "successfulRequestCount": "9"},
        "state": "BATCH_STATE_SUCCEEDED",
        "name": "batches/3a96ht58d9rd3fci7tg3qlrhlfawe5ykp6ge",
    },
    "done": True,
    "response": {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatchOutput",
        "responsesFile": "files/batch-3a96ht58d9rd3fci7tg3qlrhlfawe5ykp6ge",
    },
}
"""A job as somebody published it in August 2026."""


def told(**metadata: Any) -> BatchProgress:
    """The progress in an operation that is under way, with *metadata* of this kind."""
    return google_batches.progress_of({"name": "batches/b1", "metadata": metadata})


def outcome_of(error: dict[str, Any]) -> Outcome:
    """What a line of Google's with this *error* comes to."""
    key, outcome = google_batches.read(Result({"key": "k", "error": error}, {}))
    assert key == "k"
    assert isinstance(outcome, Outcome)
    return outcome


class TestAnOperationOfGoogles:
    def test_counts_in_strings_and_leaves_out_what_is_zero(self) -> None:
        assert google_batches.progress_of(SUCCEEDED) == BatchProgress(
            id="batches/3a96ht58d9rd3fci7tg3qlrhlfawe5ykp6ge", state="succeeded", total=9, succeeded=9, failed=0
        )

    def test_that_succeeded_may_have_failed_lines(self) -> None:
        stats = {"requestCount": "9", "successfulRequestCount": "7", "failedRequestCount": "2"}
        progress = told(state="BATCH_STATE_SUCCEEDED", batchStats=stats)
        assert (progress.state, progress.succeeded, progress.failed) == ("succeeded", 7, 2)

    def test_that_waits_has_no_done_and_counts_what_is_pending(self) -> None:
        progress = told(state="BATCH_STATE_PENDING", batchStats={"requestCount": "9", "pendingRequestCount": "9"})
        assert (progress.state, progress.total, progress.succeeded, progress.is_over) == ("pending", 9, 0, False)

    def test_without_statistics_counts_nothing(self) -> None:
        progress = told(state="BATCH_STATE_RUNNING")
        assert (progress.total, progress.succeeded, progress.failed) == (None, None, None)

    @pytest.mark.parametrize("prefix", ["BATCH_STATE_", "JOB_STATE_"])
    @pytest.mark.parametrize(
        ("name", "state"),
        [
            ("UNSPECIFIED", "pending"), ("PENDING", "pending"), ("RUNNING", "running"), ("SUCCEEDED", "succeeded"),
            ("FAILED", "failed"), ("CANCELLED", "cancelled"), ("EXPIRED", "expired"),
        ],
    )  # fmt: skip
    def test_has_its_state_with_either_prefix(self, prefix: str, name: str, state: str) -> None:
        assert told(state=prefix + name).state == state

    def test_that_is_done_with_an_error_has_failed_and_says_why(self) -> None:
        failed = {
            "name": "batches/b1",
            "metadata": {"state": "BATCH_STATE_RUNNING"},
            "done": True,
            "error": {"code": 3, "message": "The input file is malformed."},
        }
        progress = google_batches.progress_of(failed)
        assert (progress.state, progress.detail) == ("failed", "The input file is malformed.")

    def test_that_was_cancelled_stays_so_whatever_error_it_ends_with(self) -> None:
        cancelled = {
            "name": "batches/b1",
            "metadata": {"state": "BATCH_STATE_CANCELLED"},
            "done": True,
            "error": {"code": 1, "message": "The operation was cancelled."},
        }
        assert google_batches.progress_of(cancelled).state == "cancelled"

    def test_names_the_file_of_its_results(self) -> None:
        assert google_batches.results_file(SUCCEEDED) == "files/batch-3a96ht58d9rd3fci7tg3qlrhlfawe5ykp6ge"

    @pytest.mark.parametrize("file", ["../secrets", "files/../x", "https://elsewhere.example/x", "files/a?b", "", None])
    def test_cannot_send_us_to_another_path(self, file: str | None) -> None:
        assert google_batches.results_file({"response": {"responsesFile": file}}) is None


class TestALineOfGoogles:
    def test_that_was_cancelled_in_a_job_that_succeeded_costs_nothing(self) -> None:
        outcome = outcome_of({"code": 1, "message": "The operation was cancelled."})
        assert (outcome.name, outcome.billed, outcome.detail) == ("cancelled", "no", "The operation was cancelled.")

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            (3, "invalid"),
            (4, "timeout"),
            (8, "rate_limited"),
            (13, "overloaded"),
            (14, "overloaded"),
            (503, "overloaded"),
        ],
    )
    def test_that_failed_is_named_by_its_code_and_costs_nothing(self, code: int, name: str) -> None:
        outcome = outcome_of({"code": code, "message": "It did not work."})
        assert (outcome.name, outcome.billed) == (name, "no")

    def test_names_itself_behind_its_response_in_a_file(self) -> None:
        splitter = LineSplitter()
        text = b'{"response":{"candidates":[]},"key":"request_1"}\n'
        (result,) = splitter.feed(text)
        assert google_batches.read(result)[0] == "request_1"

    def test_names_itself_in_its_metadata_inline(self) -> None:
        key, reply = google_batches.read(Result({"response": {"candidates": []}, "metadata": {"key": "req_3"}}, {}))
        assert key == "req_3"
        assert isinstance(reply, Reply)

    def test_with_neither_response_nor_error_may_have_cost_something(self) -> None:
        _, outcome = google_batches.read(Result({"key": "k"}, {}))
        assert isinstance(outcome, Outcome)
        assert (outcome.name, outcome.billed) == ("bad_response", "maybe")

    def test_is_asked_in_snake_case_with_its_key(self) -> None:
        request = UpstreamRequest(
            model="gemini-3-pro-image", prompt="a cat", size="2K", aspect_ratio="16:9", system_instruction="be brief",
            thinking="high", grounding=True, images=(ReferenceImage(PICTURE, "image/png"),),
        )  # fmt: skip
        line = json.loads(google_batches.line_of(BatchLine("k1", request)))
        assert line["key"] == "k1"
        asked = line["request"]
        assert asked["generation_config"] == {
            "response_modalities": ["TEXT", "IMAGE"],
            "image_config": {"aspect_ratio": "16:9", "image_size": "2K"},
            "thinking_config": {"thinking_level": "HIGH"},
        }
        assert asked["system_instruction"] == {"parts": [{"text": "be brief"}]}
        assert asked["tools"] == [{"google_search": {}}]
        words, image = asked["contents"][0]["parts"]
        assert words == {"text": "a cat"}
        assert image["inline_data"]["mime_type"] == "image/png"
        assert base64.urlsafe_b64decode(image["inline_data"]["data"]) == PICTURE


class TestAJobOfOpenAIs:
    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("validating", "pending"), ("in_progress", "running"), ("finalizing", "running"), ("cancelling", "running"),
            ("completed", "succeeded"), ("failed", "failed"), ("expired", "expired"), ("cancelled", "cancelled"),
        ],
    )  # fmt: skip
    def test_has_a_state(self, status: str, state: str) -> None:
        assert openai_batches.progress_of({"id": "batch_1", "status": status}).state == state

    def test_counts_and_says_what_was_wrong_with_its_file(self) -> None:
        job = {
            "id": "batch_1",
            "status": "failed",
            "request_counts": {"total": 3, "completed": 1, "failed": 2},
            "errors": {
                "object": "list",
                "data": [{"code": "invalid_json_line", "message": "Line 2 is no JSON.", "line": 2}],
            },
        }
        assert openai_batches.progress_of(job) == BatchProgress(
            id="batch_1", state="failed", total=3, succeeded=1, failed=2, detail="Line 2 is no JSON."
        )

    def test_that_is_being_validated_has_not_counted_yet(self) -> None:
        counts = {"total": 0, "completed": 0, "failed": 0}
        assert openai_batches.progress_of({"id": "b", "status": "validating", "request_counts": counts}).total is None


class TestALineOfOpenAIs:
    @pytest.mark.parametrize(("code", "name"), [("batch_expired", "timeout"), ("batch_cancelled", "cancelled")])
    def test_that_was_not_come_to_costs_nothing(self, code: str, name: str) -> None:
        document = {"custom_id": "k", "response": None, "error": {"code": code, "message": "Not executed."}}
        key, outcome = openai_batches.read(Result(document, {}))
        assert isinstance(outcome, Outcome)
        assert (key, outcome.name, outcome.billed, outcome.detail) == ("k", name, "no", "Not executed.")

    def test_that_was_refused_is_read_as_the_call_would_have_been(self) -> None:
        body = {"error": {"message": "Your request was rejected by the safety system.", "code": "moderation_blocked"}}
        document = {"custom_id": "k", "response": {"status_code": 400, "request_id": "r", "body": body}, "error": None}
        _, outcome = openai_batches.read(Result(document, {}))
        assert isinstance(outcome, Outcome)
        assert outcome.name == "blocked"

    def test_carries_what_the_call_would_have_carried(self) -> None:
        call = DIALECTS["images-json"](UpstreamRequest(model="gpt-image-2", prompt="a cat", size="1K", n=2))
        assert json.loads(openai_batches.line_of("k1", call)) == {
            "custom_id": "k1",
            "method": "POST",
            "url": "/v1/images/generations",
            "body": {"model": "gpt-image-2", "prompt": "a cat", "n": 2, "size": "1024x1024"},
        }

    def test_has_its_reference_images_as_data_uris(self) -> None:
        images = (ReferenceImage(PICTURE, "image/png"),)
        call = DIALECTS["images-json"](UpstreamRequest(model="gpt-image-2", prompt="a hat", images=images))
        line = json.loads(openai_batches.line_of("k1", call))
        (image,) = line["body"]["images"]
        assert line["url"] == "/v1/images/edits"
        assert base64.b64decode(image["image_url"].removeprefix("data:image/png;base64,")) == PICTURE

    def test_has_the_extra_body_at_its_top(self) -> None:
        call = Call("chat.completions.create", {"model": "m", "extra_body": {"modalities": ["image"]}})
        assert json.loads(openai_batches.line_of("k1", call))["body"] == {"model": "m", "modalities": ["image"]}

    def test_cannot_share_a_job_with_one_of_another_endpoint(self) -> None:
        with pytest.raises(BatchRefused, match="two") as caught:
            openai_batches.endpoint_of([Call("images.generate", {}), Call("/images/edits", {})])
        assert (caught.value.outcome.name, caught.value.outcome.billed) == ("invalid", "no")


def settings(kind: str, **more: Any) -> ProviderSettings:
    return ProviderSettings(name="p", kind=kind, api_key=Secret(KEY), **more)


@pytest.mark.parametrize(
    ("provider", "why"),
    [
        (VertexProvider(settings("vertex")), "Vertex"),
        (GoogleProvider(settings("google", base_url="https://api.laozhang.ai")), "laozhang"),
        (OpenAICompatibleProvider(settings("openai", base_url="https://openrouter.ai/api/v1")), "OpenRouter"),
    ],
)
def test_an_upstream_that_takes_no_batches_says_so_without_being_asked(provider: BatchProvider, why: str) -> None:
    line = BatchLine("k", UpstreamRequest(model="m", prompt="a cat"))
    with pytest.raises(BatchRefused, match=why) as caught:
        provider.submit_batch("job", [line], 5.0).send(None)  # it must not wait for anything
    assert (caught.value.outcome.name, caught.value.outcome.billed) == ("invalid", "no")
