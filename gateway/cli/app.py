"""The commands and their options. What a command does is imported when it runs, so that ``--help`` is quick."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gateway.cli import batch
from gateway.cli.bulk_options import BulkRows, Run
from gateway.cli.options import IMAGE, Asked, By, Common, Output, Since, StateUrl, Watch, spread
from gateway.cli.simulate_options import Jobs

app = typer.Typer(
    name="image-gateway",
    help="One call for an image, whoever draws it.",
    epilog="Exit status: 0 done, 1 the request failed, 2 usage or configuration, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(batch.app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"image-gateway {version('image-gateway')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """One call for an image, whoever draws it."""


@app.command(epilog="Example: image-gateway demo --out posters")
@spread
def demo(
    output: Output,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FOLDER", help="Where the images go.")] = "demo-output",
) -> None:
    """See the gateway switch and give way, against two simulated upstreams: no keys, no network, no cost."""
    from gateway.cli import demo

    demo.run(out, output)


@app.command(
    epilog="Examples:\n\nimage-gateway generate 'A launch poster that says HELLO' --size 4K --aspect-ratio 16:9\n\n"
    "image-gateway generate 'Make it night' --image day.png -o night --max-cost 0.30\n\n"
    "image-gateway generate - --json < prompt.txt"
)
@spread
def generate(
    asked: Asked,
    common: Common,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to save: a file, its suffix corrected to the real format, or a folder. Without it: a name "
            "made of the prompt, in this folder. Only a file named here in full is ever replaced.",
            rich_help_panel=IMAGE,
        ),
    ] = None,
) -> None:
    """Make an image and save it: route, call, verify, fall back."""
    from gateway.cli import generate

    generate.run(asked, common, output)


@app.command(
    epilog="Examples:\n\nimage-gateway bulk prompts.csv -o out --budget 50\n\n"
    "image-gateway bulk prompts.txt -o out --size 2K --model nano-banana-2 --concurrency 16\n\n"
    "The same command again goes on where it has stopped, and pays for nothing twice."
)
@spread
def bulk(
    rows: BulkRows,
    run: Run,
    common: Common,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="The prompts: .csv with a header, .jsonl, or .txt with one prompt per line."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Where the images go.")],
) -> None:
    """Draw every row of a file: images, a manifest and a contact sheet. Resumable at any moment."""
    from gateway.cli import bulk

    bulk.run(bulk.Wanted(file=file, output=output, defaults=asdict(rows), **asdict(run)), common)


@app.command(
    epilog="Examples:\n\nimage-gateway chat lighthouse.chat --size 1K\n\n"
    "printf 'A lighthouse\\nMake it night\\n' | image-gateway chat --json"
)
@spread
def chat(
    common: Common,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="Where the conversation is kept; one that is there goes on.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="512|1K|2K|4K", help="How large.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(metavar="W:H", help="Such as 16:9.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="A model's id or alias. Repeatable, in order of preference."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where the images go; without it: here.")
    ] = None,
) -> None:
    """Draw and change an image in a conversation, line by line."""
    from gateway.cli import chat

    options = {"size": size, "aspect_ratio": aspect_ratio, "model": model}
    fields = {name: value for name, value in options.items() if value}
    chat.run(chat.Wanted(file=file, output=output, fields=fields), common)


@app.command(epilog="Example: image-gateway plan 'A poster' --size 4K --model nano-banana-pro --max-cost 0.20")
@spread
def plan(asked: Asked, common: Common) -> None:
    """Show what generate would try, in order, and why the other lanes are left out. Makes no call."""
    from gateway.cli import plan

    plan.run(asked, common)


@app.command(
    epilog="Examples:\n\nimage-gateway lanes\n\nimage-gateway lanes nano-banana-pro\n\nimage-gateway lanes --catalogue"
)
@spread
def lanes(
    common: Common,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A lane, a provider, a model, or with --presets a preset: show all that is known of it.",
        ),
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="Show all that is known of every lane.")] = False,
    catalogue: Annotated[
        bool, typer.Option("--catalogue", help="Show the models the gateway knows; takes no configuration.")
    ] = False,
    presets: Annotated[
        bool, typer.Option("--presets", help="Show the relays the gateway knows; takes no configuration.")
    ] = False,
) -> None:
    """Show the configured lanes: prices, sizes, what is left out today and why; and of single lanes all that is known."""
    from gateway.cli import lanes
    from gateway.cli import presets as known

    shown = lanes.Shown(name=name, details=details)
    if presets:
        known.run(name, common)
    elif catalogue:
        lanes.run_catalogue(shown, common)
    else:
        lanes.run(shown, common)


@app.command(
    epilog="Examples:\n\nimage-gateway doctor -c production.toml --timeout 5\n\nimage-gateway doctor --watch 60"
)
@spread
def doctor(
    common: Common,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="For each provider.")] = 10.0,
    watch: Watch = None,
) -> None:
    """Check the configuration, the keys, the lanes, and whether each provider can be reached. Never makes a paid call."""
    from gateway.cli import doctor

    doctor.run(common, timeout, watch)


@app.command(epilog="Examples:\n\nimage-gateway health --json\n\nimage-gateway health --watch 5")
@spread
def health(common: Common, watch: Watch = None) -> None:
    """Show how every lane is doing. In a process of its own these are the assumptions a gateway starts with."""
    from gateway.cli import health

    health.run(common, watch)


@app.command(
    epilog="Examples:\n\nimage-gateway spend --by day --since 2026-11-01\n\n"
    "image-gateway spend --by tag --plot spend.svg --csv ledger.csv"
)
@spread
def spend(
    common: Common,
    by: Annotated[By, typer.Option(help="What to add up.")] = "lane",
    since: Since = None,
    state: StateUrl = None,
    csv: Annotated[
        str | None, typer.Option("--csv", metavar="FILE", help='Write every single call; "-" for stdout.')
    ] = None,
    plot: Annotated[str | None, typer.Option("--plot", metavar="FILE", help="Draw bars: FILE.svg or FILE.png.")] = None,
) -> None:
    """Show what was spent, from the ledger; --csv and --json for other programs."""
    from gateway.cli import spend

    spend.run(spend.Wanted(by=by, since=since, state=state, csv=csv, plot=plot), common)


@app.command(
    epilog="Examples:\n\nimage-gateway trial prompts.toml --lanes google/nano-banana-pro,relay/nano-banana-pro\n\n"
    "image-gateway trial prompts.toml --lanes google/nano-banana-2,google/nano-banana-pro --budget 5 -o posters"
)
@spread
def trial(
    common: Common,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The prompts, as docs/trial.md shows.")],
    lanes: Annotated[str, typer.Option("--lanes", metavar="A,B", help="The lanes to compare, as PROVIDER/MODEL.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where it is kept; without it: trial- and the title."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="For the images that are drawn now.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The page's port; 0 for any free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    report_only: Annotated[bool, typer.Option("--report-only", help="Draw nothing, judge nothing.")] = False,
) -> None:
    """Have several lanes draw the same prompts, judge the images blind, and see what an accepted one costs."""
    from gateway.cli import trial

    wanted = trial.Wanted(
        file=file, lanes=lanes, folder=output, budget=budget, port=port, browser=browser, report_only=report_only
    )
    trial.run(wanted, common)


@app.command(epilog="Example: image-gateway reconcile invoice.csv --provider google --zone America/Los_Angeles")
@spread
def reconcile(
    common: Common,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The invoice as CSV: an amount, and a date or a model.")],
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Whose invoice it is; without it: all together.")
    ] = None,
    since: Since = None,
    state: StateUrl = None,
    zone: Annotated[str, typer.Option(metavar="ZONE", help="The time zone of the invoice's days.")] = "UTC",
) -> None:
    """Compare a provider's invoice with the ledger, and list what differs (exit status 1 if anything does)."""
    from gateway.cli import reconcile

    wanted = reconcile.Wanted(file=file, provider=provider, since=since, state=state, zone=zone)
    reconcile.run(wanted, common)


@app.command(epilog="Example: image-gateway schema > gateway.schema.json")
@spread
def schema(output: Output) -> None:
    """Print the JSON Schema of gateway.toml, for editors and CI."""
    from gateway.cli import schema

    schema.run(output)


@app.command(
    epilog="Examples:\n\nimage-gateway simulate --port 8765 --fault overloaded@4K\n\n"
    "image-gateway simulate --flavour new-api --fault 'rate_limited*2' --fault slow=3"
)
@spread
def simulate(
    output: Output,
    jobs: Jobs,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any free one.")] = 0,
    flavour: Annotated[str, typer.Option(metavar="NAME", help="How it answers on OpenAI's wires.")] = "openrouter",
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What fails: NAME, NAME=VALUE, NAME@SIZE or @MODEL, NAME*COUNT. Repeatable."),
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="The only key it takes; any if not given.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line for each request.")] = False,
) -> None:
    """Run an image upstream on this machine for your own tests: it speaks the real wires, and fails on command."""
    from gateway.cli import simulate

    wanted = simulate.Wanted(host=host, port=port, flavour=flavour, faults=tuple(fault or ()), key=key, jobs=jobs)
    simulate.run(wanted, output, quiet=quiet)
