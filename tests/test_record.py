"""What stackel says of two hundred games, and files that it wrote before: both still hold."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kept
import stackel
from record import RECORD, cases, observe
from stackel import version
from stackel.certificate.certificate import HOLDS, OF_THE_SEARCH
from stackel.formulations.vehicular_twins import fig3

DATA = Path(__file__).parent / "data"
KNOWN: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
CASES = dict(cases())

PLAIN = {"x", "y", "leader_payoffs", "follower_payoffs", "multipliers", "scales"}
GAPS = {"leader_gaps", "follower_gaps"}
VIOLATIONS = {"violation", "violations"}
METHODS = ("admm", "cvxpy", "mpec")
"""Backends whose answers are good to their own tolerances, not to rounding."""


def words(text: str) -> str:
    """A message without its numbers: digits that rounding makes are no part of it, nor where on a
    cycle a search stepped in."""
    text = re.sub(r"\[[^\]]*\]( -> \[[^\]]*\])+", "[...]", text)
    return re.sub(r"-?\b(\d+\.?\d*(e[+-]?\d+)?|inf|nan)\b", "#", text)


def alike(now: Any, then: Any, tolerance: float, size: float) -> None:
    """The same structure, words and numbers, these within a tolerance of their size."""
    if isinstance(then, dict):
        assert now.keys() == then.keys()
        for key in then:
            alike(now[key], then[key], tolerance, size)
    elif isinstance(then, list):
        assert len(now) == len(then)
        for new, old in zip(now, then, strict=True):
            alike(new, old, tolerance, size)
    elif isinstance(then, float) and not isinstance(now, str):
        if np.isfinite(then):
            assert abs(now - then) <= tolerance * (size + abs(then))
        else:
            assert str(now) == str(then)
    elif isinstance(then, str):
        assert words(now) == words(then)
    else:
        assert now == then


def compare(now: dict[str, Any], then: dict[str, Any], loose: bool) -> None:
    assert now.keys() == then.keys()
    close = 1e-5 if loose else 1e-7
    for key, value in then.items():
        if key in GAPS:  # of a point that is one: rounding, or what a method leaves
            side = 0 if key.startswith("leader") else 1
            alike(now[key], value, close, then["scales"][side] * 0.1)
        elif key == "trials":  # which peaks are refined, and an ascent's steps, hang on last digits
            share = 0.2 if then["global_search"] else np.inf
            assert abs(now[key] - value) <= share * value
        elif key == "unsettled" and (loose or not then["global_search"]):
            continue
        elif key == "deviation" and value is not None:  # a payoff is flat at its peak
            alike(now[key][:2], value[:2], 0.0, 0.0)
            alike(now[key][2], value[2], 1e-4, 1.0)
            alike(now[key][3], value[3], close, then["scales"][value[0] == "follower"])
        else:
            alike(now[key], value, close, 1.0 if key not in VIOLATIONS else 0.1)


def test_the_record_knows_these_cases() -> None:
    assert list(KNOWN) == list(CASES)
    assert len(KNOWN) >= 200


def unproved(then: Any) -> Any:
    """What is recorded, where nothing was proved: what the search says passes or does not, less
    how far a search can be trusted."""
    if isinstance(then, list):
        return [unproved(one) for one in then]
    if isinstance(then, dict) and then.get("verdict") in HOLDS:
        searched = [note for note in then["notes"] if note not in OF_THE_SEARCH]
        return {**then, "verdict": "holds", "notes": searched}
    return then


@pytest.mark.slow
@pytest.mark.proofs
@pytest.mark.parametrize("name", list(CASES))
def test_proofs_are_as_recorded(name: str) -> None:
    as_recorded(name, json.loads(json.dumps(observe(CASES[name]))), KNOWN[name])


@pytest.mark.parametrize("name", list(CASES))
def test_answers_are_as_recorded(name: str) -> None:
    now = json.loads(json.dumps(observe(CASES[name])))
    as_recorded(name, unproved(now), unproved(KNOWN[name]))


def as_recorded(name: str, now: Any, then: Any) -> None:
    if name.startswith("many"):
        assert len(now) == len(then)
        for new, old in zip(now, then, strict=True):
            if isinstance(old, str):
                assert words(new) == words(old)
            else:
                compare(new, old, loose=False)
    else:
        compare(now, then, loose=any(m in name for m in METHODS))


def test_a_record_that_differs_is_noticed() -> None:
    """The comparison itself can fail: in a number, a word, a verdict."""
    then = KNOWN["fig3 by newton"]
    compare(then, then, loose=False)
    wrong = (
        {"x": [[then["x"][0][0] * (1 + 1e-5), then["x"][0][1]]]},
        {"verdict": "refuted"},
        {"notes": ["something"]},
        {"trials": then["trials"] * 2},
    )
    for change in wrong:
        with pytest.raises(AssertionError):
            compare({**then, **change}, then, loose=False)


@pytest.mark.proofs
@pytest.mark.parametrize("kind", ["certified", "refuted"])
def test_answers_saved_before_load(kind: str) -> None:
    """Their classes are named by the modules they stood in then."""
    eq = stackel.Equilibrium.load(DATA / f"saved-{kind}.json")
    raw = json.loads((DATA / f"saved-{kind}.json").read_text())["equilibrium"]["fields"]
    assert eq.certificate is not None
    assert eq.certificate.verdict == "unknown"
    assert str(eq.certificate) == f"unknown: {kind} by 0.1, not re-checked"
    assert not eq.is_equilibrium
    assert eq.leader_actions.ravel().tolist() == raw["leader_actions"]["$array"]
    assert np.array_equal(eq.game.unit_cost, fig3(delay=True).unit_cost)
    again = eq.certify().certificate
    assert again is not None
    assert again.verdict == {"certified": "proved"}.get(kind, kind)
    np.testing.assert_allclose(again.leader_gaps, eq.certificate.leader_gaps, atol=1e-6)
    if kind == "refuted":
        assert isinstance(eq.certificate.deviation, stackel.Deviation)
    else:
        assert eq.status is stackel.Status.CONVERGED
        assert len(eq.history) > 0


def test_a_sweep_stored_before_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of its six cells were kept; they are not solved again."""
    pytest.importorskip("xarray")
    monkeypatch.setattr(version, "__version__", "0.1.0")
    store = tmp_path / "sweep"
    shutil.copytree(DATA / "sweep", store)
    before = (store / "cells.log").read_bytes()
    grid = {"cost": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}
    found = stackel.sweep(kept.toll, grid, backend="newton", resume=store)
    assert (store / "cells.log").read_bytes().startswith(before)
    # sqrt(cost mean(value)): the toll of a seller to whom demand is value / toll - 1
    expected = np.sqrt(np.array(grid["cost"]) * 4.0)
    np.testing.assert_allclose(found.leader_actions.values.ravel(), expected, rtol=1e-8)


def test_a_training_checkpointed_before_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "training.pt"
    shutil.copy(DATA / "training.pt", path)
    options: dict[str, Any] = {"hidden": 4, "cells": 2, "markets": 4, "minibatches": 2, "rounds": 6}
    eq = stackel.solve(
        fig3(), "malppo", seed=1, episodes=3, checkpoint=str(path), checkpoint_every=1, **options
    )
    assert eq.status is stackel.Status.TRAINED
    assert len(eq.history) == 3  # two of them from the file
