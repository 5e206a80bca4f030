"""`schema`: what editors want to know."""

import json
from importlib.resources import files

from tests.cli.conftest import run, run_json


def test_it_prints_the_schema_that_is_in_the_package_without_any_configuration():
    printed = run("schema").stdout
    assert printed == files("gateway").joinpath("gateway.schema.json").read_text(encoding="utf-8")
    assert json.loads(printed)["properties"].keys() == {
        "gateway", "router", "fallback", "cache", "budgets", "providers",
    }  # fmt: skip
    assert run_json("schema") == json.loads(printed)
