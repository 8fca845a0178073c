"""Shared by all tests."""

from __future__ import annotations

import sys
from pathlib import Path

# Tests share their problems: `from problems import PROBLEMS`.
sys.path.insert(0, str(Path(__file__).parent))
