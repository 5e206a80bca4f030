"""A conversation as a value: what each request begins from, and the turns so far. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from gateway.chat.history import History, plain
from gateway.request import ImageRequest
from gateway.result import ImageResult
from providers.errors import InvalidRequest
from providers.images import ReferenceImage
from providers.outcome import Part
from providers.turns import Turn

_OF_ONE_TURN: Final[Mapping[str, str]] = {
    "prompt": "give it to send()",
    "images": "give them to send(); the conversation keeps those of earlier turns",
    "idempotency_key": "give one to each send()",
    "history": "it is the conversation's own; begin from another one with load_chat() or branch()",
}
"""Fields that a conversation has no common value for, with what to do instead."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said in *turns*, oldest first; *defaults* are fields of every request that does not set them itself."""

    defaults: Mapping[str, Any]
    turns: History = ()

    @classmethod
    def begun(cls, fields: Mapping[str, Any]) -> Conversation:
        """An empty one with *fields* as its defaults.

        Raises:
            InvalidRequest: a field is unknown, belongs to a single turn, or its value cannot be meant.
        """
        for name, advice in _OF_ONE_TURN.items():
            if name in fields:
                raise InvalidRequest(f"{name}: {advice}")
        meant = ImageRequest(prompt="-", **fields)
        return cls(MappingProxyType({name: getattr(meant, name) for name in fields}))

    def asking(self, prompt: str, fields: Mapping[str, Any]) -> ImageRequest:
        """The request that goes on from here.

        Raises:
            InvalidRequest: a field is unknown or its value cannot be meant.
        """
        if "history" in fields:
            raise InvalidRequest(f"history: {_OF_ONE_TURN['history']}")
        return ImageRequest(prompt=prompt, **{**self.defaults, **fields, "history": self.turns})

    def answered(self, request: ImageRequest, result: ImageResult) -> Conversation:
        """This one and the turn in which *request*, its references loaded, was answered by *result*. Reads saved images."""
        return replace(self, turns=(*request.history, _turn(request, result)))

    def up_to(self, turn: int) -> Conversation:
        """The first *turn* turns.

        Raises:
            InvalidRequest: there are not so many, or none is asked for.
        """
        if isinstance(turn, bool) or not isinstance(turn, int) or not 1 <= turn <= len(self.turns):
            there = f"a number from 1 to {len(self.turns)}" if self.turns else "a turn, and there is none yet"
            raise InvalidRequest(f"turn: expected {there}")
        return replace(self, turns=self.turns[:turn])

    def undone(self) -> Conversation:
        """All but the last turn.

        Raises:
            InvalidRequest: there is no turn.
        """
        if not self.turns:
            raise InvalidRequest("undo: nothing has been said in this conversation yet")
        return replace(self, turns=self.turns[:-1])


def _turn(request: ImageRequest, result: ImageResult) -> Turn:
    """*request* and its *result* as a turn. Images come into memory: a file may be overwritten by the next turn's."""
    given = tuple(image for image in request.images if isinstance(image, ReferenceImage))
    lanes = {attempt.lane for attempt in result.attempts if attempt.outcome in ("ok", "wrong_size")}
    parts = result.parts or tuple(Part(image=image) for image in result.images)
    several = len(lanes) > 1  # which part is whose cannot be told: the signatures hold nowhere
    answer = tuple(
        Part(text=part.text, image=part.image and plain(part.image), signature=None if several else part.signature)
        for part in parts
    )
    return Turn(prompt=request.prompt, images=given, answer=answer, lane=result.lane)
