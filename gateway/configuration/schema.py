"""The JSON Schema of ``gateway.toml``, for editors and CI: ``python -m gateway.configuration.schema`` prints it.

It is made of the tables in :mod:`gateway.configuration.settings`. What it accepts may still be refused when it is loaded, by
what no schema can say; what it refuses is refused there too. A copy is in the package, as ``gateway/gateway.schema.json``.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from gateway.configuration.settings import Settings

FILE_NAME: Final = "gateway.schema.json"
"""The copy's name, beside this module."""

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
"""The draft that every editor knows."""


def schema() -> dict[str, Any]:
    """The schema as a document."""
    made = Settings.model_json_schema(ref_template="#/definitions/{model}", schema_generator=_Generator)
    definitions = made.pop("$defs")
    return {"$schema": DRAFT, "title": "image-gateway: gateway.toml", **made, "definitions": definitions}


def text() -> str:
    """The schema as it stands in the package's copy."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


class _Generator(GenerateJsonSchema):
    """Pydantic's, for TOML: there is no null, numbers are numbers, and keys are described where they are defined."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return (
            self.generate_inner(schema["schema"]) if schema.get("default") is None else super().default_schema(schema)
        )

    def encode_default(self, dft: Any) -> Any:
        return float(dft) if isinstance(dft, Decimal) else super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        made.pop("title", None)
        for key, described in _descriptions(schema["cls"]).items():
            made["properties"][key]["description"] = described
        return made


def _descriptions(table: type[BaseModel]) -> Mapping[str, str]:
    """The sentence below each key of *table*, where there is one."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(table))).body
    assert isinstance(definition, ast.ClassDef)
    told: dict[str, str] = {}
    for field, after in pairwise(definition.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(sentence))):
                told[table.model_fields[name].alias or name] = " ".join(sentence.split())
    return told


if __name__ == "__main__":
    sys.stdout.write(text())
