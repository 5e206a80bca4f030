"""The fields of Google's requests. Names are accepted in camelCase and in snake_case, as the real parser does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from providers.simulator.google_errors import invalid, unknown_field
from providers.simulator.messages import JSON, RequestError

Schema = Mapping[str, Any]
"""Fields by their camelCase names: a nested schema (for a message or a list of them), or None for any value."""


def _any(names: str) -> dict[str, None]:
    return dict.fromkeys(names.split())


_CONTENT: Final[Schema] = {
    "role": None,
    "parts": {
        "inlineData": _any("mimeType data displayName"),
        "fileData": _any("mimeType fileUri displayName"),
        **_any("text thought thoughtSignature functionCall functionResponse mediaResolution videoMetadata"),
    },
}
_IMAGE_CONFIG: Final[Schema] = {
    "imageOutputOptions": _any("mimeType compressionQuality"),
    **_any("aspectRatio imageSize personGeneration prominentPeople"),
}

# The reference of generateContent (v1beta and Vertex), 2026; `responseFormat` since 2026-07.
GENERATE_CONTENT: Final[Schema] = {
    "contents": _CONTENT,
    "systemInstruction": _CONTENT,
    "generationConfig": {
        "imageConfig": _IMAGE_CONFIG,
        "responseFormat": {"image": _any("aspectRatio imageSize mimeType")},
        "thinkingConfig": _any("thinkingLevel thinkingBudget includeThoughts"),
        **_any("responseModalities temperature topP topK seed candidateCount maxOutputTokens stopSequences"),
        **_any("presencePenalty frequencyPenalty responseMimeType responseSchema responseJsonSchema mediaResolution"),
        **_any("responseLogprobs logprobs speechConfig audioTimestamp enableEnhancedCivicAnswers"),
    },
    **_any("model tools toolConfig safetySettings cachedContent labels serviceTier store"),
}

PREDICT: Final[Schema] = {"instances": None, "parameters": None, "labels": None}


def normalise(value: Any, schema: Schema | None, path: str = "") -> Any:
    """*value* with the names of its fields in camelCase.

    Raises:
        RequestError: a field is not in *schema*.
    """
    if schema is None or value is None:
        return value
    if isinstance(value, list):
        return [normalise(item, schema, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        raise RequestError(invalid(f"Invalid value at '{path}'"))
    return _message(value, schema, path)


def _message(value: JSON, schema: Schema, path: str) -> JSON:
    fields: JSON = {}
    for name, item in value.items():
        camel = re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)
        if camel not in schema:
            raise RequestError(unknown_field(name, path))
        fields[camel] = normalise(item, schema[camel], f"{path}.{_snake(camel)}".lstrip("."))
    return fields


def _snake(camel: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), camel)
