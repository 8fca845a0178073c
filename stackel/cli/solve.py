"""The command ``stackel solve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stackel.cli import console
from stackel.cli.console import Anticipating, Json, Market, Plot, Quiet, Seed, Tolerance
from stackel.files.options import merged
from stackel.results.equilibrium import NotConverged
from stackel.tasks.solve import solve as solve_game


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
    anticipation: Anticipating = None,
    seed: Seed = None,
    time_limit: Annotated[
        float | None, typer.Option(metavar="S", help="Stop after so many seconds.")
    ] = None,
    tolerance: Tolerance = None,
    as_json: Json = False,
    save: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Keep the answer in a JSON file.")
    ] = None,
    plot: Plot = None,
    quiet: Quiet = False,
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
        console.check_output(save)
        console.check_output(plot, console.PICTURES)
        read = console.read(market)
        given = {
            "backend": backend,
            "anticipation": anticipation,
            "seed": seed,
            "time_limit": time_limit,
            "tolerance": tolerance,
        }
        options = merged(read.solve_options, given)
        options |= dict(map(console.key_value, option or ()))
        why = ""
        try:
            eq = solve_game(read.game, progress=console.watched() and not quiet, **options)
        except NotConverged as error:
            eq, why = error.result, error.why
        if as_json:
            console.print_json(eq)
        elif not quiet:
            console.show(eq)
        if save is not None:
            eq.save(save)
        console.draw(eq, plot)
        if why:
            console.complain(why)
            raise typer.Exit(console.code(eq))
