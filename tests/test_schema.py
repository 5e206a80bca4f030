"""The JSON Schema says of a gateway.toml what the loader says, as far as a schema can."""

import json
import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gateway.configuration import schema
from gateway.configuration.config import load
from gateway.configuration.settings import LaneTable, ProviderTable
from providers.errors import ConfigError
from tests.configurations import ENVIRON, FULL, GOOGLE, KINDS

ROOT = Path(__file__).parents[1]
VALIDATOR = jsonschema.Draft7Validator(schema.schema(), format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)

CONTRACT = """
[gateway]
egress_country = "HK"
state = "memory"
deadline = { "1K" = 90, "2K" = 90, "4K" = 180 }

[router]
sort = "price"
models = ["gemini-3.1-flash-image", "gemini-3-pro-image"]

[fallback]
order = ["switch", "downgrade"]
max_attempts = 4
on_wrong_size = "accept"
on_no_image = "switch"
on_blocked = "stop"

[providers.google]
kind = "google"
api_key = "env:GEMINI_API_KEY"

[providers.vertex-eu]
kind = "vertex"
project = "my-project"
location = "eu"

[providers.laozhang]
kind = "openai"
base_url = "https://api.laozhang.ai/v1"
api_key = "env:LAOZHANG_API_KEY"
dialect = "new-api"
[[providers.laozhang.lanes]]
model = "gemini-3-pro-image"
upstream_model = "gemini-3-pro-image-preview"
sizes = ["1K"]
price = { "1K" = 0.05 }

[providers.laozhang-native]
kind = "google"
base_url = "https://api.laozhang.ai"
api_key = "env:LAOZHANG_API_KEY"
auth = "bearer"
"""

EVERYTHING = """
[gateway]
record_prompts = true
[fallback]
retry_budget = 0
hedge = 1
[providers."größe"]
preset = "openrouter"
api_key = ["env:GEMINI_API_KEY"]
mode = "shadow"
quota = { rpm = 60, rpd = 500, ipm = 30 }
[[providers."größe".lanes]]
model = "gemini-3.1-flash-image"
class = "premium"
sizes = ["1k", "4K"]
price = { "1k" = 0.05, "4K" = 0.1 }
batch_price = { "1K" = 0.02 }
token_prices = { output_image = 60, input_text = 0.5 }
aspect_ratios = ["16:9"]
references = 0
reference_bytes = 7_000_000
input_tokens = 131_072
capabilities = ["thinking", "output_format"]
thinking_levels = ["minimal", "high"]
output_formats = ["png"]
takes_size = false
seconds = { "1K" = 8 }
refused_countries = ["hk"]
n = 4
released = 2026-01-01
retired = "2027-01-01"
replacement = "gpt-image-2"
residency = "eu"
stream = true
mode = "forced-open"
source = "their price list"
checked = 2026-11-01
"""


def documented() -> Iterator[Any]:
    """Every configuration that README and docs show."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        blocks = re.findall(r"^```toml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for number, block in enumerate(block for block in blocks if "[providers." in block):
            yield pytest.param(block, id=f"{page.name} {number}")


def as_json(data: Any) -> Any:
    """*data* as editors hand TOML to a validator: days are texts."""
    return json.loads(json.dumps(data, default=str))


def mistakes(tables: Any) -> list[str]:
    """Where the schema finds fault."""
    return [".".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(as_json(tables))]


def test_the_copy_in_the_package_is_current() -> None:
    copy = files("gateway").joinpath(schema.FILE_NAME).read_text(encoding="utf-8")
    assert copy == schema.text(), "make it anew: python -m gateway.configuration.schema > gateway/gateway.schema.json"


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(schema.schema())


@pytest.mark.parametrize("text", [*documented(), CONTRACT, FULL, EVERYTHING])
def test_it_takes_what_is_documented_and_so_does_the_loader(text: str, tmp_path: Path) -> None:
    assert mistakes(tomllib.loads(text)) == []
    (tmp_path / "gateway.toml").write_text(text, encoding="utf-8")
    for name in ("keys/second", "second-key.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("second-key", encoding="utf-8")
    environ = {**ENVIRON, **dict.fromkeys(["OPENROUTER_API_KEY", "RELAY_API_KEY", "TASKS_API_KEY"], "some-other-key")}
    assert load(tmp_path / "gateway.toml", environ, kinds=KINDS).lanes


def provider(**table: Any) -> dict[str, Any]:
    return {"providers": {"p": {**GOOGLE, **table}}}


def lane(**table: Any) -> dict[str, Any]:
    return provider(lanes=[{"model": "nano-banana", **table}])


@pytest.mark.parametrize(
    ("tables", "place"),
    [
        ({"gatway": {}}, ""),
        ({"gateway": {"egress": "HK"}}, "gateway"),
        ({"gateway": {"egress_country": "HKG"}}, "gateway.egress_country"),
        ({"gateway": {"deadline": {"3K": 90}}}, "gateway.deadline"),
        ({"gateway": {"deadline": {}}}, "gateway.deadline"),
        ({"gateway": {"deadline": {"1K": 0}}}, "gateway.deadline.1K"),
        ({"gateway": {"deadline": {"1K": "90"}}}, "gateway.deadline.1K"),
        ({"gateway": {"state": "mysql://x"}}, "gateway.state"),
        ({"gateway": {"record_prompts": "yes"}}, "gateway.record_prompts"),
        ({"router": {"sort": "cost"}}, "router.sort"),
        ({"router": {"models": []}}, "router.models"),
        ({"fallback": {"order": ["sideways"]}}, "fallback.order.0"),
        ({"fallback": {"max_attempts": 0}}, "fallback.max_attempts"),
        ({"fallback": {"retry_budget": -1}}, "fallback.retry_budget"),
        ({"fallback": {"retry_budget": "1"}}, "fallback.retry_budget"),
        ({"fallback": {"hedge": 1.5}}, "fallback.hedge"),
        ({"providers": {"a/b": GOOGLE}}, "providers"),
        ({"providers": {"p": {"api_key": "env:X"}}}, "providers.p"),
        (provider(apikey="x"), "providers.p"),
        (provider(api_key=[]), "providers.p.api_key"),
        (provider(api_key=3), "providers.p.api_key"),
        (provider(mode="off"), "providers.p.mode"),
        (provider(preset="openruter"), "providers.p.preset"),
        (provider(timeout=0), "providers.p.timeout"),
        (provider(base_url="ftp://x"), "providers.p.base_url"),
        (provider(headers={"X": 1}), "providers.p.headers.X"),
        (provider(quota={"rpn": 1}), "providers.p.quota"),
        (provider(lanes=[]), "providers.p.lanes"),
        (provider(lanes=[{"class": "premium"}]), "providers.p.lanes.0"),
        (lane(lane_class="premium"), "providers.p.lanes.0"),
        (lane(**{"class": "best"}), "providers.p.lanes.0.class"),
        (lane(sizes=["3K"]), "providers.p.lanes.0.sizes.0"),
        (lane(price={"1K": 0}), "providers.p.lanes.0.price.1K"),
        (lane(price={"1k": 1001}), "providers.p.lanes.0.price.1k"),
        (lane(retired="soon"), "providers.p.lanes.0.retired"),
        (lane(thinking_levels=["much"]), "providers.p.lanes.0.thinking_levels.0"),
        (lane(quota={"rpm": 0}), "providers.p.lanes.0.quota.rpm"),
        (lane(token_prices={"output": 1}), "providers.p.lanes.0.token_prices"),
    ],
)
def test_what_it_refuses_at_a_place_the_loader_refuses_too(tables: dict[str, Any], place: str) -> None:
    assert mistakes(tables) == [place]
    with pytest.raises(ConfigError):
        load({"providers": {"q": GOOGLE}, **tables}, ENVIRON, kinds=KINDS)


@pytest.mark.parametrize(("name", "table"), [("ProviderTable", ProviderTable), ("LaneTable", LaneTable)])
def test_every_key_is_described_for_editors_to_show(name: str, table: Any) -> None:
    keys = schema.schema()["definitions"][name]["properties"]
    assert set(keys) == {field.alias or key for key, field in table.model_fields.items()}
    assert [key for key, told in keys.items() if not told.get("description", "").endswith(".")] == []


def test_it_knows_neither_null_nor_numbers_as_texts() -> None:
    assert "null" not in schema.text()
    assert schema.schema()["definitions"]["FallbackTable"]["properties"]["retry_budget"]["default"] == 1.0
