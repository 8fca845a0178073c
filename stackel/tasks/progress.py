"""Progress lines for what takes a while, in the terminal (on stderr) or a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


class Line:
    """A line in progress: called with an iteration and what it reports.

    Args:
        bar: where it is drawn.
        task: which of its lines.
        iterations, time_limit: what its bar is a share of, if there is one: a number, or [s].
    """

    def __init__(
        self, bar: Progress, task: TaskID, iterations: int | None, time_limit: float | None
    ) -> None:
        self.bar, self.task = bar, task
        self.iterations, self.time_limit = iterations, time_limit

    def __call__(self, iteration: int, row: Mapping[str, Any]) -> None:
        """Show an iteration.

        Args:
            iteration: its number.
            row: its row of the history.
        """
        numbers = [
            f"{k} {v:.3g}" for k, v in row.items() if k != "seconds" and isinstance(v, (int, float))
        ]
        text = " ".join([f"iteration {iteration}", *numbers[:3]])
        done = iteration if self.iterations else row["seconds"] if self.time_limit else None
        self.bar.update(self.task, completed=done, row=text)

    def proving(self, boxes: int, player: str) -> None:
        """Show how far a proof is.

        Args:
            boxes: how many it has looked at.
            player: whose gain it is about.
        """
        spent = (
            self.bar.tasks[self.task].elapsed if self.time_limit and not self.iterations else None
        )
        self.bar.update(self.task, completed=spent, row=f"proof: {boxes:,} boxes, {player}")


def _shown(*columns: ProgressColumn) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    return Progress(
        *columns,
        console=Console(stderr=True),  # stdout may be read by another program,
        redirect_stdout=sys.stdout.isatty(),  # and so may what a callback prints there
        transient=True,
    )


@contextmanager
def counted(title: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """A bar of things done, with the time left.

    Args:
        title: what they are.
        total: how many there will be.
        done: how many are there already.

    Yields:
        a callback that advances it: by how many further things are done, how many of them failed.
    """
    from rich import progress as rich

    with _shown(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[failures]}"),
        rich.TimeElapsedColumn(),
        rich.TextColumn("left"),
        rich.TimeRemainingColumn(),
    ) as bar:
        task = bar.add_task(title, total=total, completed=done, failures="")
        failed = 0

        def report(more: int, failures: int = 0) -> None:
            nonlocal failed
            failed += failures
            bar.update(task, advance=more, failures=f"{failed} failed" if failed else "")

        yield report


@contextmanager
def progress(
    title: str, time_limit: float | None = None, iterations: int | None = None
) -> Iterator[Line]:
    """A line with the iteration, what it reports, and the time.

    Args:
        title: what is being solved.
        time_limit: seconds at most, which a bar then shows the share of;
        iterations: how many there will be, if that is known: the bar shows these instead, and the
            time left.

    Yields:
        what shows an iteration, or how far a proof is.
    """
    from rich import progress as rich
    from rich.table import Column

    columns = [
        rich.SpinnerColumn(),
        rich.TextColumn("{task.description}", markup=False),
        rich.TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
        rich.TextColumn("{task.fields[row]}", markup=False),
    ]
    if iterations is not None:
        columns.insert(3, rich.TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)))
        columns.insert(3, rich.TextColumn("left"))
    if iterations is not None or time_limit is not None:
        columns.insert(2, rich.BarColumn(10, table_column=Column(min_width=10)))
    with _shown(*columns) as bar:
        task = bar.add_task(title, total=iterations or time_limit, row="")
        yield Line(bar, task, iterations, time_limit)
