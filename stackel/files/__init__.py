"""Markets and sweeps as TOML files, their data as CSV files and graphs."""

from stackel.files.market import MarketFile, read_market
from stackel.files.sweep import SweepFile, read_sweep

__all__ = ["MarketFile", "SweepFile", "read_market", "read_sweep"]
