"""`demo`: two acts, without keys, network or configuration."""

import json
from pathlib import Path

from PIL import Image

from tests.cli.conftest import run, run_json, spawn, words


def test_it_shows_the_switch_and_the_downgrade():
    process = spawn("demo", NO_COLOR="1")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    first, second = words(out).split("Act 2")
    assert "google/gemini-3.1-flash-image 4K overloaded no" in first
    assert "relay/gemini-3.1-flash-image 4K ok yes $0.18" in first
    assert "cost $0.18" in first
    assert "saved demo-output/launch-poster-4k.jpg" in first
    assert second.count("4K overloaded no") == 2
    assert "size 2K, although 4K was asked for" in second
    assert "warning 4K could not be had" in second
    assert "saved demo-output/launch-poster-2k.jpg" in second
    assert fits(out, 80)


def test_it_uses_a_wider_terminal_and_a_second_run_replaces_its_files(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    run("demo")
    out = run("demo").stdout
    assert fits(out, 120)
    assert not fits(out, 80)
    assert len(list(Path("demo-output").iterdir())) == 2


def fits(text, columns):
    """Whether *text* is fit for a pipe: no control characters, and no line longer than *columns*."""
    return all(line.isprintable() and len(line) <= columns for line in text.splitlines())


def test_json_has_both_results_and_the_files_are_there():
    first, second = run_json("demo", "--out", "deep/er")["results"]
    assert (first["provider"], first["size"], first["downgraded"]) == ("relay", "4K", False)
    assert (second["requested_size"], second["size"], second["downgraded"]) == ("4K", "2K", True)
    for result in (first, second):
        (image,) = result["images"]
        assert Path(image["path"]).parent == Path("deep/er")
        with Image.open(image["path"]) as opened:
            assert opened.size == (image["width"], image["height"])


def test_a_folder_that_cannot_be_made_exits_2():
    Path("file").write_text("")
    assert "out: the folder 'file' cannot be made" in words(run("demo", "--out", "file", status=2).stderr)
    assert json.loads(run("demo", "--out", "file/x", "--json", status=2).stdout)["error"]["type"] == "InvalidRequest"
