"""The ``stackel`` command. Results go to stdout, messages and progress to stderr.

Exit codes:
  0  an equilibrium within tolerance, or the command did what was asked
  1  an unexpected failure
  2  bad usage, a bad market or a bad option
  3  an answer that is not an equilibrium within tolerance (refuted, a cycle, failed)
  4  the backend refuses the game
  5  stopped by the time limit or by Ctrl-C without an equilibrium
  6  the point could not be judged
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from stackel.cli.certify import certify
from stackel.cli.compare import compare
from stackel.cli.markets import backends, presets, show
from stackel.cli.reproduce import reproduce
from stackel.cli.solve import solve
from stackel.cli.sweep import sweep
from stackel.version import __version__

CODES = "\b\n" + (__doc__ or "").partition("\n\n")[2].rstrip()  # \b: keep the lines as they are

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: quick, and the same in every version of typer
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


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
      stackel certify eq.json                   measure a kept answer, or a point, anew
      stackel show eq.json --plot eq.png        look at a kept answer again
      stackel sweep sweep.toml --out sweep.nc   solve a market at every point of a grid
    """


for command in (solve, certify, compare, backends, show, presets, sweep, reproduce):
    app.command(epilog=CODES)(command)
