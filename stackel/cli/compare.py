"""The command ``stackel compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from stackel.cli import console
from stackel.cli.console import Json, Market, Plot, Seed
from stackel.tasks.compare import compare as compare_backends


def compare(
    market: Market,
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", "-b", help="A backend, repeatable; default all that accept."),
    ] = None,
    seed: Seed = None,
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
        console.check_output(save)
        console.check_output(plot, console.PICTURES)
        game, progress = console.read(market).game, console.watched()
        found = compare_backends(
            game, backend or None, progress=progress, seed=seed, time_limit=time_limit
        )
        if as_json:
            typer.echo(json.dumps(found.to_dict(), allow_nan=False))
        else:
            console.show(found)
        if save is not None:
            found.save(save)
        console.draw(found, plot)
        if len(found.groups) != 1 or len(found.holding) != len(found.answers):
            raise typer.Exit(console.Code.NOT_EQUILIBRIUM)
