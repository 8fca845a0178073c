"""The command ``stackel sweep``: a market file's sweep, its result in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stackel.cli import console
from stackel.cli.console import Json, Quiet
from stackel.files.market import importing_from
from stackel.files.options import SOLVE, merged
from stackel.files.sweep import SWEEP, read_sweep
from stackel.sweeps.saved import ENDINGS, save, table
from stackel.sweeps.sweep import SweepInterrupted
from stackel.sweeps.sweep import sweep as sweep_games
from stackel.tables import Table

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A market file (TOML) with a table [sweep].")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="Keep the result (.nc, .parquet or .csv)."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", help="A backend's name, or auto.")
    ] = None,
    executor: Annotated[
        str | None, typer.Option(help="Where cells are solved: serial (default), process or ray.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="How many processes; default one for each core.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep every finished cell there; go on where it was."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Solve a market at every point of a grid.

    Options given here win over those in the file's [sweep]. A cell that fails is recorded with its
    error and does not stop the rest; the exit code is then 3. Ctrl-C keeps what is finished.

    \b
    Examples:
      stackel sweep examples/markets/cost_sweep.toml
      stackel sweep costs.toml --executor process --resume runs/costs --out costs.nc
      stackel sweep costs.toml --json | jq '.cells[].welfare'
    """
    with console.reported():
        read = read_sweep(file)
        given = {"backend": backend, "executor": executor, "workers": workers, "resume": resume}
        options = merged(read.options, given, common={*SOLVE, *SWEEP})
        target = out or read.out
        console.check_output(target, ENDINGS)
        progress = console.watched() and not quiet
        stopped = ""
        try:
            with importing_from(read.folder):
                data = sweep_games(read.make_game, read.grid, progress=progress, **options)
        except SweepInterrupted as interruption:
            data, stopped = interruption.result, str(interruption)
        if target is not None:
            save(data, target)
        if as_json:
            typer.echo(json.dumps(_document(data, target), allow_nan=False))
        elif not quiet:
            console.show(Table.of(_title(data, target), "cell", _shown(data)))
        if stopped:
            console.complain(stopped)
            raise typer.Exit(console.Code.STOPPED)
        if data.attrs["failed"]:
            console.complain(_complaint(data))
            raise typer.Exit(console.Code.NOT_EQUILIBRIUM)


def _title(data: xr.Dataset, target: Path | None) -> str:
    count, failed = data.attrs["cells"], data.attrs["failed"]
    ending = f", kept in {target}" if target is not None else ""
    return f"{data.attrs['market']}: {count} cells, {failed} failed{ending}"


def _shown(data: xr.Dataset) -> pd.DataFrame:
    """What fits on a screen: parameters, leaders' actions, welfare and verdict."""
    grid = [str(d) for d in data["welfare"].dims]
    frame = table(data)
    wanted = ("leader_actions", "welfare", "verdict", "status")
    return frame[[c for c in frame.columns if c in grid or c.startswith(wanted)]]


def _document(data: xr.Dataset, target: Path | None) -> dict[str, Any]:
    frame = table(data).astype(object)
    rows = frame.where(frame.notna(), None).to_dict(orient="records")
    return {
        "sweep": dict(data.attrs),
        "dimensions": {str(name): size for name, size in data.sizes.items()},
        "out": None if target is None else str(target),
        "cells": rows,
    }


def _complaint(data: xr.Dataset) -> str:
    errors = [e for e in data["error"].to_numpy().ravel() if e]
    return f"{len(errors)} of {data.attrs['cells']} cells failed; the first: {errors[0]}"
