"""A progress line for a running solve, in the terminal (on stderr) or a notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stackel.run import Callback


@contextmanager
def progress(title: str, time_limit: float | None = None) -> Iterator[Callback]:
    """A callback that shows the iteration, what it reports, and the time."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
        TextColumn("{task.fields[row]}", markup=False),
    ]
    if time_limit is not None:
        columns.insert(2, BarColumn(10, table_column=Column(min_width=10)))
    with Progress(
        *columns,
        console=Console(stderr=True),  # stdout may be read by another program,
        redirect_stdout=sys.stdout.isatty(),  # and so may what a callback prints there
        transient=True,
    ) as bar:
        task = bar.add_task(title, total=time_limit, row="")

        def show(iteration: int, row: Mapping[str, Any]) -> None:
            numbers = [
                f"{k} {v:.3g}"
                for k, v in row.items()
                if k != "seconds" and isinstance(v, (int, float))
            ]
            text = " ".join([f"iteration {iteration}", *numbers[:3]])
            bar.update(task, completed=row["seconds"] if time_limit else None, row=text)

        yield show
