"""What the commands share: exit codes, errors as messages, output that fits where it goes."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from stackel import catalogue
from stackel.cli import tables
from stackel.errors import GameError, OptionError, Refusal, StackelError
from stackel.files.market import MarketFile, read_market
from stackel.results import saved
from stackel.results.comparison import Comparison
from stackel.results.equilibrium import Equilibrium
from stackel.run import Status
from stackel.sweeps.saved import check_ending
from stackel.tables import Shown

PICTURES = (".png", ".pdf", ".svg")

Market = Annotated[
    str, typer.Argument(metavar="FILE|PRESET", help="A market file (TOML) or a preset's name.")
]

Anticipating = Annotated[
    str | None,
    typer.Option(
        "--anticipation",
        help="What a deviating leader foresees: equilibrium (default), own_response or none.",
    ),
]

Tolerance = Annotated[
    float | None, typer.Option(help="Relative gap and violation that still count as none.")
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

Seed = Annotated[int | None, typer.Option(help="Seed of the random numbers.")]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no tables and no progress.")]

Plot = Annotated[
    Path | None, typer.Option(metavar="PNG", help="Draw the answer (.png, .pdf or .svg).")
]


class Code(IntEnum):
    """Exit codes; see :mod:`stackel.cli`."""

    OK = 0
    UNEXPECTED = 1
    BAD = 2
    NOT_EQUILIBRIUM = 3
    REFUSED = 4
    STOPPED = 5
    UNKNOWN = 6


@contextmanager
def reported() -> Iterator[None]:
    """Errors become one message on stderr and an exit code.

    Raises:
        typer.Exit: with the code of whatever went wrong.
        BrokenPipeError: nobody reads any more; typer ends quietly.
    """
    try:
        yield
    except (typer.Exit, BrokenPipeError):  # the latter: the reader has had enough
        raise
    except Refusal as error:
        code, message = Code.REFUSED, str(error)
    except (GameError, OptionError) as error:
        code, message = Code.BAD, str(error)
    except (StackelError, OSError) as error:
        code, message = Code.UNEXPECTED, str(error)
    except KeyboardInterrupt:
        code, message = Code.STOPPED, "interrupted before there was an answer"
    except Exception as error:
        if os.environ.get("STACKEL_TRACEBACK"):
            raise
        where = "set STACKEL_TRACEBACK=1 to see where"
        code, message = Code.UNEXPECTED, f"unexpected {type(error).__name__}: {error} ({where})"
    else:
        return
    complain(message)
    raise typer.Exit(code)


def complain(message: str) -> None:
    """Say on stderr what is wrong."""
    typer.echo(f"stackel: {message}", err=True)


def key_value(text: str) -> tuple[str, Any]:
    """An option's name and its value: Python's if it reads so, else the text.

    Raises:
        OptionError: the text is not ``KEY=VALUE``, or the command sets that option itself.
    """
    key, equals, value = text.partition("=")
    if not (equals and key.isidentifier()):
        raise OptionError(f"--option {text!r}: expected KEY=VALUE, e.g. --option penalty=5")
    if key in ("game", "throw", "progress", "callback"):  # ours to set
        raise OptionError(f"--option {text!r}: {key} cannot be set from the command line")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, {"true": True, "false": False}.get(value, value)


def check_output(path: Path | None, endings: tuple[str, ...] = ()) -> None:
    """Find before a long run what would lose its answer at its end.

    Args:
        path: where the answer goes, if it is kept.
        endings: those that the file may have; none: any.

    Raises:
        OptionError: no file can be written there, or none of that kind.
    """
    if path is None:
        return
    if not path.parent.is_dir():
        raise OptionError(f"{path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise OptionError(f"{path} is a folder; expected a file's name")
    if endings:
        check_ending(path, endings)
    if endings == PICTURES and find_spec("matplotlib") is None:
        raise OptionError('--plot needs the package matplotlib: pip install "stackel[plot]"')


def watched() -> bool:
    """Whether somebody looks at stderr, where progress is shown."""
    return sys.stderr.isatty()


def show(shown: Shown) -> None:
    """Print as much as a person reads on a terminal; everything where no terminal shows it."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(shown)
    else:
        typer.echo(shown.summary(rows=None))


def code(eq: Equilibrium) -> Code:
    """The exit code for a point that is not an equilibrium within tolerance."""
    stopped = eq.status in (Status.TIME_LIMIT, Status.INTERRUPTED)
    if not stopped and eq.certificate is not None and eq.certificate.verdict == "unknown":
        return Code.UNKNOWN
    return Code.STOPPED if stopped else Code.NOT_EQUILIBRIUM


def read(name: str) -> MarketFile:
    """A market file, or a preset.

    Args:
        name: the file's path or the preset's name; what has an ending or a folder is a path.

    Raises:
        GameError: something is wrong with the file.
        OptionError: it is neither.
    """
    path = Path(name)
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return read_market(path)
    try:
        return MarketFile(catalogue.preset(name))
    except OptionError as error:
        raise OptionError(f"{error}; nor is there a file {name}") from None


def draw(answer: Equilibrium | Comparison, path: Path | None) -> None:
    """Draw an answer to a file, if there is one to be.

    Args:
        answer: what is drawn.
        path: the picture.

    Raises:
        ImportError: matplotlib is missing.
    """
    if path is not None:
        answer.plot().savefig(path)


def print_json(eq: Equilibrium, **beside: Any) -> None:
    """Print what :meth:`Equilibrium.save` writes, and a summary in plain numbers.

    Args:
        eq: the answer.
        **beside: what else there is to say, in JSON's words.

    Raises:
        GameError: the file's format has no word for a value of the market.
    """
    whole = {"summary": tables.summary(eq), **beside, **saved.document(eq)}
    typer.echo(json.dumps(whole, allow_nan=False))
