"""A way in which images are asked for and handed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from providers.simulator import interactions
from providers.simulator.effects import Reply
from providers.simulator.flavours import Site
from providers.simulator.jobs import Job
from providers.simulator.messages import Answer, Request
from providers.simulator.studio import DrawnImage

Family = Literal["google", "imagen", "interactions", "chat", "images"]


@dataclass(frozen=True, slots=True)
class Wire:
    """A way to ask for images: *parse* turns a request into a job, *compose* the drawn job into an answer."""

    family: Family
    parse: Callable[[Request, str, Site], Job]
    compose: Callable[[Job, Sequence[DrawnImage], Site], Answer]
    models_list: Callable[[str | None, Site], Answer]

    @property
    def google(self) -> bool:
        """Whether it is one of Google's own."""
        return self.family in ("google", "imagen", "interactions")

    def reply(self, fault: Reply, site: Site) -> Answer:
        """What *fault* comes to on this wire."""
        if self.family == "interactions":
            return interactions.refusal(fault.google)
        if self.google:
            return (fault.imagen if self.family == "imagen" else None) or fault.google
        own = fault.chat if self.family == "chat" else fault.images
        return own or site.flavour.error(fault.google, fault.status or fault.google.status)
