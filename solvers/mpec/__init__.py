"""``mpec``: each leader's problem with the followers' conditions as constraints."""

from stackel.solvers.mpec.backend import MPEC, build

__all__ = ["MPEC", "build"]
