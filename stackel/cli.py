"""The ``stackel`` command. Results go to stdout, messages and progress to stderr.

Exit codes:
  0  an equilibrium within tolerance, or the command did what was asked
  1  an unexpected failure
  2  bad usage, a bad market or a bad option
  3  an answer that is not an equilibrium within tolerance (refuted, a cycle, failed)
  4  the backend refuses the game
  5  stopped by the time limit or by Ctrl-C without an equilibrium
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from stackel import catalogue, console, reproduce_command, sweep_command
from stackel.api import backends as backends_of
from stackel.api import solve as solve_game
from stackel.comparison import compare as compare_backends
from stackel.equilibrium import Equilibrium
from stackel.errors import GameError, NotConverged, OptionError, StackelError
from stackel.market_file import SOLVE, MarketFile, read_market, required
from stackel.run import Status
from stackel.version import __version__

CODES = "\b\n" + (__doc__ or "").partition("\n\n")[2].rstrip()  # \b: keep the lines as they are

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: quick, and the same in every version of typer
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Market = Annotated[
    str, typer.Argument(metavar="FILE|PRESET", help="A market file (TOML) or a preset's name.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Plot = Annotated[
    Path | None, typer.Option(metavar="PNG", help="Draw the answer (.png, .pdf or .svg).")
]


def main() -> None:
    """Run the command."""
    sys.path.append(str(Path.cwd()))  # for market = "module:Class" beside the user
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # an old code page must not cost the answer
    app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stackel {__version__}")
        raise typer.Exit


@app.callback(epilog=CODES)
def stackel(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Solve multi-leader multi-follower Stackelberg games, and certify the answers.

    \b
    Examples:
      stackel presets                           what there is to try
      stackel solve fig3                        solve a preset
      stackel solve market.toml --save eq.json  solve a market file, keep the answer
      stackel backends market.toml              which methods can solve it
      stackel show eq.json --plot eq.png        look at a kept answer again
      stackel sweep sweep.toml --out sweep.nc   solve a market at every point of a grid
    """


@app.command(epilog=CODES)
def solve(
    market: Market,
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", help="A backend's name, or auto (default).")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="KEY=VALUE",
            help="An option of the backend; may be repeated. Values are Python's (5, 1e-6, True, "
            "None), anything else is text.",
        ),
    ] = None,
    anticipation: Annotated[
        str | None,
        typer.Option(
            help="What a deviating leader foresees: equilibrium (default), own_response or none."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the random numbers.")] = None,
    time_limit: Annotated[
        float | None, typer.Option(metavar="S", help="Stop after so many seconds.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Relative gap and violation that still count as none.")
    ] = None,
    as_json: Json = False,
    save: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Keep the answer in a JSON file.")
    ] = None,
    plot: Plot = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no tables and no progress.")
    ] = False,
) -> None:
    """Find an equilibrium of a market and say what it is worth.

    Ctrl-C stops the search, keeps the best point so far and prints it.

    Options given here win over those in the market file's [solve]; with another --backend than
    the file's, the options of the file's backend are left out.

    --json prints what --save writes, and "summary": verdict, actions and payoffs as plain numbers.

    \b
    Examples:
      stackel solve fig3 --backend newton
      stackel solve market.toml -b admm -o penalty=5 --time-limit 60
      stackel solve market.toml --json | jq .summary.leader_payoffs
    """
    with console.reported():
        console.check_output(save, ".json")
        console.check_output(plot, *console.PICTURES)
        read = _market(market)
        given = {
            "backend": backend,
            "anticipation": anticipation,
            "seed": seed,
            "time_limit": time_limit,
            "tolerance": tolerance,
        }
        options = _merged(read, {k: v for k, v in given.items() if v is not None})
        options |= dict(map(console.key_value, option or ()))
        why = ""
        try:
            eq = solve_game(read.game, progress=sys.stderr.isatty() and not quiet, **options)
        except NotConverged as error:
            eq, why = error.result, error.why
        if as_json:
            _print_json(eq)
        elif not quiet:
            from stackel import tables

            console.show(tables.answer(eq, *console.space()))
        if save is not None:
            eq.save(save)
        _draw(eq, plot)
        if why:
            console.complain(why)
            raise typer.Exit(_code(eq))


@app.command(epilog=CODES)
def compare(
    market: Market,
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", "-b", help="A backend, repeatable; default all that accept."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the random numbers.")] = None,
    time_limit: Annotated[
        float | None, typer.Option(metavar="S", help="Stop each after so many seconds.")
    ] = None,
    as_json: Json = False,
    save: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Keep everything in a JSON file.")
    ] = None,
    plot: Plot = None,
) -> None:
    """Solve a market by several backends and say whether they agree.

    The exit code is 0 if every answer is the same equilibrium, 3 if not.

    \b
    Examples:
      stackel compare fig3
      stackel compare market.toml -b newton -b admm --plot comparison.png
    """
    with console.reported():
        console.check_output(save, ".json")
        console.check_output(plot, *console.PICTURES)
        common: dict[str, Any] = {"seed": seed, "time_limit": time_limit}
        found = compare_backends(
            _market(market).game,
            backend or None,
            progress=sys.stderr.isatty(),
            **{k: v for k, v in common.items() if v is not None},
        )
        if as_json:
            typer.echo(json.dumps(found.to_dict(), allow_nan=False))
        else:
            from stackel import tables

            console.show(tables.comparison(found))
        if save is not None:
            found.save(save)
        if plot is not None:
            found.plot().savefig(plot)
        if len(found.groups) != 1 or len(found.holding) != len(found.answers):
            raise typer.Exit(console.Code.NOT_EQUILIBRIUM)


@app.command(epilog=CODES)
def backends(market: Market, as_json: Json = False) -> None:
    """Say which backends can solve a market, which cannot and why.

    \b
    Examples:
      stackel backends fig3-delay
      stackel backends market.toml --json
    """
    with console.reported():
        game = _market(market).game
        frame = backends_of(game)
        if as_json:
            rows = frame.reset_index().to_dict(orient="records")
            typer.echo(json.dumps({"game": str(game), "backends": rows}))
        else:
            from stackel import tables

            console.show(tables.backends(str(game), frame))


@app.command(epilog=CODES)
def show(
    saved: Annotated[Path, typer.Argument(metavar="SAVED", help="What solve --save wrote.")],
    as_json: Json = False,
    plot: Plot = None,
    history: Annotated[
        bool, typer.Option("--history", help="Show every iteration in place of the answer.")
    ] = False,
) -> None:
    """Show a kept answer again.

    \b
    Examples:
      stackel show eq.json
      stackel show eq.json --history
      stackel show eq.json --plot eq.png
    """
    with console.reported():
        console.check_output(plot, *console.PICTURES)
        if not saved.is_file():
            raise GameError(f"there is no file {saved}; expected what stackel solve --save wrote")
        eq = Equilibrium.load(saved)
        if as_json:
            _print_json(eq)
        else:
            from stackel import tables

            table = tables.history if history else tables.answer
            console.show(table(eq, *console.space()))
        _draw(eq, plot)


@app.command(epilog=CODES)
def presets() -> None:
    """List the presets that solve and backends take, and the markets that files name."""
    with console.reported():
        from stackel import tables

        games = [
            (name, str(catalogue.preset(name)), preset.about)
            for name, preset in catalogue.PRESETS.items()
        ]
        kinds = []
        for name in catalogue.markets():
            try:
                kind = catalogue.market(name)
            except StackelError as error:  # another package's must not hide the rest
                kinds.append((name, "", str(error)))
                continue
            about = inspect.getdoc(sys.modules[kind.__module__]) or inspect.getdoc(kind) or ""
            kinds.append((name, ", ".join(required(kind)), about.partition("\n")[0]))
        console.show(
            tables.listing("Presets", ("preset", "market", "about"), games),
            "",
            tables.listing("Markets", ("market", "data it needs", "about"), kinds),
        )


app.command(epilog=CODES)(sweep_command.sweep)
app.command(epilog=CODES)(reproduce_command.reproduce)


def _code(eq: Equilibrium) -> console.Code:
    stopped = eq.status in (Status.TIME_LIMIT, Status.INTERRUPTED)
    return console.Code.STOPPED if stopped else console.Code.NOT_EQUILIBRIUM


def _market(name: str) -> MarketFile:
    """A market file, or a preset."""
    path = Path(name)
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return read_market(path)
    try:
        return MarketFile(catalogue.preset(name))
    except OptionError as error:
        raise OptionError(f"{error}; nor is there a file {name}") from None


def _merged(read: MarketFile, given: dict[str, Any]) -> dict[str, Any]:
    """The file's options under those of the command line."""
    options = read.solve_options
    if given.get("backend", options.get("backend")) != options.get("backend"):
        options = {k: v for k, v in options.items() if k in SOLVE}
    return options | given


def _draw(eq: Equilibrium, path: Path | None) -> None:
    if path is not None:
        eq.plot().savefig(path)


def _print_json(eq: Equilibrium) -> None:
    """What :meth:`Equilibrium.save` writes, and a summary in plain numbers."""
    from stackel import serialize, tables

    whole = {"summary": tables.summary(eq), **serialize.document(eq)}
    typer.echo(json.dumps(whole, allow_nan=False))
