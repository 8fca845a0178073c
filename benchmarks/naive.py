"""What one would write for one paper: loops over followers, a scalar search for each leader.

No library, no batches, no derivatives of the followers. It serves as the yardstick of
:mod:`benchmarks.speed` and :mod:`benchmarks.many`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from stackel.formulations.vehicular_twins import BANDWIDTH_UNIT, VehicularTwins

Array = np.ndarray


def purchases(game: VehicularTwins, price: list[float], start: list[list[float]]) -> list:
    """Best replies in turn until nothing moves; delay limits left out."""
    alpha, beta = game.satisfaction[:, 0].tolist(), game.sensitivity[:, 0].tolist()
    ties, scale = game.ties.tolist(), game.payment_scale
    b = [row[:] for row in start]
    change = 1.0
    while change > 1e-11:
        change = 0.0
        for i in range(len(alpha)):
            for j in range(len(price)):
                social = sum(ties[i][k] * b[k][j] for k in range(len(alpha)))
                reply = max(0.0, (alpha[i] + social - scale * price[j]) / (2 * beta[i]))
                change = max(change, abs(reply - b[i][j]))
                b[i][j] = reply
    return b


def equilibrium(game: VehicularTwins, tolerance: float = 1e-7) -> tuple[list[float], list]:
    """Leaders in turn, each by a bounded scalar search in which the followers settle anew."""
    cost, cap = game.unit_cost[0].tolist(), game.price_cap
    price = [(c + cap) / 2 for c in cost]
    b = [[0.0] * len(cost) for _ in range(game.n_followers)]
    change = 1.0
    while change > tolerance:
        change = 0.0
        for j in range(len(price)):

            def loss(p: float, j: int = j) -> float:
                trial = [*price[:j], p, *price[j + 1 :]]
                return -profit(game, trial, purchases(game, trial, b), j)  # noqa: B023

            best = bounded(loss, cost[j], cap, tolerance / 100)
            change = max(change, abs(best - price[j]))
            price[j] = best
            b = purchases(game, price, b)
    return price, b


def equilibrium_with_limits(game: VehicularTwins, tolerance: float = 1e-4) -> Array:
    """The same with delay limits: the followers settle by SLSQP, which gives fewer digits."""
    cost, cap = game.unit_cost[0], game.price_cap
    price = (cost + cap) / 2
    change = 1.0
    while change > tolerance:
        change = 0.0
        for j in range(len(price)):

            def loss(p: float, j: int = j) -> float:
                trial = np.where(np.arange(len(price)) == j, p, price)
                return -profit(game, trial.tolist(), settle_with_slsqp(game, trial).tolist(), j)

            best = bounded(loss, cost[j], cap, tolerance / 10)
            change = max(change, abs(best - price[j]))
            price[j] = best
    return price


def profit(game: VehicularTwins, price: list[float], b: list, j: int) -> float:
    share = (1 / price[j]) / sum(1 / q for q in price)
    sold = sum(row[j] for row in b)
    return game.utility_scale * share * sold * (price[j] - game.unit_cost[0, j])


def bounded(loss: Callable[[float], float], low: float, high: float, accuracy: float) -> float:
    options = {"xatol": accuracy}
    return float(minimize_scalar(loss, bounds=(low, high), method="bounded", options=options).x)


def formula(game: VehicularTwins, tolerance: float = 1e-13) -> Array:
    """Prices without delay limits by the best-price formula that somebody has worked out by hand
    (see :mod:`stackel.solvers.closed_form.backend`), iterated."""
    system = 2 * np.diagflat(game.sensitivity) - game.ties
    u = np.linalg.solve(system, game.satisfaction).sum()
    v = np.linalg.solve(system, np.ones_like(game.satisfaction)).sum()
    cost, cap = game.unit_cost[0], game.price_cap
    a, p = u / (game.payment_scale * v), (cost + cap) / 2
    change = 1.0
    while change > tolerance:
        before = p.copy()
        for j in range(len(p)):
            others = (1 / p).sum() - 1 / p[j]
            best = (np.sqrt((1 + others * a) * (1 + others * cost[j])) - 1) / others
            p[j] = np.clip(best, cost[j], cap)
        change = np.abs(p - before).max()
    return p


def settle_with_slsqp(game: VehicularTwins, price: Array) -> Array:
    """The followers' equilibrium with delay limits: SLSQP for each follower, in turn."""
    theta = (1 / price) / (1 / price).sum()
    rate = BANDWIDTH_UNIT * game.radio.spectral_efficiency
    fixed = game.fixed_delay()
    b = np.full(game.follower_shape, 0.5)
    for _ in range(100):
        before = b.copy()
        for i in range(game.n_followers):
            alpha, beta = game.satisfaction[i, 0], game.sensitivity[i, 0]
            social = game.ties[i] @ b
            size, most = game.twin_size[i, 0], game.max_delay[i, 0]

            def loss(own: Array) -> float:
                value = alpha * own - beta * own**2 + own * social  # noqa: B023
                return -float(theta @ (value - game.payment_scale * price * own))

            def slack(own: Array) -> float:
                return float(most - theta @ (size / rate / own + fixed[i]))  # noqa: B023

            found = minimize(
                loss,
                b[i],
                method="SLSQP",
                bounds=[(1e-3, None)] * len(price),
                constraints={"type": "ineq", "fun": slack},
                options={"ftol": 1e-14},
            )
            b[i] = found.x
        if np.abs(b - before).max() < 1e-8:
            break
    return b
