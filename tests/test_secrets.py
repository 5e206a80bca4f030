"""Keys come from where the configuration says, and never show."""

import copy
import errno
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration import secrets
from providers.errors import ConfigError
from providers.secret import Secret

WHERE = "gateway.toml, line 3: providers.acme.api_key"


def resolve(reference: str, environ: dict[str, str] | None = None, folder: Path = Path()) -> Secret:
    return secrets.resolve(reference, WHERE, environ or {}, folder)


def complaint(reference: str, environ: dict[str, str] | None = None, folder: Path = Path()) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(reference, environ, folder)
    assert str(caught.value).startswith(WHERE)
    return str(caught.value)


def test_a_key_is_read_from_the_environment_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "from the process")
    assert resolve("env:ACME_KEY", {"ACME_KEY": "abc"}).reveal() == "abc"
    assert "ACME_KEY is not set" in complaint("env:ACME_KEY", {})


def test_a_missing_or_empty_variable_is_named() -> None:
    assert "environment variable ACME_KEY is not set" in complaint("env:ACME_KEY")
    assert "environment variable ACME_KEY is empty" in complaint("env:ACME_KEY", {"ACME_KEY": ""})


def test_what_is_no_name_of_a_variable_is_not_shown() -> None:
    assert "sk-pasted" not in complaint("env:sk-pasted-here")
    complaint("env:")


@pytest.mark.parametrize(("content", "key"), [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc")])
def test_a_file_loses_one_newline_at_its_end(tmp_path: Path, content: str, key: str) -> None:
    (tmp_path / "key").write_bytes(content.encode())
    assert resolve("file:key", folder=tmp_path).reveal() == key
    assert resolve(f"file:{tmp_path / 'key'}").reveal() == key


@pytest.mark.parametrize("content", ["abc\n\n", "abc\r", "\nabc", "abc \n", "\n\n"])
def test_a_file_loses_nothing_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_bytes(content.encode())
    assert "'key'" in complaint("file:key", folder=tmp_path)


def test_a_file_that_is_missing_empty_or_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"\n")
    assert "'absent' cannot be read: No such file" in complaint("file:absent", folder=tmp_path)
    assert "'empty' is empty" in complaint("file:empty", folder=tmp_path)
    assert "cannot be read" in complaint("file:.", folder=tmp_path)
    assert "cannot be read" in complaint("file:a\0b", folder=tmp_path)
    assert "expected the path" in complaint("file:", folder=tmp_path)


def test_a_pipe_a_device_and_a_link_to_itself_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "'pipe' is a pipe or a device" in complaint("file:pipe", folder=tmp_path)
    assert "'/dev/zero' is a pipe or a device" in complaint("file:/dev/zero")
    assert "'loop' cannot be read: Too many levels" in complaint("file:loop", folder=tmp_path)


def test_a_file_that_may_not_be_read_is_named_with_the_systems_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "open", refuse)  # root may read any file, and tests may run as root
    assert "'key' cannot be read: Permission denied" in complaint("file:key", folder=tmp_path)


def test_a_link_to_a_key_is_followed(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "key").write_text("abc")
    (tmp_path / "key").symlink_to("..data/key")  # as orchestrators mount secrets
    assert resolve("file:key", folder=tmp_path).reveal() == "abc"


def test_a_file_larger_than_any_key_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"a" * (secrets.MAX_KEY_BYTES + 1))
    assert "larger than" in complaint("file:key", folder=tmp_path)


@pytest.mark.parametrize(
    "key", ["a\nb", "a\tb", "a b", " ab", "ab ", "a\x00b", "a\x7fb", "schlüssel", "a\u200bb", "\ufeffa"]
)
def test_what_cannot_be_a_key_is_refused_without_showing_it(tmp_path: Path, key: str) -> None:
    (tmp_path / "key").write_text(key, encoding="utf-8")
    for message in (complaint(key), complaint("env:K", {"K": key}), complaint("file:key", folder=tmp_path)):
        assert key not in message.removeprefix(WHERE)


def test_only_a_key_itself_is_literal() -> None:
    assert secrets.is_literal("sk-abc")
    assert not secrets.is_literal("env:A")
    assert not secrets.is_literal("file:a")
    assert resolve("sk-abc").reveal() == "sk-abc"


def test_the_usual_keys_stand_for_their_providers() -> None:
    found = secrets.usual_providers({"GOOGLE_API_KEY": "a", "OPENAI_API_KEY": "", "OPENROUTER_API_KEY": "c"})
    assert set(found) == {"google", "openrouter"}
    assert found["google"]["api_key"] == "env:GOOGLE_API_KEY"
    both = secrets.usual_providers({"GOOGLE_API_KEY": "a", "GEMINI_API_KEY": "b"})
    assert both["google"]["api_key"] == "env:GEMINI_API_KEY"


# Hypothesis also tries words of the code under test, which may well show: in front stands what makes them a key.
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=12).map("~key~".__add__))
def test_a_key_that_was_read_does_not_show_and_does_not_pickle(key: str) -> None:
    secret = resolve("env:K", {"K": key})
    assert secret.reveal() == key
    assert key not in f"{secret} {secret!r} {[secret]}"
    with pytest.raises(TypeError) as caught:
        pickle.dumps(secret)
    assert key not in str(caught.value)
    assert copy.deepcopy(secret) is secret
