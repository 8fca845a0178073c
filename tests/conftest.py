"""Shared by all tests."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

# Small matrices and busy machines: a second BLAS thread only waits. Set before NumPy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tests share their problems: `from problems import PROBLEMS`.
sys.path.insert(0, str(Path(__file__).parent))

# A shell starts background jobs with Ctrl-C ignored, and children inherit that; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
