"""Markets, sweeps and points as TOML files, their data as CSV files and graphs."""

from stackel.files.market import MarketFile, read_market
from stackel.files.point import PointFile, read_point
from stackel.files.sweep import SweepFile, read_sweep

__all__ = [
    "MarketFile",
    "PointFile",
    "SweepFile",
    "read_market",
    "read_point",
    "read_sweep",
]
