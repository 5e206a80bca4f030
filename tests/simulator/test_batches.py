"""Google's Batch API, asked by Google's SDK and by hand."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx2
import pytest
from google.genai import errors, types

from providers.simulator import BatchBehaviour, faults
from tests.simulator.conftest import KEY, google_client, pixels

MODEL = "gemini-3-pro-image"
PRICE = Decimal("0.067")
"""USD for an image at 1K, half of what a call of its own costs."""


def requests(count, size="1K", **config):
    """Requests as they travel inline, with the keys k0, k1 …"""
    asked = types.GenerateContentConfig(
        response_modalities=["TEXT", "IMAGE"], image_config=types.ImageConfig(image_size=size), **config
    )
    return [
        types.InlinedRequest(contents=[f"a cat, {number}"], config=asked, metadata={"key": f"k{number}"})
        for number in range(count)
    ]


def jsonl(count):
    """Requests as they travel in a file."""
    config = {"response_modalities": ["TEXT", "IMAGE"], "image_config": {"image_size": "1K"}}
    lines = [
        {"key": f"k{number}", "request": {"contents": [{"parts": [{"text": "x"}]}], "generation_config": config}}
        for number in range(count)
    ]
    return io.BytesIO("\n".join(map(json.dumps, lines)).encode())


def uploaded(client, count):
    return client.files.upload(file=jsonl(count), config={"mime_type": "application/jsonl"}).name


def create(client, source, name="job", model=MODEL):
    return client.batches.create(model=model, src=source, config={"display_name": name})


def over(client, job):
    while not job.done:
        job = client.batches.get(name=job.name)
    return job


def raw(simulator, path, **query):
    """What stands at *path*, as it came."""
    return httpx2.get(f"{simulator.url}{path}", headers={"x-goog-api-key": KEY}, params=query, timeout=20)


def test_a_job_goes_from_pending_over_running_to_its_end_by_the_looks_at_it(simulate):
    simulator = simulate(batches=BatchBehaviour(polls=3))
    with google_client(simulator) as client:
        job = create(client, requests(6))
        states = [client.batches.get(name=job.name).state.name for _ in range(4)]
    assert states == ["JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"]


def test_a_job_goes_by_a_clock_where_one_is_given(simulate):
    now = [100.0]
    simulator = simulate(batches=BatchBehaviour(seconds=10, clock=lambda: now[0]))
    with google_client(simulator) as client:
        job = create(client, requests(2))
        seen = []
        for now[0] in (100.0, 105.0, 105.0, 110.0):
            seen.append(client.batches.get(name=job.name).state.name.removeprefix("JOB_STATE_"))
    assert seen == ["PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]


def test_counts_are_texts_and_those_of_nothing_are_left_out(simulate):
    simulator = simulate(batches=BatchBehaviour(polls=1, failing=0.5))
    with google_client(simulator) as client:
        job = create(client, requests(4))
        pending, ended = (raw(simulator, f"/v1beta/{job.name}").json() for _ in range(2))
    assert pending["metadata"]["batchStats"] == {"requestCount": "4", "pendingRequestCount": "4"}
    assert "done" not in pending
    assert ended["metadata"]["batchStats"] == {
        "requestCount": "4", "successfulRequestCount": "2", "failedRequestCount": "2",
    }  # fmt: skip
    assert ended["done"] is True


def test_inline_results_are_nested_twice_and_told_twice(image_upstream):
    with google_client(image_upstream) as client:
        job = over(client, create(client, requests(2)))
    document = raw(image_upstream, f"/v1beta/{job.name}").json()
    told = document["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]
    assert [result["metadata"]["key"] for result in told] == ["k0", "k1"]
    assert document["response"]["inlinedResponses"]["inlinedResponses"] == told


def test_results_are_real_images_of_the_documented_pixels(image_upstream):
    with google_client(image_upstream) as client:
        job = over(client, create(client, requests(2, "2K")))
    images = [result.response.parts[-1].inline_data.data for result in job.dest.inlined_responses]
    assert [pixels(image) for image in images] == [(2048, 2048)] * 2
    assert images[0] != images[1]


def test_results_of_a_file_are_in_a_file(image_upstream):
    with google_client(image_upstream) as client:
        job = over(client, create(client, uploaded(client, 3)))
        lines = client.files.download(file=job.dest.file_name).splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["k0", "k1", "k2"]
    assert all("inlineData" in json.loads(line)["response"]["candidates"][0]["content"]["parts"][-1] for line in lines)


def test_results_of_a_file_stand_below_the_path_of_downloads_too(image_upstream):
    with google_client(image_upstream) as client:
        job = over(client, create(client, uploaded(client, 1)))
    path = f"/download/v1beta/{job.dest.file_name}:download"
    assert json.loads(raw(image_upstream, path, alt="media").content)["key"] == "k0"


def test_the_list_has_pages_newest_first_and_no_results(image_upstream):
    with google_client(image_upstream) as client:
        for name in ("first", "second", "third"):
            over(client, create(client, requests(1), name))
        assert [job.display_name for job in client.batches.list(config={"page_size": 2})] == [
            "third",
            "second",
            "first",
        ]
    page = raw(image_upstream, "/v1beta/batches").json()["operations"]
    assert not any("output" in job["metadata"] for job in page)


def test_a_share_of_the_lines_fails_in_a_job_that_succeeds(simulate):
    simulator = simulate(batches=BatchBehaviour(failing=0.03))
    with google_client(simulator) as client:
        job = over(client, create(client, uploaded(client, 200)))
        lines = [json.loads(line) for line in client.files.download(file=job.dest.file_name).splitlines()]
    failed = [line for line in lines if "error" in line]
    assert (job.state.name, len(lines), len(failed)) == ("JOB_STATE_SUCCEEDED", 200, 6)
    assert failed[0]["error"] == {"code": 1, "message": "The operation was cancelled."}
    assert simulator.bill == 194 * PRICE


def test_faults_strike_lines_as_they_strike_calls(simulate):
    struck = [faults.overloaded(path="/lines/k0"), faults.text_only(path="/lines/k1"), faults.internal(path="/batches")]
    simulator = simulate(faults=struck)
    with google_client(simulator) as client:
        job = create(client, requests(3))
        simulator.clear_faults()
        for fault in struck[:2]:
            simulator.inject(fault)
        job = over(client, job)
    overloaded, words, drawn = job.dest.inlined_responses
    assert (overloaded.error.code, words.response.parts[0].inline_data, drawn.error) == (14, None, None)


def test_a_fault_of_calls_that_draw_spares_the_calls_about_a_job(simulate):
    simulator = simulate(faults=[faults.overloaded(count=1)])
    with google_client(simulator) as client:
        job = over(client, create(client, requests(2)))
    assert [result.error.code if result.error else None for result in job.dest.inlined_responses] == [14, None]


def test_a_line_that_is_refused_does_not_cost_the_others(image_upstream):
    with google_client(image_upstream) as client:
        job = over(client, create(client, [*requests(1, "8K"), *requests(1)]))
    bad, good = job.dest.inlined_responses
    assert (bad.error.code, good.error) == (3, None)
    assert "Invalid image size" in bad.error.message


def test_lines_are_billed_at_half_price_when_they_are_done(image_upstream):
    with google_client(image_upstream) as client:
        job = create(client, requests(4))
        bills = [image_upstream.bill]
        for _ in range(3):
            client.batches.get(name=job.name)
            bills.append(image_upstream.bill)
    assert bills == [0, 0, 2 * PRICE, 4 * PRICE]
    (record,) = image_upstream.batches
    assert record.bill == {f"k{number}": PRICE for number in range(4)}
    assert (record.name, record.state, record.total, record.succeeded, record.failed) == ("job", "succeeded", 4, 4, 0)


def test_cancelling_leaves_undone_what_is_not_done(image_upstream):
    with google_client(image_upstream) as client:
        job = create(client, requests(4))
        for _ in range(2):
            client.batches.get(name=job.name)
        client.batches.cancel(name=job.name)
        job = client.batches.get(name=job.name)
    assert (job.state.name, len(job.dest.inlined_responses)) == ("JOB_STATE_CANCELLED", 2)
    assert image_upstream.bill == 2 * PRICE


def test_cancelling_what_is_over_changes_nothing(image_upstream):
    with google_client(image_upstream) as client:
        job = over(client, create(client, requests(1)))
        client.batches.cancel(name=job.name)
        assert client.batches.get(name=job.name).state.name == "JOB_STATE_SUCCEEDED"


def test_a_job_expires_where_it_is_told_to(simulate):
    simulator = simulate(batches=BatchBehaviour(expires_at=0.5))
    with google_client(simulator) as client:
        job = over(client, create(client, requests(4)))
    assert (job.state.name, len(job.dest.inlined_responses)) == ("JOB_STATE_EXPIRED", 2)


def test_many_looks_at_once_do_no_line_twice(simulate):
    simulator = simulate(batches=BatchBehaviour(polls=4))
    with google_client(simulator) as client:
        job = create(client, requests(20))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: raw(simulator, f"/v1beta/{job.name}"), range(8)))
    assert (simulator.billed, simulator.batches[0].state) == (20, "succeeded")


@pytest.mark.parametrize("model", ["imagen-4.0-generate-001", "gpt-image-2", "no-such-model"])
def test_a_model_that_takes_no_batches_is_not_found(image_upstream, model):
    with google_client(image_upstream) as client, pytest.raises(errors.ClientError, match="batchGenerateContent"):
        create(client, requests(1), model=model)


@pytest.mark.parametrize("source", ["files/nowhere", []])
def test_a_source_that_is_not_there_is_refused(image_upstream, source):
    body = {"fileName": source} if source else {"requests": {"requests": []}}
    answer = httpx2.post(
        f"{image_upstream.url}/v1beta/models/{MODEL}:batchGenerateContent",
        headers={"x-goog-api-key": KEY},
        json={"batch": {"inputConfig": body}},
    )
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_more_than_twenty_megabytes_do_not_go_inline(image_upstream):
    text = "x" * 21_000_000
    with google_client(image_upstream) as client, pytest.raises(errors.ClientError, match="payload size"):
        create(client, [types.InlinedRequest(contents=[text])])


def test_what_is_not_there_is_not_found(image_upstream):
    assert raw(image_upstream, "/v1beta/batches/unknown").status_code == 404
    assert raw(image_upstream, "/v1beta/files/unknown:download").status_code == 403


def test_a_key_is_asked_for(simulate):
    simulator = simulate(keys=["another-key-0123456789"])
    assert raw(simulator, "/v1beta/batches").status_code == 400


def test_a_piece_of_an_upload_has_to_go_on_where_the_last_one_ended(image_upstream):
    headers = {"x-goog-api-key": KEY, "X-Goog-Upload-Command": "start"}
    start = httpx2.post(f"{image_upstream.url}/upload/v1beta/files", headers=headers)
    link = start.headers["x-goog-upload-url"]
    piece = {"X-Goog-Upload-Command": "upload", "X-Goog-Upload-Offset": "5"}
    assert httpx2.post(link, headers=piece, content=b"abc").status_code == 400
    assert httpx2.post(link, headers=piece | {"X-Goog-Upload-Offset": "0"}, content=b"abc").status_code == 200
