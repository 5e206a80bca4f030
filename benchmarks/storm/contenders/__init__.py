"""The contenders, one module each with a class ``Contestant``: set up as their own documentation advises for this job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from benchmarks.storm.pictures import Size


class Contender(Protocol):
    """Something that gets images from the lanes it can speak to, cheapest first, at these addresses."""

    lanes: ClassVar[Sequence[str]]

    def __init__(self, urls: Mapping[str, str]) -> None: ...

    async def draw(self, prompt: str, size: Size) -> tuple[bytes | None, bool]:
        """The image, None if there is none though all seems well; and whether it is said to be smaller than asked."""
        ...

    async def aclose(self) -> None: ...
