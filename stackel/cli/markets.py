"""The commands about markets and kept answers: ``backends``, ``show``, ``presets``."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from stackel import catalogue
from stackel.cli import console, tables
from stackel.cli.console import Json, Market, Plot
from stackel.errors import GameError, StackelError
from stackel.files.market import required
from stackel.results.equilibrium import Equilibrium
from stackel.tables import Table
from stackel.tasks.solve import backends as backends_of


def backends(market: Market, as_json: Json = False) -> None:
    """Say which backends can solve a market, which cannot and why.

    \b
    Examples:
      stackel backends fig3-delay
      stackel backends market.toml --json
    """
    with console.reported():
        game = console.read(market).game
        frame = backends_of(game)
        if as_json:
            rows = frame.reset_index().to_dict(orient="records")
            typer.echo(json.dumps({"game": str(game), "backends": rows}))
        else:
            console.show(tables.backends(str(game), frame))


def show(
    saved: Annotated[Path, typer.Argument(metavar="SAVED", help="What solve --save wrote.")],
    as_json: Json = False,
    plot: Plot = None,
    history: Annotated[
        bool, typer.Option("--history", help="Show every iteration in place of the answer.")
    ] = False,
) -> None:
    """Show a kept answer again, as it was saved. Whether its certificate is the point's own,
    stackel certify finds out.

    \b
    Examples:
      stackel show eq.json
      stackel show eq.json --history
      stackel show eq.json --plot eq.png
    """
    with console.reported():
        console.check_output(plot, console.PICTURES)
        if not saved.is_file():
            raise GameError(f"there is no file {saved}; expected what stackel solve --save wrote")
        eq = Equilibrium.load(saved)
        if as_json:
            console.print_json(eq, rechecked=False)
        elif history:
            console.show(tables.history(eq))
        else:
            certify = f"`stackel certify {saved}`"
            note = f"as saved, not re-checked; {certify} re-checks it"
            if eq.certificate is None:
                note = f"none; {certify} makes one"
            console.show(eq)
            typer.echo()
            console.show(Table.statements([("certificate", note)]))
        console.draw(eq, plot)


def presets() -> None:
    """List the presets that solve and backends take, and the markets that files name."""
    with console.reported():
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
        console.show(tables.listing("Presets", ("preset", "market", "about"), games))
        typer.echo()
        console.show(tables.listing("Markets", ("market", "data it needs", "about"), kinds))
