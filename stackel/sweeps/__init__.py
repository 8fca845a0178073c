"""A market solved at every point of a grid, in batches, processes or on a cluster."""

from stackel.sweeps.saved import load, save, table
from stackel.sweeps.sweep import SweepInterrupted, sweep

__all__ = ["SweepInterrupted", "load", "save", "sweep", "table"]
