"""What the commands share: exit codes, errors as messages, output that fits where it goes."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stackel.errors import GameError, OptionError, Refusal, StackelError

if TYPE_CHECKING:
    from rich.console import RenderableType

ROWS = 24
"""Rows of a table on a terminal; elsewhere all are printed."""

ENDLESS = 10_000
"""Width where nobody looks at the lines' ends."""

PICTURES = (".png", ".pdf", ".svg")


class Code(IntEnum):
    """Exit codes; see :mod:`stackel.cli`."""

    OK = 0
    UNEXPECTED = 1
    BAD = 2
    NOT_EQUILIBRIUM = 3
    REFUSED = 4
    STOPPED = 5


@contextmanager
def reported() -> Iterator[None]:
    """Errors become one message on stderr and an exit code."""
    try:
        yield
    except typer.Exit:
        raise
    except Refusal as error:
        code, message = Code.REFUSED, str(error)
    except (GameError, OptionError) as error:
        code, message = Code.BAD, str(error)
    except StackelError as error:
        code, message = Code.UNEXPECTED, str(error)
    except KeyboardInterrupt:
        code, message = Code.STOPPED, "interrupted before there was an answer"
    except BrokenPipeError:  # the reader has had enough
        raise
    except OSError as error:
        code, message = Code.UNEXPECTED, str(error)
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
    typer.echo(f"stackel: {message}", err=True)


def key_value(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (equals and key.isidentifier()):
        raise OptionError(f"--option {text!r}: expected KEY=VALUE, e.g. --option penalty=5")
    if key in ("game", "throw", "progress", "callback"):  # ours to set
        raise OptionError(f"--option {text!r}: {key} cannot be set from the command line")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, {"true": True, "false": False}.get(value, value)


def check_output(path: Path | None, *endings: str) -> None:
    """What would lose a long run's answer at its end is found before its beginning."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise OptionError(f"{path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise OptionError(f"{path} is a folder; expected a file's name")
    if ".json" not in endings:
        if path.suffix not in endings:
            raise OptionError(
                f"{path} has the ending {path.suffix or 'none'!r}; expected {', '.join(endings)}"
            )
        if find_spec("matplotlib") is None:
            raise OptionError('--plot needs the package matplotlib: pip install "stackel[plot]"')


def space() -> tuple[int, int | None]:
    """Characters in a line and rows of a table; all of both where no terminal shows them."""
    from rich.console import Console

    return (Console().width, ROWS) if sys.stdout.isatty() else (ENDLESS, None)


def show(*tables: RenderableType) -> None:
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(*tables, sep="\n")
        return
    console = Console(highlight=False, width=ENDLESS)
    with console.capture() as captured:
        console.print(*tables, sep="\n")
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
