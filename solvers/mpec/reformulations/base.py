"""What a treatment of complementarity is, and those that exist: every other file of this folder.

A mode is a module. It adds constraints or a term of the objective to a Pyomo block, with one
parameter ("knob") that is driven towards exactness over a schedule of solves. The knob is a fixed
variable, so that the model is written once. What users call the mode is the name of its file, with
hyphens; the list of names imports none of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from stackel.errors import unknown


class Mode(Protocol):
    """One treatment of complementarity pairs."""

    def write(self, block: Any, pairs: Sequence[Any]) -> Any:
        """Add the treatment to a Pyomo block.

        Args:
            block: has the variable ``knob``.
            pairs: what is to be complementary, each a :class:`stackel.solvers.mpec.model.Pair`.

        Returns:
            what to add to an objective that is minimised (0 for nothing); it must vanish where
            the knob is 0.
        """

    def schedule(self, tolerance: float) -> list[float]:
        """Values of the knob, one solve each.

        Args:
            tolerance: about what the products a b are after the last.
        """


def geometric(first: float, last: float, steps: int) -> list[float]:
    """From first to last by a constant factor.

    Args:
        first, last: positive numbers.
        steps: how many numbers, these two among them; at least 2.
    """
    return [first * (last / first) ** (k / (steps - 1)) for k in range(steps)]


def names() -> list[str]:
    """All modes."""
    files = {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])}
    return sorted(name.replace("_", "-") for name in files - {"base"})


def check(name: str) -> None:
    """That there is a mode of that name, without importing it.

    Raises:
        OptionError: there is none.
    """  # noqa: DOC501 - unknown() makes an OptionError
    if name not in names():
        raise unknown("mode", name, names())


def find(name: str) -> Mode:
    """The mode of that name.

    Raises:
        OptionError: there is none.
    """
    check(name)
    found: Any = importlib.import_module(f"{__package__}.{name.replace('-', '_')}")
    return found
