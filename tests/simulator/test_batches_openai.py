"""OpenAI's Batch API, asked by OpenAI's SDK."""

import io
import json

import openai
import pytest

from providers.simulator import BatchBehaviour
from tests.simulator.conftest import openai_client

GENERATIONS = "/v1/images/generations"


def line(key, url=GENERATIONS, **body):
    asked = {"model": "gpt-image-2", "prompt": f"a cat, {key}", "size": "1024x1024", **body}
    return {"custom_id": key, "method": "POST", "url": url, "body": asked}


def create(client, lines, endpoint=GENERATIONS):
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    file = client.files.create(file=("lines.jsonl", io.BytesIO(text.encode())), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"name": "job"}
    )


def looks(client, job, count):
    return [client.batches.retrieve(job.id) for _ in range(count)]


def results(client, file_id):
    return {entry["custom_id"]: entry for entry in map(json.loads, client.files.content(file_id).text.splitlines())}


def test_a_job_goes_from_validating_to_completed(simulate):
    client = openai_client(simulate("openai"))
    job = create(client, [line("a"), line("b")])
    seen = looks(client, job, 3)
    assert [each.status for each in (job, *seen)] == ["validating", "validating", "in_progress", "completed"]
    assert (seen[-1].request_counts.total, seen[-1].request_counts.completed) == (2, 2)
    assert (seen[-1].metadata, seen[-1].error_file_id) == ({"name": "job"}, None)


def test_results_are_answers_of_the_endpoint_at_half_price(simulate):
    simulator = simulate("openai")
    client = openai_client(simulator)
    ended = looks(client, create(client, [line("a", n=2), line("b")]), 3)[-1]
    found = results(client, ended.output_file_id)
    assert [len(found[key]["response"]["body"]["data"]) for key in "ab"] == [2, 1]
    assert (simulator.billed, float(simulator.bill)) == (3, 0.075)


def test_failed_lines_are_in_a_file_of_their_own(simulate):
    client = openai_client(simulate("openai", batches=BatchBehaviour(failing=0.5)))
    ended = looks(client, create(client, [line("a"), line("b"), line("c", size="7x7")]), 3)[-1]
    failed = results(client, ended.error_file_id)
    assert set(results(client, ended.output_file_id)) == {"a"}
    assert {key: entry["response"]["status_code"] for key, entry in failed.items()} == {"b": 500, "c": 400}
    assert ended.request_counts.failed == 2


def test_an_expired_job_tells_what_it_did_not_come_to(simulate):
    client = openai_client(simulate("openai", batches=BatchBehaviour(expires_at=0.5)))
    ended = looks(client, create(client, [line("a"), line("b")]), 2)[-1]
    assert ended.status == "expired"
    assert results(client, ended.error_file_id)["b"]["error"]["code"] == "batch_expired"


def test_a_cancelled_job_is_cancelling_first(simulate):
    client = openai_client(simulate("openai"))
    job = create(client, [line("a")])
    assert client.batches.cancel(job.id).status == "cancelling"
    assert client.batches.retrieve(job.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        client.batches.cancel(job.id)


def test_the_list_has_pages(simulate):
    client = openai_client(simulate("openai"))
    made = [create(client, [line("a")]).id for _ in range(3)]
    assert [job.id for job in client.batches.list(limit=2)] == made[::-1]


@pytest.mark.parametrize(
    ("lines", "endpoint", "why"),
    [
        (["no JSON"], GENERATIONS, "Line 1"),
        ([line("a"), line("b", url="/v1/images/edits")], GENERATIONS, "line 2"),
        ([line("a")], "/v1/embeddings", "embeddings"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(simulate, lines, endpoint, why):
    with pytest.raises(openai.BadRequestError, match=why):
        create(openai_client(simulate("openai")), lines, endpoint)


def test_what_is_not_there_is_not_found(simulate):
    client = openai_client(simulate("openai"))
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_unknown")
    with pytest.raises(openai.NotFoundError):
        client.files.content("file-unknown")
