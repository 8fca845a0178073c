"""This library's version, and those of what its answers rest on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import scipy

try:
    __version__ = version("stackel")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"


def versions() -> dict[str, str]:
    """By name, those of stackel, NumPy, SciPy and Python."""
    return {
        "stackel": __version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
    }
