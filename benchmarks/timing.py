"""Timing of calls that take turns, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import track

console = Console(width=140) if not Console().is_terminal else Console()


def interleaved(calls: Mapping[str, Callable[[], Any]], runs: int) -> dict[str, list[float]]:
    """Seconds of every run of every call; each is called once before, to warm up."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in track(range(runs), "measuring", console=console, transient=True):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def shown(seconds: float) -> str:
    """Seconds with a unit that suits their size."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def median_and_spread(seconds: list[float]) -> tuple[str, str]:
    """The median, and the fastest and the slowest run."""
    return shown(statistics.median(seconds)), f"{shown(min(seconds))} to {shown(max(seconds))}"
