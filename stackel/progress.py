"""A progress line for a running solve, in the terminal (on stderr) or a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stackel.run import Callback


@contextmanager
def counted(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A callback that advances a bar by some of a known number of things, with the time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=sys.stdout.isatty(),
        transient=True,
    ) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.advance(task, done)


@contextmanager
def progress(
    title: str, time_limit: float | None = None, iterations: int | None = None
) -> Iterator[Callback]:
    """A callback that shows the iteration, what it reports, and the time.

    Args:
        title: what is being solved.
        time_limit: seconds at most, which a bar then shows the share of;
        iterations: how many there will be, if that is known: the bar shows these instead, and the
            time left.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
        TextColumn("{task.fields[row]}", markup=False),
    ]
    if iterations is not None:
        columns.insert(3, TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)))
        columns.insert(3, TextColumn("left"))
    if iterations is not None or time_limit is not None:
        columns.insert(2, BarColumn(10, table_column=Column(min_width=10)))
    with Progress(
        *columns,
        console=Console(stderr=True),  # stdout may be read by another program,
        redirect_stdout=sys.stdout.isatty(),  # and so may what a callback prints there
        transient=True,
    ) as bar:
        task = bar.add_task(title, total=iterations or time_limit, row="")

        def show(iteration: int, row: Mapping[str, Any]) -> None:
            numbers = [
                f"{k} {v:.3g}"
                for k, v in row.items()
                if k != "seconds" and isinstance(v, (int, float))
            ]
            text = " ".join([f"iteration {iteration}", *numbers[:3]])
            done = iteration if iterations else row["seconds"] if time_limit else None
            bar.update(task, completed=done, row=text)

        yield show
