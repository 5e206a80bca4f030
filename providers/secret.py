"""Keys that cannot leak by accident."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """A credential. Printing, formatting, logging or pickling one never shows it; only :meth:`reveal` does."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The credential itself: call this where it goes on the wire and nowhere else."""
        return self.__value

    def __repr__(self) -> str:
        return "Secret('…')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.__value

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied: pass the configuration that names it instead")

    def __deepcopy__(self, memo: object) -> Secret:
        return self
