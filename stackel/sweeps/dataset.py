"""All cells' answers as one labelled Dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel.sweeps.describe import label, labels
from stackel.sweeps.plan import Plan
from stackel.types import Array
from stackel.version import __version__

if TYPE_CHECKING:
    import xarray as xr

Record = Mapping[str, Any]

UNREACHED: Record = {"status": "", "error": "not computed: the sweep was interrupted before it"}
"""What stands for a cell that was not reached."""

ABOUT = {
    "leader_payoffs": "leader's payoff",
    "follower_payoffs": "follower's payoff",
    "welfare": "sum of all payoffs",
    "certified": "whether the certificate's verdict is certified",
    "verdict": "the certificate's verdict",
    "follower_gap": "most that a follower gains alone, relative to the followers' payoffs",
    "leader_gap": "most that a leader gains alone, relative to the leaders' payoffs",
    "violation": "largest violation of a limit, relative",
    "status": "why the method stopped",
    "error": "what went wrong",
    "seconds": "time of the cell",
}


def assemble(plan: Plan, texts: Mapping[int, str]) -> xr.Dataset:
    """The Dataset of a sweep; :func:`stackel.sweep` says what it holds.

    Args:
        plan: the sweep.
        texts: what is kept of each cell's answer, by its number; cells that are left out were not
            reached.
    """
    import xarray as xr

    records = [json.loads(texts[k]) if k in texts else UNREACHED for k in range(plan.size)]
    dims = [*plan.grid, *(() if plan.seeds is None else ("seed",))]
    coords: dict[str, Any] = {name: labels(values) for name, values in plan.grid.items()}
    if plan.seeds is not None:
        coords["seed"] = np.array(plan.seeds)
    columns = _columns(records)
    variables = {}
    for name, (inner, values) in columns.items():
        shaped = values.reshape(*plan.shape, *values.shape[1:])
        variables[name] = ([*dims, *inner], shaped, _about(name, records))
        coords |= {d: np.arange(n) for d, n in zip(inner, values.shape[1:], strict=True)}
    return xr.Dataset(variables, coords, _attributes(plan, records))


def _columns(records: Sequence[Record]) -> dict[str, tuple[tuple[str, ...], Array]]:
    """The variables by name: dimensions beside the cells', and values with the cells in front."""
    x = _padded([r.get("x") for r in records], 2)
    y = _padded([r.get("y") for r in records], 2)
    if all(r["for_each_leader"] for r in records if "y" in r):
        own: tuple[str, ...] = ("leader",)
    elif y.shape[2] == 1:
        own, y = (), y[:, :, 0]
    else:
        own = ("follower_decision",)
    out: dict[str, tuple[tuple[str, ...], Array]] = {
        "leader_actions": (("leader_decision", "leader"), x)
        if x.shape[1] > 1
        else (("leader",), x.reshape(len(x), -1)),
        "follower_actions": (("follower", *own), y),
    }
    for player in ("leader", "follower"):
        name = f"{player}_payoffs"
        out[name] = (player,), _padded([r.get(name) for r in records], 1)
    out["welfare"] = (), _numbers(records, "welfare")
    verdicts = np.array([r.get("verdict", "") for r in records])
    out["certified"] = (), verdicts == "certified"
    out["verdict"] = (), verdicts
    for name in ("follower_gap", "leader_gap", "violation"):
        out[name] = (), _numbers(records, name)
    out["status"] = (), np.array([r["status"] for r in records])
    # Messages differ in length: an array of fixed width would be mostly padding.
    out["error"] = (), np.array([r["error"] for r in records], dtype=object)
    out["seconds"] = (), _numbers(records, "seconds")
    return out | _measured(records)


def _measured(records: Sequence[Record]) -> dict[str, tuple[tuple[str, ...], Array]]:
    found = [r.get("measured", {}) for r in records]
    out: dict[str, tuple[tuple[str, ...], Array]] = {}
    for name in dict.fromkeys(n for one in found for n in one):
        values = [one.get(name) for one in found]
        if any(isinstance(v, list) for v in values):
            rows = [v if isinstance(v, list) or v is None else [v] for v in values]
            out[name] = (f"{name}_index",), _padded(rows, 1)
        else:
            out[name] = (), np.array([np.nan if v is None else v for v in values], dtype=float)
    return out


def _numbers(records: Sequence[Record], name: str) -> Array:
    return np.array([r.get(name, np.nan) for r in records], dtype=float)


def _padded(values: Sequence[Any], rank: int) -> Array:
    """Nested lists of one rank, or None, as one array; NaN where a list has no entry."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for k, value in enumerate(values):
        if value is not None:
            groups.setdefault(np.shape(value), []).append(k)
    largest = [max(lengths) for lengths in zip(*groups, strict=True)] or [0] * rank
    out = np.full((len(values), *largest), np.nan)
    for shape, places in groups.items():
        inside = np.array([values[k] for k in places], dtype=float)
        index: tuple[Any, ...] = (places, *(slice(n) for n in shape))
        out[index] = inside
    return out


def _about(name: str, records: Sequence[Record]) -> dict[str, str]:
    """A variable's attributes: what it is, and its unit if all markets agree."""
    if name == "seconds":
        return {"long_name": ABOUT[name], "units": "s"}
    if not name.endswith("_actions"):
        return {"long_name": ABOUT[name]} if name in ABOUT else {}
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
