"""How a >= 0, b >= 0, a b = 0 is put to a solver of smooth problems: one file a mode."""

from stackel.solvers.mpec.reformulations.base import Mode, find, names

__all__ = ["Mode", "find", "names"]
