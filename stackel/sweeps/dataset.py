"""All cells' answers as one labelled Dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel.certificate.certificate import HOLDS
from stackel.sweeps.describe import label, labels
from stackel.sweeps.plan import VARIABLES, Plan
from stackel.types import Array
from stackel.version import __version__

if TYPE_CHECKING:
    import xarray as xr

Record = Mapping[str, Any]

Variable = tuple[tuple[str, ...], Array]
"""Dimensions beside the cells', and values with the cells in front."""

FORMER = {"certified": "unknown (certified by 0.1, not re-checked)"}
"""Verdicts in stores of before, and what they are worth now."""

UNREACHED: Record = {"status": "", "error": "not computed: the sweep was interrupted before it"}
"""What stands for a cell that was not reached."""


def assemble(plan: Plan, texts: Mapping[int, str]) -> xr.Dataset:
    """The Dataset of a sweep; :func:`stackel.sweep` says what it holds.

    Args:
        plan: the sweep.
        texts: what is kept of each cell's answer, by its number; cells that are left out were not
            reached.
    """
    import xarray as xr

    records = [json.loads(texts[k]) if k in texts else UNREACHED for k in range(plan.size)]
    coords = {name: labels(values) for name, values in plan.dimensions.items()}
    variables = {}
    for name, (inner, values) in (_answers(records) | _measured(records)).items():
        shaped = values.reshape(*plan.shape, *values.shape[1:])
        variables[name] = ([*plan.dimensions, *inner], shaped, _about(name, records))
        coords |= {d: np.arange(n) for d, n in zip(inner, values.shape[1:], strict=True)}
    return xr.Dataset(variables, coords, _attributes(plan, records))


def _answers(records: Sequence[Record]) -> dict[str, Variable]:
    """What every Dataset holds, by name."""
    x, y = _padded(records, "x", 2), _padded(records, "y", 2)
    verdicts = np.array([FORMER.get(v, v) for v in (r.get("verdict", "") for r in records)])
    if all(r["for_each_leader"] for r in records if "y" in r):
        followers: Variable = ("follower", "leader"), y
    elif y.shape[2] == 1:
        followers = ("follower",), y[:, :, 0]
    else:
        followers = ("follower", "follower_decision"), y
    if x.shape[1] > 1:
        leaders: Variable = ("leader_decision", "leader"), x
    else:
        leaders = ("leader",), x.reshape(len(x), -1)
    own = {
        "leader_actions": leaders,
        "follower_actions": followers,
        "leader_payoffs": (("leader",), _padded(records, "leader_payoffs", 1)),
        "follower_payoffs": (("follower",), _padded(records, "follower_payoffs", 1)),
        "certified": ((), np.isin(verdicts, HOLDS)),
        "verdict": ((), verdicts),
        "status": ((), np.array([r["status"] for r in records])),
        # Messages differ in length: an array of fixed width would be mostly padding.
        "error": ((), np.array([r["error"] for r in records], dtype=object)),
    }
    return {n: own[n] if n in own else ((), _padded(records, n, 0)) for n in VARIABLES}


def _measured(records: Sequence[Record]) -> dict[str, Variable]:
    found = [r.get("measured", {}) for r in records]
    out: dict[str, Variable] = {}
    for name in dict.fromkeys(n for one in found for n in one):
        if any(isinstance(one.get(name), list) for one in found):
            lists = [{k: np.atleast_1d(v) for k, v in one.items() if k == name} for one in found]
            out[name] = (f"{name}_index",), _padded(lists, name, 1)
        else:
            out[name] = (), _padded(found, name, 0)
    return out


def _padded(records: Sequence[Record], name: str, rank: int) -> Array:
    """Numbers, or nested lists of one rank, as one array; NaN where there is no entry."""
    found = {k: np.array(r[name], dtype=float) for k, r in enumerate(records) if name in r}
    shapes = {array.shape for array in found.values()}
    largest = [max(lengths) for lengths in zip(*shapes, strict=True)] or [0] * rank
    out = np.full((len(records), *largest), np.nan)
    for k, array in found.items():
        place: tuple[Any, ...] = (k, *map(slice, array.shape))
        out[place] = array
    return out


def _about(name: str, records: Sequence[Record]) -> dict[str, str]:
    """A variable's attributes: what it is, and its unit if all markets agree."""
    if name == "seconds":
        return {"long_name": VARIABLES[name], "units": "s"}
    if not name.endswith("_actions"):
        return {"long_name": VARIABLES[name]} if name in VARIABLES else {}
    player = name.removesuffix("_actions")
    found = {tuple(r[player]) for r in records if player in r}
    if len(found) != 1:
        return {}
    action, unit = found.pop()
    return {"long_name": action, **({"units": unit} if unit else {})}


def _attributes(plan: Plan, records: Sequence[Record]) -> dict[str, Any]:
    """Texts and numbers only: NetCDF knows no others."""
    solve = {k: v for k, v in plan.solve.items() if v is not None}
    named = {k: solve.pop(k) for k in ("anticipation", "tolerance", "certificate") if k in solve}
    return {
        "stackel": __version__,
        "market": ", ".join(sorted({r["market"] for r in records if "market" in r})),
        "make_game": label(plan.make_game),
        "backend": plan.backend if isinstance(plan.backend, str) else repr(plan.backend),
        "options": json.dumps(solve, default=repr),
        **{k: int(v) if isinstance(v, bool) else v for k, v in named.items()},
        "cells": len(records),
        "failed": sum(bool(r["error"]) for r in records),
    }
