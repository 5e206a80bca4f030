"""One case: a request, the answer it got, and what has to come of it. The cases stand in ``cases/*.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from providers.images import ReferenceImage
from providers.request import UpstreamRequest
from tests.corpus.samples import expanded, media_type, sample
from tests.corpus.server import Answer

FOLDER: Final = Path(__file__).with_name("cases")

_MODELS: Final = {
    "google": "gemini-3-pro-image", "vertex": "gemini-3-pro-image", "imagen": "imagen-4.0-generate-001",
    "images": "gpt-image-2", "chat": "google/gemini-3-pro-image", "new-api": "gemini-3-pro-image-preview",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What must have gone out: *json* is a part of the body, *absent* top-level keys it must not have, *fields* are the
    names of multipart fields in order. A header that is empty here must not be there."""

    method: str = "POST"
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: str = ""
    absent: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row of the corpus; a file's keys outside its cases are the defaults of those.

    *section* is that of the survey of dialects. *kind* is a provider's kind, or ``imagen``; *dialect* goes with
    ``openai``. *images* names the samples that must come back, in order. *usage*, *cost*, *text* and *retry_after* are
    compared where they are given, *retry_after* 0, *cost* ``"none"`` and a *usage* of -1 meaning None. *detail* must be
    part of the detail in any case of letters, *hidden* must not.
    """

    name: str
    section: str
    kind: str = "google"
    dialect: str = ""
    auth: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    framing: str = "length"
    outcome: str = "ok"
    billed: str = "yes"
    images: tuple[str, ...] = ()
    text: str | None = None
    retry_after: float | None = None
    cost: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    detail: str = ""
    hidden: tuple[str, ...] = ()
    sent: Sent | None = None

    @property
    def wire(self) -> str:
        """What tells the adapters and their ways to ask apart."""
        return self.dialect or self.kind

    def answer(self, host: str) -> Answer:
        """What the upstream says."""
        return Answer(self.status, self.headers, expanded(self.body, host).encode(), self.framing)

    def upstream_request(self) -> UpstreamRequest:
        """What the adapter is asked."""
        given = dict(self.request)
        references = tuple(ReferenceImage(sample(name), media_type(name)) for name in given.pop("images", ()))
        model = given.pop("model", _MODELS[self.wire])
        return UpstreamRequest(model=model, prompt=given.pop("prompt", "a cat"), images=references, **given)


def cases() -> Iterator[Case]:
    """Every case of every file."""
    for path in sorted(FOLDER.glob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        rows = table.pop("case")
        for row in rows:
            yield _case({**table, **row})


def _case(row: dict[str, Any]) -> Case:
    unknown = row.keys() - {each.name for each in fields(Case)}
    assert not unknown, f"{row.get('name')}: {unknown}"
    for name in ("images", "hidden"):
        row[name] = tuple(row.get(name, ()))
    if "sent" in row:
        sent = row["sent"]
        listed = {name: tuple(sent[name]) for name in ("absent", "fields") if name in sent}
        row["sent"] = Sent(**{**sent, **listed})
    return Case(**row)
