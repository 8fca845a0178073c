"""Random markets of plausible sizes, a family for each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.ordinary import prices, quantities
from benchmarks.ordinary.truth import Ordinary

Draw = Callable[[np.random.Generator], Ordinary]


def _sellers(rng: np.random.Generator, cap: float = 4.0) -> dict[str, Any]:
    """Values, costs and a highest price of a market with prices."""
    followers, leaders = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    return {
        "value": rng.uniform(1.0, 6.0, (followers, 1)) * rng.uniform(0.7, 1.3, (1, leaders)),
        "cost": rng.uniform(0.2, 0.9, leaders),
        "cap": cap * rng.uniform(0.8, 1.5),
    }


def _each(rng: np.random.Generator, low: float, high: float, like: dict[str, Any]) -> np.ndarray:
    return rng.uniform(low, high, len(like["value"]))


def _log(rng: np.random.Generator) -> Ordinary:
    return prices.Log(**_sellers(rng))


def _budget(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    return prices.Budget(**own, budget=_each(rng, 0.5, 6, own))


def _own_cap(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    return prices.OwnCap(**own, room=_each(rng, 0.5, 6, own))


def _shared(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    return prices.SharedCapacity(**own, capacity=rng.uniform(1, 8, len(own["cost"])))


def _leader_capacity(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng, 8.0)
    return prices.LeaderCapacity(**own, capacity=rng.uniform(1, 8, len(own["cost"])))


def _overtime(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    capacity = rng.uniform(1, 8, len(own["cost"]))
    return prices.Overtime(**own, capacity=capacity, overtime=rng.uniform(0.1, 1))


def _odd(rng: np.random.Generator) -> Ordinary:
    amount, money = 10.0 ** rng.uniform(-10, 10, 2)
    return prices.OddUnits(**_sellers(rng), amount=amount, money=money)


def _quadratic(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    return prices.Quadratic(**own, slope=_each(rng, 0.5, 2, own), most=_each(rng, 0.5, 4, own))


def _substitutes(rng: np.random.Generator) -> Ordinary:
    return prices.Substitutes(**_sellers(rng), slope=1.0, replaced=rng.uniform(0.1, 0.6))


def _tied(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    n = len(own["value"])
    ties = rng.uniform(-0.3, 0.6, (n, n)) / n * (rng.random((n, n)) < 0.6)
    np.fill_diagonal(ties, 0.0)
    return prices.Tied(**own, ties=ties)


def _root(rng: np.random.Generator) -> Ordinary:
    return prices.Root(**_sellers(rng), shift=rng.uniform(0.05, 0.5))


def _power(rng: np.random.Generator) -> Ordinary:
    return prices.Power(**_sellers(rng), exponent=rng.uniform(0.3, 0.7))


def _ces(rng: np.random.Generator) -> Ordinary:
    return prices.Ces(
        **_sellers(rng), substitution=rng.uniform(0.3, 0.7), exponent=rng.uniform(0.3, 0.7)
    )


def _entropy(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    return prices.Entropy(**{**own, "value": own["value"] / 3}, temperature=rng.uniform(0.3, 1))


def _saturation(rng: np.random.Generator) -> Ordinary:
    return prices.Saturation(**_sellers(rng))


def _ratio(rng: np.random.Generator) -> Ordinary:
    return prices.Ratio(**_sellers(rng))


def _delay(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    return prices.Delay(**own, work=_each(rng, 0.2, 1, own), most=_each(rng, 0.3, 2, own))


def _queue(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    return prices.Queue(
        **own, capacity=rng.uniform(2, 8, len(own["cost"])), wait=_each(rng, 0.05, 1, own)
    )


def _quality(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    followers = len(own["value"])
    return prices.Quality(**own, care=followers * rng.uniform(0.3, 1.5))


def _advertising(rng: np.random.Generator) -> Ordinary:
    own = _sellers(rng)
    followers = len(own["value"])
    return prices.Advertising(**own, care=followers * rng.uniform(0.2, 1.5))


def _firms(rng: np.random.Generator) -> dict[str, Any]:
    followers, leaders = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    return {
        "first_cost": rng.uniform(0.5, 3, leaders),
        "second_cost": rng.uniform(0.5, 3, followers),
        "choke": rng.uniform(6, 15),
    }


def _cournot(rng: np.random.Generator) -> Ordinary:
    return quantities.Cournot(**_firms(rng))


def _cournot_capped(rng: np.random.Generator) -> Ordinary:
    own = _firms(rng)
    most = rng.uniform(0.3, 3, len(own["second_cost"]))
    return quantities.Cournot(**own, growing=rng.uniform(0.1, 1), most=most)


def _isoelastic(rng: np.random.Generator) -> Ordinary:
    return quantities.Isoelastic(**_firms(rng), elasticity=rng.uniform(0.4, 0.9))


def _supply(rng: np.random.Generator) -> Ordinary:
    followers, leaders = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    return quantities.Supply(
        choke=rng.uniform(4, 10, leaders),
        cost=rng.uniform(0.5, 2, leaders),
        handling=rng.uniform(0.0, 1.0, followers),
        replaced=rng.uniform(0.05, 0.5),
    )


def _workers(rng: np.random.Generator) -> dict[str, Any]:
    followers, leaders = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    return {
        "skill": rng.uniform(0.3, 2, (followers, leaders)),
        "worth": rng.uniform(1, 6, leaders),
    }


def _effort(rng: np.random.Generator) -> Ordinary:
    return quantities.Effort(**_workers(rng))


def _time(rng: np.random.Generator) -> Ordinary:
    own = _workers(rng)
    return quantities.TimeLimited(**own, time=rng.uniform(0.3, 3, len(own["skill"])))


def _contest(rng: np.random.Generator) -> Ordinary:
    own = _workers(rng)
    return quantities.Contest(
        effort_cost=own["skill"], worth=own["worth"], idle=rng.uniform(0.05, 0.3)
    )


def _prosumers(rng: np.random.Generator) -> Ordinary:
    own = _workers(rng)
    return quantities.Prosumers(
        growing=own["skill"],
        most=rng.uniform(0.5, 3, len(own["skill"])),
        choke=own["worth"] + 1,
        fall=rng.uniform(0.1, 0.6),
    )


FAMILIES: dict[str, Draw] = {
    "log": _log,
    "log, budgets": _budget,
    "log, own caps": _own_cap,
    "log, shared capacity": _shared,
    "log, leaders' capacity": _leader_capacity,
    "log, overtime": _overtime,
    "log, odd units": _odd,
    "log, delay": _delay,
    "quadratic, caps": _quadratic,
    "quadratic, substitutes": _substitutes,
    "quadratic, ties": _tied,
    "root": _root,
    "power": _power,
    "ces": _ces,
    "entropy": _entropy,
    "saturation": _saturation,
    "ratio": _ratio,
    "queues": _queue,
    "price and quality": _quality,
    "price and advertising": _advertising,
    "cournot": _cournot,
    "cournot, growing cost, caps": _cournot_capped,
    "cournot, isoelastic": _isoelastic,
    "supply chain": _supply,
    "effort": _effort,
    "effort, limited time": _time,
    "contest": _contest,
    "prosumers": _prosumers,
}
