"""One request to one upstream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from providers.images import ReferenceImage
from providers.sizes import Size
from providers.turns import Turn

Thinking = Literal["minimal", "low", "medium", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """What an adapter is asked to draw, in the gateway's words.

    The lane has been chosen and everything it cannot do has been taken out: an adapter sends what it finds here.
    *model* is the upstream's own id, *catalogue_model* the canonical one, by which rules are known. *size* is None
    for a model that takes no size, *aspect_ratio* None to leave it to the model. *n* is how many images this one call
    should return. *stream* asks for server-sent events, for relays whose proxies cut off whatever stays silent for
    long. *timeout* is seconds for the whole call. *history* is what was said before, oldest first; a thought signature in
    it is the lane's own and goes back verbatim.
    """

    model: str
    catalogue_model: str = ""
    prompt: str = field(repr=False)
    images: tuple[ReferenceImage, ...] = ()
    history: tuple[Turn, ...] = ()
    size: Size | None = None
    aspect_ratio: str | None = None
    n: int = 1
    system_instruction: str | None = field(default=None, repr=False)
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    thinking: Thinking | None = None
    grounding: bool = False
    output_format: str | None = None
    stream: bool = False
    timeout: float = 180.0
