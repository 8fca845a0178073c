"""The command ``stackel reproduce``: the paper's figures, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stackel.cli import console
from stackel.plugins import load

ROOM = "stackel.examples.reproduction"
"""The paper's report knows what its market means: it stands outside the core, loaded by name."""


def reproduce(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where pictures, tables and pages go.")
    ] = Path("reproduction"),
    figure: Annotated[
        list[str] | None,
        typer.Option("--figure", "-f", metavar="NAME", help="fig5, say; repeatable. Default all."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Ten times as many random draws, longer training.")
    ] = False,
    learner: Annotated[
        bool | None,
        typer.Option(
            "--learner/--no-learner",
            help="Train the learners too, and run Fig. 4. By default if torch is installed.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:
    """Redo the paper's figures (3 to 8) and say how close they come.

    Writes report.html, which is self-contained, and report.md; of each figure a picture and a table
    (CSV). Takes some minutes without learners, a quarter of an hour with them; with --full hours.

    \b
    Examples:
      stackel reproduce
      stackel reproduce --figure fig5 --figure fig6 --out runs/figures
      stackel reproduce --no-learner
    """
    with console.reported():
        tiles, run = load(f"{ROOM}.pages:tiles"), load(f"{ROOM}.reproduce:reproduce")
        flags = [f"--figure {name}" for name in figure or ()]
        flags += [name for name, given in (("--full", full), ("--learner", learner)) if given]
        flags += ["--no-learner"] if learner is False else []

        def say(text: str) -> None:
            if not quiet:
                typer.echo(text, err=True)

        command = " ".join(["stackel reproduce", *flags])
        report = run(
            out, full=full, learner=learner, only=figure or None, command=command, progress=say
        )
        if not quiet:
            for value, label in tiles(report):
                typer.echo(f"{value:>12}  {label}")
            typer.echo(f"wrote {out / 'report.html'} and {out / 'report.md'}")
