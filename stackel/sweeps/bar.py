"""The progress bar of a sweep, in the terminal (on stderr) or a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stackel.sweeps.cells import Outcome


@contextmanager
def bar(cells: int, done: int) -> Iterator[Callable[[list[Outcome]], None]]:
    """A callback that takes the outcomes of further cells; ``done`` are there already."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    with Progress(
        *columns,
        console=Console(stderr=True),
        redirect_stdout=sys.stdout.isatty(),
        transient=True,
    ) as shown:
        task = shown.add_task("cells", total=cells, completed=done, failed="")
        failed = 0

        def report(outcomes: list[Outcome]) -> None:
            nonlocal failed
            failed += sum(o.failed for o in outcomes)
            text = f"{failed} failed" if failed else ""
            shown.update(task, advance=len(outcomes), failed=text)

        yield report
