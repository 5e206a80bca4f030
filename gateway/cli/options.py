"""The options that several commands share, each defined once, as dataclasses that :func:`spread` makes options of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, get_type_hints

import typer

IMAGE = "The image"
LANES = "Which lanes, and how to give way"
LIMITS = "Limits"
MODEL = "Sent to the model where it takes them"
COMMON = "Common"

Texts = list[str] | None

Watch = Annotated[
    float | None,
    typer.Option(
        "--watch",
        min=0.1,
        max=86_400,
        metavar="SECONDS",
        help="Look again every so many seconds, until Ctrl-C. SIGHUP reloads the configuration.",
    ),
]
"""``--watch``: seconds between two looks, None for one look."""

By = Literal["lane", "day", "tag", "task"]
"""``--by``: what the ledger is added up by."""
Since = Annotated[
    str | None, typer.Option("--since", metavar="DATE", help="From this day on (UTC), such as 2026-11-01.")
]
"""``--since``: the first day of the ledger to look at."""
StateUrl = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="URL",
        help="The ledger: sqlite:///path or redis://host:port/0. Without it: the configured one, or this user's own.",
    ),
]
"""``--state``: which ledger to look into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How a command reports: for people or, *as_json*, for programs; *verbose* shows the log events as well."""

    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.", rich_help_panel=COMMON)
    ] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the log events on stderr.", rich_help_panel=COMMON)
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Common(Output):
    """What every command takes that works with a configuration; *config* None: the usual places."""

    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="The configuration. Without it: $IMAGE_GATEWAY_CONFIG, ./gateway.toml, or the usual keys in the "
            "environment.",
            rich_help_panel=COMMON,
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it is asked for on the command line."""

    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help='What to draw; "-" reads it from stdin.')]
    size: Annotated[str, typer.Option(metavar="512|1K|2K|4K", help="How large.", rich_help_panel=IMAGE)] = "1K"
    aspect_ratio: Annotated[
        str | None,
        typer.Option(metavar="W:H", help="Such as 16:9; left to the model if not given.", rich_help_panel=IMAGE),
    ] = None
    n: Annotated[
        int, typer.Option("--n", "-n", metavar="COUNT", help="How many images.", rich_help_panel=IMAGE)
    ] = 1  # fmt: skip
    image: Annotated[
        Texts,
        typer.Option(metavar="FILE", help="A reference image to edit or combine. Repeatable.", rich_help_panel=IMAGE),
    ] = None
    min_size: Annotated[
        str | None,
        typer.Option(
            metavar="512|1K|2K|4K",
            help="The smallest size to accept; one step below --size if not given. Equal to --size: no downgrade.",
            rich_help_panel=IMAGE,
        ),
    ] = None
    model: Annotated[
        Texts,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A model's id or alias. Repeatable, in order of preference.",
            rich_help_panel=LANES,
        ),
    ] = None
    quality: Annotated[
        str, typer.Option(metavar="standard|premium|auto", help="The class of models.", rich_help_panel=LANES)
    ] = "standard"
    task: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help='What the image is for, such as "poster".', rich_help_panel=LANES),
    ] = None
    only: Annotated[
        Texts, typer.Option(metavar="PROVIDER", help="Use only this provider. Repeatable.", rich_help_panel=LANES)
    ] = None
    ignore: Annotated[
        Texts, typer.Option(metavar="PROVIDER", help="Do not use this provider. Repeatable.", rich_help_panel=LANES)
    ] = None
    order: Annotated[
        Texts,
        typer.Option(metavar="PROVIDER", help="Try this provider first. Repeatable, in order.", rich_help_panel=LANES),
    ] = None
    sort: Annotated[
        str | None,
        typer.Option(metavar="price|latency|success", help="What the best lane is.", rich_help_panel=LANES),
    ] = None
    fallback: Annotated[
        Texts,
        typer.Option(
            metavar="switch|downgrade|none",
            help="How to give way: to another lane, to a smaller size. Repeatable, in order.",
            rich_help_panel=LANES,
        ),
    ] = None
    residency: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Only lanes that promise to process there, e.g. eu.", rich_help_panel=LANES),
    ] = None
    cache: Annotated[
        bool | None,
        typer.Option(
            "--cache/--no-cache",
            help="Give an image of the same request again, at no cost; as [cache] says if not given.",
            rich_help_panel=LIMITS,
        ),
    ] = None
    max_cost: Annotated[
        float | None,
        typer.Option(metavar="USD", help="For the whole request, failed attempts included.", rich_help_panel=LIMITS),
    ] = None
    deadline: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For the whole request.", rich_help_panel=LIMITS)
    ] = None
    system_instruction: Annotated[str | None, typer.Option(metavar="TEXT", rich_help_panel=MODEL)] = None
    temperature: Annotated[float | None, typer.Option(metavar="0-2", rich_help_panel=MODEL)] = None
    top_p: Annotated[float | None, typer.Option(metavar="0-1", rich_help_panel=MODEL)] = None
    seed: Annotated[int | None, typer.Option(metavar="NUMBER", rich_help_panel=MODEL)] = None
    thinking: Annotated[str | None, typer.Option(metavar="minimal|low|medium|high", rich_help_panel=MODEL)] = None
    grounding: Annotated[bool, typer.Option("--grounding", help="Search the web.", rich_help_panel=MODEL)] = False
    output_format: Annotated[str | None, typer.Option(metavar="png|jpeg|webp", rich_help_panel=MODEL)] = None
    require_parameters: Annotated[
        bool,
        typer.Option(
            "--require-parameters",
            help="Leave out lanes that cannot take all of these, rather than to warn.",
            rich_help_panel=MODEL,
        ),
    ] = False
    tag: Annotated[
        Texts,
        typer.Option(metavar="KEY=VALUE", help="For the logs and the ledger. Repeatable.", rich_help_panel=COMMON),
    ] = None


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """*command* with each parameter that is a dataclass of options replaced by these options."""
    hints = get_type_hints(command, include_extras=True)
    bundles: dict[str, Any] = {name: kind for name, kind in hints.items() if name != "return" and is_dataclass(kind)}

    def spread_out(**given: Any) -> None:
        made = {
            name: kind(**{each.name: given.pop(each.name) for each in fields(kind)}) for name, kind in bundles.items()
        }
        command(**made, **given)

    parameters = list(_spread_parameters(command, hints))
    spread_out.__name__, spread_out.__doc__ = command.__name__, command.__doc__
    spread_out.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    spread_out.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return spread_out


def _spread_parameters(command: Callable[..., None], hints: dict[str, Any]) -> Iterator[inspect.Parameter]:
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(hints[name]):
            yield from _parameters_of(hints[name])
        else:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])


def _parameters_of(kind: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    for each in fields(kind):
        default = inspect.Parameter.empty if each.default is MISSING else each.default
        yield inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[each.name]
        )  # fmt: skip
