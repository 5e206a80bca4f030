"""What an application meets when it installs and imports the package."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from providers.simulator import Simulator

ROOT = Path(__file__).parents[1]


def python(code: str, *options: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


LATE = ("google.genai", "openai", "PIL", "typer")
"""What only a request needs, or the command line."""

HEAVY = (*LATE, "pydantic", "httpx2", "h11", "anyio", "asyncio", "ssl", "importlib.metadata")
"""Modules that take milliseconds to import."""


@pytest.mark.parametrize("named", ["import gateway", "from gateway import AsyncGateway, Gateway"])
def test_to_name_the_gateway_loads_next_to_nothing(named: str) -> None:
    # Without site, whose hooks for editable packages and coverage load what they like.
    code = f"import sys; sys.path[:] = {sys.path}; {named}; print([m for m in {HEAVY} if m in sys.modules])"
    done = python(code, "-S")
    assert done.stdout == "[]\n", done.stderr


def test_a_gateway_begins_without_sdk_and_pillow() -> None:
    code = f"""
        import sys
        from gateway import Gateway

        tables = {{kind: {{"kind": kind, "api_key": "k"}} for kind in ("google", "openai", "vertex")}}
        Gateway.from_config({{"providers": tables}})
        print([m for m in {LATE} if m in sys.modules])
    """
    done = python(textwrap.dedent(code))
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(("kind", "late"), [("google", ["providers.gemini_request"]), ("openai", [])])
def test_a_gateway_has_loaded_of_this_package_what_a_request_needs(kind: str, late: list[str]) -> None:
    """Once a loop is busy, an import would hold it up; *late* stands on the SDK."""
    with Simulator() as simulator:
        code = f"""
            import sys
            from gateway import Gateway

            table = {{"kind": {kind!r}, "base_url": {simulator.url!r}, "api_key": "k"}}
            table["lanes"] = [{{"model": "gemini-3-pro-image"}}]
            with Gateway.from_config({{"providers": {{"p": table}}}}) as gateway:
                before = set(sys.modules)
                gateway.generate("a fox")
            print(sorted(m for m in set(sys.modules) - before if m.startswith(("gateway.", "providers."))))
        """
        done = python(textwrap.dedent(code))
    assert done.stdout == f"{late}\n", done.stderr


@pytest.mark.parametrize("kind", ["package", "module"])
def test_a_foreign_providers_is_named_in_one_clear_sentence(tmp_path: Path, kind: str) -> None:
    if kind == "module":
        (tmp_path / "providers.py").write_text("")
    else:
        (tmp_path / "providers").mkdir()
        (tmp_path / "providers" / "__init__.py").write_text("")
    failed = python("import gateway", cwd=tmp_path)
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ImportError: image-gateway needs its own package 'providers', but 'import providers' finds "
    )
    assert str(tmp_path / "providers") in last
    assert last.endswith("rename that folder or module, or take its parent off the import path")


def test_a_wheel_holds_both_packages_with_their_data_and_types(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        ROOT,
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("image_gateway-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {
        "gateway/py.typed", "providers/py.typed", "gateway/catalogue.toml", "gateway/gateway.schema.json",
        "providers/presets.toml", "gateway/trial/page/trial.html", "gateway/trial/page/trial.js",
    }  # fmt: skip
    assert data <= names
    assert {
        "gateway/client.py",
        "gateway/cli/__init__.py",
        "providers/simulator/server.py",
        "providers/facts/png.py",
    } <= names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


@pytest.mark.parametrize("kind", ["google", "openai"])
def test_the_first_call_of_a_process_pays_for_the_import_of_its_sdk_and_says_so(kind: str) -> None:
    code = f"""
        from gateway import Gateway
        from gateway.events import AttemptEnded
        from providers.simulator import Simulator

        with Simulator() as simulator:
            table = {{"kind": {kind!r}, "base_url": simulator.url, "api_key": "k"}}
            table["lanes"] = [{{"model": "gemini-3-pro-image"}}]
            with Gateway.from_config({{"providers": {{"p": table}}}}) as gateway:
                told = []
                gateway.on_event(lambda event: told.append(event) if isinstance(event, AttemptEnded) else None)
                for _ in range(2):
                    gateway.generate("a fox")
        print([event.import_seconds > 0 for event in told], all(event.import_seconds < event.seconds for event in told))
    """
    done = python(textwrap.dedent(code))
    assert done.stdout.strip() == "[True, False] True", done.stderr
