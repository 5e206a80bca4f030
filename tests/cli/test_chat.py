"""`chat`: lines in, images out, and a file from which the conversation goes on."""

import errno
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from gateway.chat import conversation_file
from providers.simulator import faults
from tests.cli.conftest import FLASH, run, words
from tests.providers.wire import picture


def pixels(path):
    with Image.open(path) as image:
        image.load()
        return image.size


def turns(path):
    return [turn.prompt for turn in conversation_file.load(Path(path)).turns]


def test_each_line_goes_on_from_the_last_image(google):
    told = words(run("chat", "--aspect-ratio", "1:1", stdin="A cat\nA red cat\n").stdout)
    assert "saved a-cat.jpg" in told
    assert "saved a-red-cat.jpg" in told
    shown = google.requests[-1].json["contents"]
    assert [content["role"] for content in shown] == ["user", "model", "user"]


def test_the_conversation_is_kept_in_its_file_and_goes_on_from_there(google):
    run("chat", "cat.chat", "--size", "512", "--aspect-ratio", "1:1", stdin="A cat\n")
    run("chat", "cat.chat", "-o", ".", stdin="A red cat\n")
    assert turns("cat.chat") == ["A cat", "A red cat"]
    assert pixels("a-red-cat.jpg") == (512, 512)


def test_commands_change_what_comes_next(google):
    Path("hat.png").write_bytes(picture(64, 64))
    lines = ["A cat", "A dog", "/undo", "/image hat.png", "/size 2K", "A hat", "/branch 1", "A bird", "/save bird.chat"]
    run("chat", "cat.chat", "--aspect-ratio", "1:1", stdin="\n".join(lines))
    assert turns("bird.chat") == turns("cat.chat") == ["A cat", "A bird"]
    hat, bird = google.requests[-2:]
    assert (hat.size, bird.size) == ("2K", "2K")
    assert ["inlineData" in part for part in hat.json["contents"][-1]["parts"]] == [False, True]
    assert len(bird.json["contents"][-1]["parts"]) == 1


def test_quit_ends_it(google):
    run("chat", stdin="/quit\nA cat\n")
    assert google.requests == []


def test_json_is_one_line_for_each_turn(google):
    lines = run("chat", "--json", stdin="A cat\nA dog\n").stdout.splitlines()
    assert [json.loads(line)["images"][0]["path"] for line in lines] == ["a-cat.jpg", "a-dog.jpg"]


def test_a_failure_ends_lines_that_nobody_types(google):
    google.inject(faults.image_safety())
    run("chat", "cat.chat", stdin="A cat\nA dog\n", status=1)
    assert not Path("cat.chat").exists()
    assert len(google.requests) == 1


def test_an_unknown_command_lists_the_known_ones(google):
    told = words(run("chat", stdin="/redo\n", status=2).stderr)
    assert "/redo: there is no such command" in told
    assert "/undo take the last turn back" in told


def test_a_branch_from_a_turn_that_is_not_there_says_which_there_are(google):
    assert "turn: expected a number from 1 to 1" in words(run("chat", stdin="A cat\n/branch 7\n", status=2).stderr)


def test_options_do_not_change_a_conversation_that_is_there(google):
    run("chat", "cat.chat", stdin="A cat\n")
    assert "goes on with its own options" in run("chat", "cat.chat", "--size", "2K", stdin="A dog\n").stderr
    assert google.requests[-1].size == "1K"
    assert google.requests[-1].model == FLASH


def test_what_was_paid_for_but_does_not_do_is_kept(google):
    google.inject(faults.wrong_size("512"))
    told = words(run("chat", "cat.chat", "--size", "2K", stdin="A cat\n", status=1).stderr)
    assert "paid for, and kept: a-cat-rejected.jpg" in told
    assert Path("a-cat-rejected.jpg").exists()
    assert not Path("cat.chat").exists()


def test_what_was_drawn_is_saved_even_if_the_conversation_cannot_be(google, monkeypatch):
    monkeypatch.setattr(conversation_file, "save", refuses)
    told = words(run("chat", "cat.chat", stdin="A cat\n", status=2).stderr)
    assert "cat.chat: could not be written: No space left on device" in told
    assert Path("a-cat.jpg").exists()


def refuses(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_that_is_not_there_is_told_before_anything_is_drawn(google):
    told = words(run("chat", "nowhere/cat.chat", stdin="A cat\n", status=2).stderr)
    assert "file: there is no folder 'nowhere'" in told
    assert google.billed == 0


@pytest.mark.parametrize("line", ["/save", "/save ."])
def test_saving_takes_a_name(google, line):
    assert "/save: expected the name of a file" in words(run("chat", stdin=f"{line}\n", status=2).stderr)


def test_a_reference_that_is_not_there_is_refused_where_it_is_named(google):
    told = words(run("chat", stdin="/image hat.png\nA cat\n", status=2).stderr)
    assert "/image: there is no file 'hat.png'" in told
