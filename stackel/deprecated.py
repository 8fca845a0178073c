"""Modules' former paths, for one version: they hand on what has moved, and say where it is now."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from stackel.plugins import load

MOVED: Mapping[str, Mapping[str, str]] = {
    "stackel.response": {
        **dict.fromkeys(
            ("Response", "first_guess", "reply", "sensitivity", "settle"), "stackel.followers"
        ),
        **dict.fromkeys(("Anticipation", "check_anticipation"), "stackel.leaders"),
        "middle": "stackel.game",
    },
    "stackel.equilibrium": {"Equilibrium": "stackel.results"},
    "stackel.market_file": dict.fromkeys(("MarketFile", "read_market"), "stackel.files"),
    "stackel.reproduction": dict.fromkeys(
        (
            *("ERRATA", "PRINTED", "TRENDS", "Checked", "Compared", "Erratum", "Printed", "Trend"),
            *("agreement", "answers", "certified", "check", "compared", "expected", "learned"),
            *("marks", "path", "printed", "quantities", "script", "tidy", "trends"),
        ),
        "stackel.examples.reproduction",
    ),
}
"""Former module to its names, each with the module that has it now."""


def register() -> None:
    """Let the former paths be imported."""
    for old in MOVED:
        module = ModuleType(old, f"Former place of {', '.join(sorted(set(MOVED[old].values())))}.")
        module.__spec__ = ModuleSpec(old, None)
        module.__dict__.update(__getattr__=_getter(old), __all__=list(MOVED[old]))
        sys.modules[old] = module
        setattr(sys.modules["stackel"], old.rpartition(".")[2], module)


def _getter(old: str) -> Callable[[str], Any]:
    def get(name: str) -> Any:
        if name not in MOVED[old]:
            raise AttributeError(
                f"module {old!r} has no attribute {name!r}; what it had for users is in "
                f"{', '.join(sorted(set(MOVED[old].values())))}"
            )
        new = MOVED[old][name]
        warnings.warn(
            f"{old}.{name} is now {new}.{name}; the former path goes with the next version",
            DeprecationWarning,
            stacklevel=2,
        )
        return load(f"{new}:{name}")

    return get
