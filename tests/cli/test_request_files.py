"""Files of requests: what they mean, and what is said of those that mean nothing."""

import json
from decimal import Decimal

import pytest

from gateway import InvalidRequest, ProviderPreferences
from gateway.cli.request_files import read_requests


@pytest.fixture
def written(tmp_path):
    """Writes a file, and reads its requests."""

    def read(text, name="prompts.csv", defaults=None):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_requests(path, defaults)

    return read


def problems(written, text, name="prompts.csv"):
    with pytest.raises(InvalidRequest) as caught:
        written(text, name)
    return str(caught.value).splitlines()


def only(requests):
    ((_, request),) = requests
    return request


# What a file means


def test_each_line_of_a_text_is_a_prompt(written):
    found = written("a fox, running\n\n  an owl\r\n", "prompts.txt")
    assert [request.prompt for _, request in found] == ["a fox, running", "an owl"]


def test_a_csv_has_a_prompt_and_any_other_fields(written):
    text = (
        "prompt,size,n,seed,temperature,max_cost,grounding,model,tags,fallback\n"
        '"a fox, running",2k,3,7,0.5,0.30,yes,one | two,team=art|kind=x,switch|downgrade\n'
    )
    request = only(written(text))
    assert (request.prompt, request.size, request.n, request.seed) == ("a fox, running", "2K", 3, 7)
    assert (request.temperature, request.max_cost, request.grounding) == (0.5, Decimal("0.30"), True)
    assert (request.model, request.fallback) == (("one", "two"), ("switch", "downgrade"))
    assert request.tags == {"team": "art", "kind": "x"}


def test_an_empty_cell_leaves_the_default(written):
    requests = written("prompt,size,n\na fox,,\nan owl,4K,2\n", defaults={"size": "2K"})
    assert [(request.size, request.n) for _, request in requests] == [("2K", 1), ("4K", 2)]


def test_prompts_may_go_over_several_lines_between_quotes(written):
    found = written('prompt,size\n"a fox\nin the snow",1K\nan owl,1K\n')
    assert [request.prompt for _, request in found] == ["a fox\nin the snow", "an owl"]


@pytest.mark.parametrize(("delimiter", "name"), [(";", "prompts.csv"), ("\t", "prompts.tsv"), ("\t", "prompts.csv")])
def test_spreadsheets_of_other_countries_are_read_too(written, delimiter, name):
    rows = [["prompt", "size"], ["a fox, running", "2K"]]
    text = b"\xef\xbb\xbf" + "\r\n".join(delimiter.join(row) for row in rows).encode()
    assert only(written(text, name)).prompt == "a fox, running"


def test_json_lines_are_prompts_or_objects(written):
    lines = ["a fox", {"prompt": "an owl", "providers": {"only": ["google"]}, "max_cost": 0.1, "tags": {"a": "b"}}]
    found = written("\n".join(map(json.dumps, lines)), "prompts.jsonl")
    assert found[0][1].prompt == "a fox"
    assert found[1][1].providers == ProviderPreferences(only=("google",))
    assert found[1][1].max_cost == Decimal("0.1")


def test_images_are_found_beside_the_file(written, tmp_path):
    (tmp_path / "day.png").write_bytes(b"x")
    assert only(written("prompt,images\nMake it night,day.png\n")).images == (tmp_path / "day.png",)


# Keys


def test_a_key_stays_the_same_wherever_its_row_moves(written):
    before = written("prompt\na fox\nan owl\n")
    after = written("prompt\na hen\nan owl\na fox\n")
    assert dict(before).items() <= dict(after).items()


def test_a_key_tells_the_prompt_and_is_a_file_name(written):
    ((key, _),) = written("A red Fox / runs: très vite\n", "prompts.txt")
    assert key.startswith("a-red-fox-runs-très-vite-")


def test_what_is_asked_for_changes_the_key_and_how_it_is_booked_does_not(written):
    key = written("prompt\na fox\n")[0][0]
    assert written("prompt,size\na fox,2K\n")[0][0] != key
    assert written("prompt,size,tags,task,deadline\na fox,1K,a=b,poster,5\n")[0][0] == key


def test_the_same_row_twice_is_two_images(written):
    keys = [key for key, _ in written("prompt\na fox\na fox\na fox\n")]
    assert len(set(keys)) == 3
    assert keys[1:] == [f"{keys[0]}-no2", f"{keys[0]}-no3"]


def test_a_key_of_the_rows_own_is_taken_without_an_images_suffix(written):
    found = written("prompt,key\na fox,hero\nan owl,owl.PNG\na hen,v1.2\n")
    assert [key for key, _ in found] == ["hero", "owl", "v1.2"]


@pytest.mark.parametrize("key", ["../up", ".hidden", "a/b", "a\\b", "x" * 101, "-rf", "a\x00b"])
def test_a_key_that_is_no_file_name_is_refused(written, key):
    (problem,) = problems(written, json.dumps({"prompt": "a fox", "key": key}), "prompts.jsonl")
    assert "line 1: key: it becomes a file name" in problem


def test_keys_that_lead_to_the_same_file_are_refused(written):
    text = "prompt,key,n\na fox,hero,2\nan owl,HERO,1\na hen,hero-2,1\n"
    assert problems(written, text) == [
        "prompts.csv line 3: key: its file would be that of line 2; use another key",
        "prompts.csv line 4: key: its file would be that of line 2; use another key",
    ]


# What is wrong


def test_everything_that_is_wrong_is_told_at_once_by_line_and_field(written):
    text = "prompt,size,n,max_cost,images\na fox,9K,x,,\nan owl,,,much,gone.png\na hen,,,,\n,1K,,,\n"
    told = problems(written, text)
    assert [line.split(":")[0] for line in told] == [f"prompts.csv line {number}" for number in (2, 2, 3, 3, 5)]
    assert any("n: expected a whole number" in line for line in told)
    assert any('size: expected one of "512", "1K", "2K", "4K"' in line for line in told)
    assert any("max_cost: expected a number" in line for line in told)
    assert any("images: there is no file 'gone.png'" in line for line in told)
    assert any("prompt: required" in line for line in told)


def test_lines_are_counted_as_an_editor_does(written):
    assert problems(written, 'prompt,size\n"a fox\nin the snow",1K\n\nan owl,9K\n')[0].startswith("prompts.csv line 5:")


def test_of_many_problems_the_first_are_told_and_the_rest_counted(written):
    told = problems(written, "prompt,size\n" + "a fox,9K\n" * 50)
    assert len(told) == 21
    assert told[-1] == "and 30 more"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a fox,1K\n", "line 1: expected a header with a column named prompt"),
        ("prompt,sise\na fox,1K\n", "line 1: sise: there is no such field; did you mean size?"),
        ("prompt,size,size\na,1K,1K\n", "line 1: size: there are two such columns"),
        ("prompt,save_to\na,x\n", "line 1: save_to: is set by the command"),
        ("prompt,size\na fox, running,1K\n", "line 2: has 3 cells, and the header 2"),
        ('prompt\n"a fox\n', "line 2: a quote is opened and not closed"),
        (f'prompt\n"{"a" * 200_000}"\n', "line 2: a cell has more than 131,072 characters"),
        ("prompt,colour\na fox,red\n", "line 1: colour: there is no such field; there are prompt, "),
        ("prompt,grounding\na fox,perhaps\n", "line 2: grounding: expected true or false"),
        ("prompt,tags\na fox,art\n", "line 2: tags: expected NAME=VALUE"),
        ("prompt,providers\na fox,google\n", "line 2: providers: expected JSON"),
        ("prompt\n", "there is no request in it"),
        ("", "line 1: expected a header"),
    ],
)
def test_what_is_wrong_with_a_csv_is_said(written, text, said):
    assert said in "\n".join(problems(written, text))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: is not JSON (column"),
        ("7", "line 1: expected an object"),
        ("[" * 100_000, "line 1: is"),
        ('{"prompt": "a fox", "colour": 1}', "line 1: colour: there is no such field"),
        ('{"prompt": "a fox", "providers": {"onyl": []}}', "line 1: providers: onyl"),
        ('{"prompt": 7}', "line 1: prompt: expected"),
        ('{"prompt": "a fox", "images": "day.png"}', "line 1: images: expected a sequence"),
    ],
)
def test_what_is_wrong_with_json_is_said(written, line, said):
    assert said in "\n".join(problems(written, line, "prompts.jsonl"))


def test_other_files_are_refused(written, tmp_path):
    assert "expected a file ending in .csv" in problems(written, "a fox", "prompts.xlsx")[0]
    assert "prompts.csv line 2: expected UTF-8 text" in problems(written, b"prompt\nf\xfcchse\n")[0]
    with pytest.raises(InvalidRequest, match="cannot be read: No such file"):
        read_requests(tmp_path / "gone.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_requests(tmp_path / "folder.csv")


def test_a_default_that_is_wrong_is_told_once(written):
    with pytest.raises(InvalidRequest) as caught:
        written("prompt\na fox\nan owl\n", defaults={"size": "9K"})
    assert str(caught.value).startswith("size: expected one of")
