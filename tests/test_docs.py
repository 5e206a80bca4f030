"""What README and docs show works as it stands."""

from __future__ import annotations

import asyncio
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.configuration import config
from providers.presets import presets
from providers.provider import Provider, ProviderSettings
from providers.simulator import Simulator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of *language*, in order."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for named, content in fenced if named == language]


FIRST, ASYNC, FIXTURE = blocks(README, "python")
(TOML,) = blocks(README, "toml")
PRINTED = blocks(README, "")[0]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """README's gateway.toml in the working directory, its addresses those of two simulators."""
    with Simulator() as google, Simulator(flavour="new-api") as relay:
        text = TOML.replace('kind = "google"', f'kind = "google"\nbase_url = "{google.google_url}"')
        text = text.replace("https://relay.example/v1", relay.openai_url)
        (tmp_path / "gateway.toml").write_text(text, encoding="utf-8")
        monkeypatch.setenv("GEMINI_API_KEY", "the-google-key")
        monkeypatch.setenv("RELAY_API_KEY", "the-relay-key")
        monkeypatch.chdir(tmp_path)
        yield tmp_path


def test_the_first_example_prints_what_readme_says(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(FIRST, "README.md", "exec"), {})
    assert capsys.readouterr().out == PRINTED
    assert (configured / "poster.jpg").exists()


def test_the_async_example_returns_an_image(configured: Path) -> None:
    names: dict[str, object] = {}
    exec(compile(ASYNC, "README.md", "exec"), names)
    poster = names["poster"]
    assert callable(poster)
    assert asyncio.run(poster()).startswith(b"\xff\xd8")


def test_the_example_with_the_fixture_is_a_test_that_passes(image_upstream: Simulator) -> None:
    names: dict[str, object] = {}
    exec(compile(FIXTURE, "README.md", "exec"), names)
    example = names["test_my_app_survives_an_overloaded_google"]
    assert callable(example)
    example(image_upstream)
    assert [request.size for request in image_upstream.requests][-1] == "2K"


def test_readmes_configuration_is_valid_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(TOML, encoding="utf-8")
    loaded = config.load(file, environ={"GEMINI_API_KEY": "the-google-key", "RELAY_API_KEY": "the-relay-key"})
    assert [lane.name for lane in loaded.lanes if lane.provider == "relay"] == ["relay/gemini-3-pro-image"]
    assert loaded.warnings == ()


def test_the_example_of_a_provider_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    module = types.ModuleType("acme_images")
    monkeypatch.setitem(sys.modules, "acme_images", module)
    exec(compile(blocks(text, "python")[0], "docs/providers.md", "exec"), module.__dict__)
    assert isinstance(module.AcmeProvider(ProviderSettings(name="a", kind="acme")), Provider)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_every_page_that_is_linked_exists(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_module_that_the_architecture_names_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:gateway|providers)/[\w./]+)`", text)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("number", [0, 1])
def test_the_configurations_in_the_docs_are_valid(number: int, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    (tmp_path / "gateway.toml").write_text(blocks(text, "toml")[number], encoding="utf-8")
    (tmp_path / "second-key.txt").write_text("the-second-key\n", encoding="utf-8")
    names = ("GEMINI_API_KEY", "OPENROUTER_API_KEY", "RELAY_API_KEY", "TASKS_API_KEY")
    loaded = config.load(tmp_path / "gateway.toml", environ={name: f"key-of-{name}" for name in names})
    assert loaded.lanes
    assert loaded.warnings == ()


def test_the_presets_in_the_docs_are_all_there_are() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    section = text.partition("## Presets")[2].partition(": the rows")[0]
    assert re.findall(r"`([\w-]+)`", section) == list(presets())
