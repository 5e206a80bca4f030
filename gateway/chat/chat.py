"""Conversations: :class:`Chat` and :class:`AsyncChat`, what ``gateway.chat()`` and ``gateway.load_chat()`` return."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from gateway import references
from gateway.chat import conversation_file, history
from gateway.chat.conversation import Conversation
from gateway.forking import survives
from gateway.request import ImageRequest
from gateway.result import ImageResult
from providers.errors import AllAttemptsFailed, InvalidRequest
from providers.images import GeneratedImage
from providers.turns import Turn, drawn_last

Generate = Callable[[ImageRequest], Awaitable[ImageResult]]
"""Carries a request out."""
Call = Callable[[Callable[[], Coroutine[Any, Any, ImageResult]]], ImageResult]
"""Waits for what a coroutine function returns."""

UNSIGNED: Final = (
    "the upstream refused the thought signatures of the earlier turns: it was sent these turns without them"
)


class AsyncChat:
    """One conversation. It changes when a turn has succeeded, and not otherwise: a failed ``send`` leaves it as it was.

    Its turns, with their images, are held in memory. One ``send`` at a time; a branch is a conversation of its own.
    """

    def __init__(self, generate: Generate, conversation: Conversation) -> None:
        self._generate = generate
        self._conversation = conversation
        self.after_fork()
        survives(self)

    @classmethod
    def begun(cls, generate: Generate, fields: Mapping[str, Any]) -> AsyncChat:
        """A new one, whose requests *generate* carries out; see :meth:`AsyncGateway.chat`."""
        return cls(generate, Conversation.begun(fields))

    @classmethod
    def loaded(cls, generate: Generate, path: str | os.PathLike[str]) -> AsyncChat:
        """The one that was saved at *path*; see :meth:`AsyncGateway.load_chat`."""
        return cls(generate, conversation_file.load(Path(path)))

    def after_fork(self) -> None:
        """Free the lock."""
        self._busy = threading.Lock()

    async def send(self, prompt: str, **fields: Any) -> ImageResult:
        """Ask for the next image. *fields* are those of :class:`ImageRequest`, for this turn alone; *images* are new ones.

        The conversation stays with its last lane while that can serve, unless ``model`` or ``providers`` say otherwise. When
        the lane changes, the result's ``warnings`` say so, and what the new one was told of the earlier turns.

        Raises:
            InvalidRequest: another ``send`` is under way; or as for :meth:`AsyncGateway.generate`.
            GatewayError: as for :meth:`AsyncGateway.generate`.
        """
        with self._alone():
            request = self._conversation.asking(prompt, fields)
            given = await anyio.to_thread.run_sync(references.load, request.images) if request.images else ()
            request = request.model_copy(update={"images": given})
            request, result = await self._answer(request)
            with anyio.CancelScope(shield=True):  # it has been paid for
                self._conversation = await anyio.to_thread.run_sync(self._conversation.answered, request, result)
            return result

    def branch(self, turn: int) -> AsyncChat:
        """A new conversation that begins with the first *turn* turns of this one, counted from 1.

        Raises:
            InvalidRequest: there is no such turn.
        """
        return AsyncChat(self._generate, self._conversation.up_to(turn))

    def undo(self) -> Turn:
        """Take the last turn back, and return it.

        Raises:
            InvalidRequest: there is none, or a ``send`` is under way.
        """
        with self._alone():
            before, self._conversation = self._conversation, self._conversation.undone()
            return before.turns[-1]

    def save(self, path: str | Path) -> Path:
        """Write the conversation to one file, whole or not at all, for :meth:`AsyncGateway.load_chat`; return its path.

        Raises:
            OSError: the file could not be written.
        """
        return conversation_file.save(self._conversation, Path(path))

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns so far, oldest first."""
        return self._conversation.turns

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The fields that every turn begins from."""
        return self._conversation.defaults

    @property
    def image(self) -> GeneratedImage | None:
        """The image that was drawn last, None before the first."""
        return drawn_last(self.turns)

    def __len__(self) -> int:
        return len(self.turns)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} turns>"

    async def _answer(self, request: ImageRequest) -> tuple[ImageRequest, ImageResult]:
        """The result, and the request that it answers: the one given, or that without thought signatures.

        Where signatures were refused and no other lane delivered, and nothing was charged, it is asked once more.
        """
        try:
            return request, await self._generate(request)
        except (InvalidRequest, AllAttemptsFailed) as error:
            if not history.refused_signatures(error):
                raise
            refused = error.attempts
        without = tuple(history.unsigned(turn) for turn in request.history)
        request = request.model_copy(update={"history": without})
        result = await self._generate(request)
        return request, replace(
            result, attempts=(*refused, *result.attempts), warnings=(UNSIGNED, *result.warnings)
        )  # fmt: skip

    @contextmanager
    def _alone(self) -> Iterator[None]:
        busy = self._busy
        if not busy.acquire(blocking=False):
            raise InvalidRequest("this conversation is waiting for an answer: wait for it, or go on in a branch()")
        try:
            yield
        finally:
            busy.release()


class Chat:
    """:class:`AsyncChat` for code without an event loop."""

    def __init__(self, chat: AsyncChat, call: Call) -> None:
        self._chat = chat
        self._call = call

    def send(self, prompt: str, **fields: Any) -> ImageResult:
        """See :meth:`AsyncChat.send`."""
        return self._call(lambda: self._chat.send(prompt, **fields))

    def branch(self, turn: int) -> Chat:
        """See :meth:`AsyncChat.branch`."""
        return Chat(self._chat.branch(turn), self._call)

    def undo(self) -> Turn:
        """See :meth:`AsyncChat.undo`."""
        return self._chat.undo()

    def save(self, path: str | Path) -> Path:
        """See :meth:`AsyncChat.save`."""
        return self._chat.save(path)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """See :attr:`AsyncChat.turns`."""
        return self._chat.turns

    @property
    def defaults(self) -> Mapping[str, Any]:
        """See :attr:`AsyncChat.defaults`."""
        return self._chat.defaults

    @property
    def image(self) -> GeneratedImage | None:
        """See :attr:`AsyncChat.image`."""
        return self._chat.image

    def __len__(self) -> int:
        return len(self._chat)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return repr(self._chat).replace("AsyncChat", type(self).__name__)
