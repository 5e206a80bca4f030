"""What is sent to a Redis server, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

MAX_CONNECTIONS: Final = 32
"""Connections of one process."""

Word = str | int
"""A key or an argument of a script."""


class Script:
    """A Lua script, sent as its hash; where the server does not have it (any more), as a whole."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Letter:
    """A script to be run, with its keys and arguments."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Word] = ()

    @property
    def words(self) -> tuple[Word, ...]:
        """What goes behind the script."""
        return (len(self.keys), *self.keys, *self.arguments)


def client(url: str, timeout: float) -> Any:
    """A client of the server at *url* that gives a command *timeout* seconds, and repeats nothing."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        protocol=2,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    return redis.asyncio.Redis.from_pool(pool)


async def evaluated(client: Any, letter: Letter) -> Any:
    """What the script of *letter* returns."""
    try:
        return await client.evalsha(letter.script.sha, *letter.words)
    except exceptions.NoScriptError:  # the server has been restarted, or its scripts flushed
        return await client.eval(letter.script.text, *letter.words)


async def all_evaluated(client: Any, letters: Sequence[Letter]) -> list[Any]:
    """As :func:`evaluated`, for all *letters* at once; what the server ran already is not run again."""
    async with client.pipeline(transaction=False) as pipeline:
        for letter in letters:
            pipeline.evalsha(letter.script.sha, *letter.words)
        answers = list(await pipeline.execute(raise_on_error=False))
        missing = [place for place, answer in enumerate(answers) if isinstance(answer, exceptions.NoScriptError)]
        for place in missing:
            pipeline.eval(letters[place].script.text, *letters[place].words)
        for place, answer in zip(missing, await pipeline.execute() if missing else (), strict=True):
            answers[place] = answer
    failed = next((answer for answer in answers if isinstance(answer, Exception)), None)
    if failed is not None:
        raise failed
    return answers


async def asked(client: Any, commands: Sequence[Sequence[Word]]) -> list[Any]:
    """What *commands* return, in one round trip."""
    async with client.pipeline(transaction=False) as pipeline:
        for words in commands:
            pipeline.execute_command(*words)
        return list(await pipeline.execute())


def wants_a_password(error: Exception) -> bool:
    """Whether the server says that we have to show a password, or another one."""
    told = str(error)
    return told.startswith(("NOAUTH", "WRONGPASS")) or "unauthenticated" in told  # too long a command before a password
