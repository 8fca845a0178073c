"""What a treatment of complementarity is, and those that exist: every file of this folder.

A mode adds constraints or a term of the objective to a Pyomo block, with one parameter ("knob")
that is driven towards exactness over a schedule of solves. The knob is a fixed variable, so that
the model is written once.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from stackel.errors import unknown
from stackel.solvers.mpec.model import Pair


class Mode(ABC):
    """One treatment of complementarity pairs.

    Attributes:
        name: what users call it.
    """

    name: ClassVar[str]

    @abstractmethod
    def write(self, block: Any, pairs: Sequence[Pair]) -> Any:
        """Add the treatment to a Pyomo block.

        Args:
            block: has the variable ``knob``.
            pairs: what is to be complementary.

        Returns:
            what to add to an objective that is minimised (0 for nothing); it must vanish where
            the knob is 0.
        """

    @abstractmethod
    def schedule(self, tolerance: float) -> list[float]:
        """Values of the knob, one solve each.

        Args:
            tolerance: about what the products a b are after the last.
        """


def attach(mode: Mode, model: Any, pairs: Sequence[Pair]) -> Any:
    """Add the mode to the model as the block ``model.complementarity``.

    Args:
        mode: how the pairs are treated.
        model: a Pyomo model that has their variables.
        pairs: what is to be complementary.

    Returns:
        what to add to the objective.
    """
    import pyomo.environ as pyo

    model.complementarity = pyo.Block()
    model.complementarity.knob = pyo.Var(initialize=1.0)
    model.complementarity.knob.fix()
    return mode.write(model.complementarity, pairs)


def geometric(first: float, last: float, steps: int) -> list[float]:
    """From first to last by a constant factor.

    Args:
        first, last: positive numbers.
        steps: how many numbers, these two among them; at least 2.
    """
    return [first * (last / first) ** (k / (steps - 1)) for k in range(steps)]


@cache
def _known() -> dict[str, type[Mode]]:
    found: dict[str, type[Mode]] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        loaded = importlib.import_module(f"{__package__}.{module.name}")
        for kind in vars(loaded).values():
            if isinstance(kind, type) and issubclass(kind, Mode) and kind is not Mode:
                found[kind.name] = kind
    return found


def names() -> list[str]:
    """All modes."""
    return sorted(_known())


def find(name: str) -> Mode:
    """The mode of that name.

    Raises:
        OptionError: there is none.
    """  # noqa: DOC501 - unknown() makes an OptionError
    if name not in _known():
        raise unknown("mode", name, names())
    return _known()[name]()
