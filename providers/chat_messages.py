"""The messages of a chat completion: a conversation in the form in which each dialect takes its own answers back.

OpenAI's own wire takes images in a user's message alone; every relay has its own place for those of the assistant.
Thought signatures have no place in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pybase64

from providers.images import GeneratedImage, ReferenceImage
from providers.request import UpstreamRequest
from providers.turns import Turn

Answered = Callable[[Turn], dict[str, Any]]
"""The assistant's message for the answer of a turn."""


def messages(request: UpstreamRequest, answered: Answered) -> list[dict[str, Any]]:
    """The system instruction, the turns so far with their answers as *answered* puts them, and the prompt."""
    system = [{"role": "system", "content": request.system_instruction}] if request.system_instruction else []
    turns = [message for turn in request.history for message in (_asked(turn), answered(turn))]
    return [*system, *turns, _asked(request)]


def in_images(turn: Turn) -> dict[str, Any]:
    """The images in a field of their own, as OpenRouter and LiteLLM give them, and take them back.

    OpenRouter documents it for requests and responses alike (``ChatAssistantMessage.images`` of its API reference);
    LiteLLM reads the same field (``assistant_msg.get("images")`` in its Gemini transformation).
    """
    return {"role": "assistant", "content": turn.words, "images": [_link(image) for image in turn.drawn]}


def in_content(turn: Turn) -> dict[str, Any]:
    """The images among the parts of the content, as the one-api forks give them that read any role's parts alike.

    Laisky's one-api does so in ``relay/adaptor/gemini/main.go``, ``ConvertRequest``.
    """
    return {"role": "assistant", "content": list(_parts(turn))}


def in_markdown(turn: Turn) -> dict[str, Any]:
    """The images as Markdown with data URIs, in the order of the answer, as new-api gives and parses them.

    new-api turns them back into inline data, and signs that with the value that Google documents for such cases
    (``relaykit/relayconvert``, from OpenAI's chat to Gemini's).
    """
    pieces = (part.text or (f"![image]({data_uri(part.image)})" if part.image else "") for part in turn.answer)
    return {"role": "assistant", "content": "\n".join(filter(None, pieces))}


def data_uri(image: ReferenceImage | GeneratedImage) -> str:
    """*image* as a data URI."""
    return f"data:{image.mime_type};base64,{pybase64.b64encode_as_string(image.data)}"


def _asked(said: UpstreamRequest | Turn) -> dict[str, Any]:
    pictures = [_link(image) for image in said.images]
    text = {"type": "text", "text": said.prompt}
    return {"role": "user", "content": [text, *pictures] if pictures else said.prompt}


def _parts(turn: Turn) -> Iterator[dict[str, Any]]:
    for part in turn.answer:
        if part.text:
            yield {"type": "text", "text": part.text}
        if part.image:
            yield _link(part.image)


def _link(image: ReferenceImage | GeneratedImage) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_uri(image)}}
