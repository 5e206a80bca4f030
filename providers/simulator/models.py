"""What the simulated vendors sell: models, their sizes, prices and tokens. One row for each model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from providers.sizes import Size

Method = Literal["generateContent", "predict", "images"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model. *prices* are USD per image by size, *tokens* the output tokens of one image by size.

    *method* is how its vendor's own wire is asked. *explicit_size* says whether a request may name a size, *references*
    how many input images it may carry, *reference_tokens* what each of them costs in tokens.
    """

    id: str
    prices: Mapping[Size, Decimal]
    tokens: Mapping[Size, int] = field(default_factory=dict)
    mime_type: str = "image/jpeg"
    method: Method = "generateContent"
    explicit_size: bool = True
    references: int = 14
    reference_tokens: int = 1120
    tall_ratios: bool = False

    @property
    def native(self) -> bool:
        """Whether Google's own wire serves it."""
        return self.method != "images"


def _usd(**prices: str) -> dict[Size, Decimal]:
    """Prices by size; keyword names cannot start with a digit, hence ``x1K``."""
    names: dict[str, Size] = {"x512": "512", "x1K": "1K", "x2K": "2K", "x4K": "4K"}
    return {names[name]: Decimal(price) for name, price in prices.items()}


# Gemini and Imagen: Google's price list and model guides of 2026-03 to 2026-07. MIME types as measured: the Gemini 3
# family answers JPEG, 2.5 and Imagen PNG. gpt-image-2 is sold by tokens; its prices per image here are stand-ins.
MODELS: Final = (
    Model(
        id="gemini-3.1-flash-image",
        prices=_usd(x512="0.045", x1K="0.067", x2K="0.101", x4K="0.151"),
        tokens={"512": 747, "1K": 1120, "2K": 1680, "4K": 2520},
        tall_ratios=True,
    ),
    Model(
        id="gemini-3-pro-image",
        prices=_usd(x1K="0.134", x2K="0.134", x4K="0.24"),
        tokens={"1K": 1120, "2K": 1120, "4K": 2000},
        reference_tokens=560,
    ),
    Model(id="gemini-3.1-flash-lite-image", prices=_usd(x1K="0.0336"), tokens={"1K": 1120}),
    Model(
        id="gemini-2.5-flash-image",
        prices=_usd(x1K="0.039"),
        tokens={"1K": 1290},
        mime_type="image/png",
        explicit_size=False,
        references=3,
        reference_tokens=258,
    ),
    Model(id="imagen-4.0-fast-generate-001", prices=_usd(x1K="0.02"), mime_type="image/png", method="predict"),
    Model(id="imagen-4.0-generate-001", prices=_usd(x1K="0.04", x2K="0.04"), mime_type="image/png", method="predict"),
    Model(
        id="imagen-4.0-ultra-generate-001",
        prices=_usd(x1K="0.06", x2K="0.06"),
        mime_type="image/png",
        method="predict",
    ),
    Model(
        id="gpt-image-2",
        prices=_usd(x512="0.03", x1K="0.05", x2K="0.10", x4K="0.20"),
        tokens={"512": 1056, "1K": 1760, "2K": 3520, "4K": 7040},
        mime_type="image/png",
        method="images",
        references=16,
    ),
)


def canonical(model_id: str) -> str:
    """*model_id* without the dressings of relays: ``models/``, a vendor's prefix, ``-preview``."""
    return model_id.rpartition("/")[2].removesuffix("-preview")


def find(model_id: str) -> Model | None:
    """The model that *model_id* means, or None."""
    return next((model for model in MODELS if model.id == canonical(model_id)), None)
