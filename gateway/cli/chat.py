"""``image-gateway chat``: a conversation, line by line, from a terminal or from a file of lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import typer

from gateway.chat.chat import Chat
from gateway.cli import exits, failures, files, json_output, report
from gateway.cli.consoles import stderr, stdout, visible, warn
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened_in_thread
from gateway.cli.options import Common
from gateway.result import ImageResult
from gateway.sync import Gateway
from providers.errors import GatewayError, InvalidRequest

COMMANDS: Final = """\
A line says what to draw, or what to change. With a slash it is a command:
/size 4K    the size from now on      /image FILE  a reference for the next line
/undo       take the last turn back   /branch N    go on from turn N
/save FILE  write the conversation    /quit        end, as Ctrl-D does"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was typed: the conversation's *file*, the folder for images, and the *fields* of a new conversation."""

    file: str | None
    output: str | None
    fields: Mapping[str, Any]


def run(wanted: Wanted, common: Common) -> None:
    """Converse until the lines end. From a terminal an error ends a turn, otherwise it ends the command."""
    interactive = sys.stdin.isatty()
    with reporting(common), opened_in_thread(common) as gateway:
        talk = Talk(chat=_begun(gateway, wanted), wanted=wanted, common=common)
        if interactive:
            stderr().print(COMMANDS)
        for line in _lines(interactive):
            try:
                if not talk.take(line):
                    break
            except GatewayError as error:
                saved = _kept(error, wanted, line)
                if not interactive:
                    exits.fail(error, common, saved)
                failures.show(error, saved)
            except KeyboardInterrupt:
                if not interactive:
                    raise typer.Exit(exits.INTERRUPTED) from None
                warn("interrupted: a call that was already sent may be billed")


@dataclass(slots=True, kw_only=True)
class Talk:
    """The conversation at hand, and what the next lines begin from."""

    chat: Chat
    wanted: Wanted
    common: Common
    fields: dict[str, Any] = field(default_factory=dict)
    images: list[Path] = field(default_factory=list)

    def take(self, line: str) -> bool:
        """Do what *line* says; False if it says that this is the end.

        Raises:
            GatewayError: it failed, and the conversation is as it was.
        """
        command, _, argument = line.partition(" ")
        if command == "/quit":
            return False
        if command.startswith("/"):
            self._obey(command, argument.strip())
        else:
            self._send(line)
        return True

    def _obey(self, command: str, argument: str) -> None:
        if command == "/undo":
            self.chat.undo()
        elif command == "/branch":
            self.chat = self.chat.branch(int(argument) if argument.isdecimal() else 0)
        elif command == "/size":
            self.fields["size"] = argument
        elif command == "/image":
            self.images.append(_file(argument))
        elif command == "/save":
            _save(self.chat, argument)
        else:
            raise InvalidRequest(f"{visible(command)}: there is no such command\n{COMMANDS}")
        self._keep()
        number = len(self.chat)
        stderr().print(f"{number} turn{'s' * (number != 1)}")

    def _send(self, prompt: str) -> None:
        target = files.target(self.wanted.output, prompt)
        with stderr().status("drawing"):
            result = self.chat.send(prompt, images=self.images, **self.fields)
        self.images = []
        _show(result, files.save(result.images, target, warn), self.common)  # first what was paid for
        self._keep()

    def _keep(self) -> None:
        if self.wanted.file is not None:
            _save(self.chat, self.wanted.file)


def _begun(gateway: Gateway, wanted: Wanted) -> Chat:
    if wanted.file is not None and not Path(wanted.file).parent.is_dir():
        raise InvalidRequest(f"file: there is no folder {str(Path(wanted.file).parent)!r}")
    if wanted.file is not None and Path(wanted.file).exists():
        if wanted.fields:
            warn(f"{wanted.file} goes on with its own options; give others before a new conversation")
        return gateway.load_chat(wanted.file)
    return gateway.chat(**wanted.fields)


def _lines(interactive: bool) -> Iterator[str]:
    """What is typed or piped in, without empty lines."""
    source: Iterable[str] = _typed() if interactive else sys.stdin
    yield from filter(None, (line.strip() for line in source))


def _typed() -> Iterator[str]:
    while True:
        stderr().print("> ", end="")
        try:
            yield input()
        except (EOFError, KeyboardInterrupt):
            return


def _file(argument: str) -> Path:
    if not Path(argument).is_file():
        raise InvalidRequest(f"/image: there is no file {visible(argument)!r}")
    return Path(argument)


def _save(chat: Chat, path: str) -> None:
    if not Path(path).name:
        raise InvalidRequest("/save: expected the name of a file, as in /save lighthouse.chat")
    try:
        chat.save(path)
    except OSError as error:
        raise InvalidRequest(f"{visible(path)}: could not be written: {error.strerror}") from None


def _kept(error: GatewayError, wanted: Wanted, prompt: str) -> tuple[str, ...]:
    """The paths at which what was paid for without meeting the request was saved."""
    if not error.images:
        return ()
    return tuple(map(str, files.save(error.images, files.target(wanted.output, prompt).rejected(), warn)))


def _show(result: ImageResult, paths: list[Path], common: Common) -> None:
    if common.as_json:
        json_output.write_line(json_output.result(result, paths))
    else:
        report.show(result, paths, stdout())
