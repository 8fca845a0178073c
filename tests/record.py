"""Two hundred games and what stackel says of each: the record that a rebuilt core is held to.

    python tests/record.py

writes ``tests/data/record.json`` anew. Do that only where an answer is meant to change, and say in
the changelog which and why.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in the tests; before NumPy loads

import numpy as np
from typer.testing import CliRunner

import stackel
from problems import PROBLEMS, PangFukushima
from stackel import catalogue
from stackel.cli.main import app
from stackel.followers.response import settle
from stackel.formulations.vehicular_twins import VehicularTwins, draw, fig3

RECORD = Path(__file__).parent / "data" / "record.json"

SMALL = ("fig3", "fig3-literal", "fig3-delay", "five-firms", "gnash10", "c2f2", "simple-blu")
SMALL += ("simple-verde", "three-buyers", "cournot-3x5")
MPEC = ("fig3", "fig3-delay", "shared-capacity", "drop-out", "personal-prices", "c2f2")
CVXPY = ("fig3", "fig3-delay", "duopoly", "shared-capacity", "budget")

Case = Callable[[], Any]


def cases() -> Iterator[tuple[str, Case]]:
    """Every case by name, as a function that returns an answer or raises."""
    problems = {p.name: p.make for p in PROBLEMS}
    for name, make in problems.items():
        for backend in ("auto", "newton", "closed-form", "admm"):
            yield f"{name} by {backend}", _solve(make, backend)
    for backend, names in (("mpec", MPEC), ("cvxpy", CVXPY)):
        for name in names:
            make = problems.get(name, _preset(name))
            yield f"{name} by {backend}", _solve(make, backend)
    for name in SMALL:
        yield f"preset {name}", _solve(_preset(name), "auto")
    for seed in range(20):
        make = _drawn(seed)
        yield f"draw {seed} by newton", _solve(make, "newton")
        yield f"draw {seed} by admm", _solve(make, "admm")
        yield f"draw {seed}, a point that is none", _certify(make, seed)
        yield f"draw {seed}, purchases off", _certify(make, seed, off=0.03)
    for name in ("c2f2", "simple-verde", "three-buyers", "five-firms"):
        for seed in range(3):
            make = _preset(name)
            yield f"preset {name} {seed}, a point that is none", _certify(make, seed)
    for name in ("personal-prices", "shared-capacity", "drop-out", "budget", "congestion"):
        for seed in range(3):
            yield f"{name} {seed}, a point that is none", _certify(problems[name], seed)
    for word in ("own_response", "none"):
        for name in ("fig3", "cournot-3x4", "log-pricing"):
            yield f"{name} foreseeing {word}", _solve(problems[name], "newton", anticipation=word)
        yield f"fig3 foreseeing {word}, ratios", _solve(fig3, "closed-form", anticipation=word)
    yield "no equilibrium", _solve(PangFukushima, "newton")
    yield "followers without end", _solve(lambda: _equal(14), "newton")
    yield "at the boundary", _solve(lambda: _equal(13), "newton")
    yield "capped in time", _solve(lambda: replace(_equal(14), bandwidth_cap=2.0), "newton")
    yield "several starts", _solve(lambda: fig3(delay=True), "newton", starts=3, seed=0)
    yield "no certificate", _solve(fig3, "newton", certificate=False)
    for k, (name, make) in enumerate(_batches()):
        yield f"many: {name}", _many(make, k)
    for words in _commands():
        yield f"stackel {' '.join(words)}", _command(words)


def _equal(followers: int) -> VehicularTwins:
    return VehicularTwins([30.0] * followers, 30.0, 5.0, [0.3, 0.1], payment_scale=15)


def _preset(name: str) -> Case:
    return lambda: catalogue.preset(name)


def _drawn(seed: int) -> Case:
    def make() -> stackel.Game:
        rng = np.random.default_rng(seed)
        return draw(rng, int(rng.integers(2, 6)), int(rng.integers(1, 4)))

    return make


def _batches() -> Iterator[tuple[str, Callable[[float], stackel.Game]]]:
    yield "fig3 and costs", lambda c: replace(fig3(), unit_cost=[0.1 + c, 0.2])
    yield "delay and costs", lambda c: replace(fig3(delay=True), unit_cost=[0.1 + c, 0.2])
    yield "literal", lambda c: replace(fig3(scale="literal"), unit_cost=[0.1 + c, 0.2])
    yield "at the boundary", lambda c: replace(_equal(13), unit_cost=[0.1 + c, 0.2])
    yield "drop-out", lambda c: replace(_problem("drop-out"), value=[20.0 + 10 * c, 6.0, 3.0])


def _problem(name: str) -> stackel.Game:
    return next(p.make() for p in PROBLEMS if p.name == name)


def _commands() -> Iterator[list[str]]:
    yield ["solve", "fig3"]
    yield ["solve", "fig3", "--json", "--backend", "newton"]
    yield ["solve", "fig4"]
    yield ["solve", "fig3", "--backend", "newtonian"]
    yield ["solve", "fig3-delay", "--backend", "closed-form"]
    yield ["solve", "fig3", "--backend", "newton", "--option", "points=2"]
    yield ["solve", "fig3", "--backend", "admm", "--time-limit", "1e-9"]
    yield ["solve", "fig3", "--tolerance", "2"]
    yield ["backends", "fig3-delay"]
    yield ["compare", "fig3", "-b", "newton", "-b", "closed-form"]
    yield ["presets"]
    yield ["show", "nowhere.json"]


def _solve(make: Callable[[], stackel.Game], backend: str, **options: Any) -> Case:
    return lambda: answer(stackel.solve(make(), backend, **options))


def _certify(make: Callable[[], stackel.Game], seed: int, off: float = 0.0) -> Case:
    def certify() -> Any:
        game = make()
        rng = np.random.default_rng(seed)
        low, high = game.leader_bounds
        x = rng.uniform(low, np.where(np.isfinite(high), high, low + 10.0))
        y = settle(game, x).y
        y = np.clip(y + off * rng.normal(size=y.shape), *game.follower_bounds)
        return {"x": x.tolist(), "y": y.tolist(), **worth(stackel.certify(game, x, y))}

    return certify


def _many(make: Callable[[float], stackel.Game], k: int) -> Case:
    costs = np.random.default_rng(k).uniform(0.0, 0.2, 6)

    def solve() -> Any:
        found = stackel.solve_many([make(float(c)) for c in costs])
        return [
            f"{type(a).__name__}: {a}" if isinstance(a, Exception) else answer(a) for a in found
        ]

    return solve


def _command(words: list[str]) -> Case:
    def run() -> Any:
        done = CliRunner().invoke(app, words)
        return {"exit code": done.exit_code, "says": done.stderr}

    return run


def answer(eq: stackel.Equilibrium) -> dict[str, Any]:
    """What is recorded of an equilibrium."""
    return {
        "backend": eq.backend,
        "status": eq.status.name,
        "detail": eq.detail,
        "x": eq.leader_actions.tolist(),
        "y": eq.follower_actions.tolist(),
        "leader_payoffs": eq.leader_payoffs.tolist(),
        "follower_payoffs": eq.follower_payoffs.tolist(),
        "multipliers": {k: np.asarray(v).tolist() for k, v in eq.multipliers.items()},
        "others": len(eq.others),
        **({} if eq.certificate is None else worth(eq.certificate)),
    }


def worth(c: stackel.Certificate) -> dict[str, Any]:
    """What is recorded of a certificate."""
    moved = c.deviation
    return {
        "verdict": c.verdict,
        "leader_gaps": c.leader_gaps.tolist(),
        "follower_gaps": c.follower_gaps.tolist(),
        "scales": [float(c.leader_scales.max()), float(c.follower_scales.max())],
        "violation": c.violation,
        "violations": dict(c.violations),
        "losers": [list(loser) for loser in c.losers],
        "exact_replies": c.exact_replies,
        "global_search": c.global_search,
        "trials": c.trials,
        "unsettled": c.unsettled,
        "uniqueness": [c.uniqueness.smallest_eigenvalue, c.uniqueness.spectral_radius],
        "deviation": None
        if moved is None
        else [moved.player, moved.index, np.asarray(moved.action).tolist(), moved.gain],
        "notes": list(c.notes),
    }


def observe(case: Case) -> Any:
    """What a case says today: an answer, or an error's kind, words and point."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return case()
    except stackel.NotConverged as error:
        return {"error": "NotConverged", "says": str(error), **answer(error.result)}
    except stackel.StackelError as error:
        return {"error": type(error).__name__, "says": str(error)}


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RECORD
    found = {name: observe(case) for name, case in cases()}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(found)} cases in {path}")


if __name__ == "__main__":
    main()
