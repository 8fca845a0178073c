"""Shared by all tests."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

import pytest

# Small matrices and busy machines: a second BLAS thread only waits. Set before NumPy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tests share their problems: `from problems import PROBLEMS`.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _proofs_where_they_are_the_matter(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most tests are about answers: a plain solve in them ends with what the search says. Proofs
    take most of the time of a small market, and are asked for, or marked, where they are tested.
    """
    if request.node.get_closest_marker("proofs") is None:
        module = importlib.import_module("stackel.certificate.certify")
        monkeypatch.setattr(module, "worth_trying", lambda calculus: False)


# A shell starts background jobs with Ctrl-C ignored, and children inherit that; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands print as they do where nobody looks: no colours, no tracebacks."""
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "STACKEL_TRACEBACK", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
