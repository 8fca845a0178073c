"""Learning backends: an environment and one algorithm a file.

Names that need an optional package are loaded when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stackel.learners.backends import MALPPO
from stackel.learners.evaluation import Evaluation, evaluate
from stackel.learners.players import BestReply, Fixed, best_replies
from stackel.plugins import missing_packages

if TYPE_CHECKING:
    from stackel.learners.environment import MarketEnv, ParallelMarketEnv, parallel_env
    from stackel.learners.seat import Seat
    from stackel.learners.seeds import solve_seeds
    from stackel.learners.trained import load_policies

_LATER = {
    "MarketEnv": ("environment", "gymnasium", "pettingzoo"),
    "ParallelMarketEnv": ("environment", "gymnasium", "pettingzoo"),
    "Seat": ("seat", "gymnasium"),
    "load_policies": ("trained", "torch"),
    "parallel_env": ("environment", "gymnasium", "pettingzoo"),
    "solve_seeds": ("seeds", "torch"),
}
"""Name to its module here and the packages that it needs."""

__all__ = [
    "MALPPO",
    "BestReply",
    "Evaluation",
    "Fixed",
    "MarketEnv",
    "ParallelMarketEnv",
    "Seat",
    "best_replies",
    "evaluate",
    "load_policies",
    "parallel_env",
    "solve_seeds",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, *packages = _LATER[name]
    lacking = missing_packages(dict.fromkeys(packages, "learn"))
    if lacking:
        raise ImportError(f"{__name__}.{name} {'; '.join(lacking)}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
