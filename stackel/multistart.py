"""Leaders with several decisions each: lines through the point, then ascents from many starts.

What this finds is a lower bound on a leader's gap, never a proof that there is none.
"""

from __future__ import annotations

import numpy as np

from stackel import response
from stackel.deviations import Oracle, Search, payoffs_alone, search_lines, search_range
from stackel.game import Game
from stackel.response import Anticipation, Response

Array = np.ndarray

STARTS = 6
"""Random starts for each leader, beside the point itself, the best line and the box's middle."""


def search_many(
    game: Game,
    x: Array,
    at: Response,
    oracle: Oracle,
    anticipation: Anticipation,
    *,
    points: int = 33,
    starts: int = STARTS,
) -> Search:
    """The best that each leader finds over all its decisions, the other leaders held.

    Args:
        game: the market.
        x: the profile to deviate from (d, J).
        at: the followers' response there.
        oracle: the followers' answers.
        anticipation: what leaders foresee.
        points: grid along each decision.
        starts: random starts for each leader.
    """
    d, J = game.leader_shape
    low, high = search_range(game, x)
    lines = [
        search_lines(game, x, oracle, points=points, rounds=2, decision=row) for row in range(d)
    ]
    rng = np.random.default_rng(0)
    action, payoff = np.array(x, dtype=float), np.full(J, -np.inf)
    tried, unsettled = sum(s.tried for s in lines), sum(s.unsettled for s in lines)
    for j in range(J):
        together = np.array([s.action[row, j] for row, s in enumerate(lines)])
        best = max(lines, key=lambda s: s.payoff[j])
        candidates = [x[:, j], together, best.action[:, j], (low[:, j] + high[:, j]) / 2]
        candidates += list(rng.uniform(low[:, j], high[:, j], (starts, d)))
        first = _profiles(x, j, np.array(candidates))
        value, good = payoffs_alone(game, first, np.full(len(first), j), oracle)
        tried, unsettled = tried + len(first), unsettled + int((~good).sum())
        order = np.argsort(-value)
        if value[order[0]] > payoff[j]:
            action[:, j], payoff[j] = candidates[order[0]], value[order[0]]
        for start in order[: 1 + starts // 2]:
            if not np.isfinite(value[start]):
                continue
            reached, gain, count = _ascend(
                game, x, j, candidates[start], at, oracle, anticipation, (low[:, j], high[:, j])
            )
            tried += count
            if gain > payoff[j]:
                action[:, j], payoff[j] = reached, gain
    resolution = np.max([s.resolution for s in lines], axis=0)
    return Search(action, payoff, resolution, tried, unsettled)


def _profiles(x: Array, j: int, decisions: Array) -> Array:
    out = np.broadcast_to(x, (len(decisions), *x.shape)).copy()
    out[:, :, j] = decisions
    return out


def own_slopes(game: Game, x: Array, at: Response, leaders: Array | None = None) -> Array:
    """Total derivatives of each leader's payoff by its own decisions, followers re-settling.

    Args:
        game: the market.
        x: leader actions (d, J) or a batch (B, d, J).
        at: the settled response there.
        leaders: which leaders' (default all).

    Returns:
        (..., d, J)
    """
    d, J = game.leader_shape
    leaders = np.arange(J) if leaders is None else leaders
    directions = np.zeros((d * len(leaders), d, J))
    rows, columns = (g.ravel() for g in np.meshgrid(np.arange(d), leaders, indexing="ij"))
    directions[np.arange(len(rows)), rows, columns] = 1.0
    dy = np.moveaxis(response.sensitivity(game, x, at, directions), -3, 0)  # (r, ..., I, n)
    dx = directions.reshape(len(rows), *(1,) * (x.ndim - 2), d, J)
    slopes = game.calculus.leader_slopes(x, at.y, dx, dy)  # (r, ..., J)
    own = np.take_along_axis(
        np.moveaxis(slopes, 0, -2), columns.reshape(*(1,) * (x.ndim - 2), -1, 1), -1
    )[..., 0]
    return own.reshape(*own.shape[:-1], d, len(leaders))


def _ascend(
    game: Game,
    x: Array,
    j: int,
    start: Array,
    at: Response,
    oracle: Oracle,
    anticipation: Anticipation,
    box: tuple[Array, Array],
) -> tuple[Array, float, int]:
    """A bounded quasi-Newton ascent in leader j's decisions; the best feasible point it saw."""
    from scipy.optimize import minimize

    best_action, best = np.array(start), -np.inf
    calls = 0

    def loss(decision: Array) -> tuple[float, Array]:
        nonlocal best_action, best, calls
        calls += 1
        profile = _profiles(x, j, decision[None])
        value, _ = payoffs_alone(game, profile, np.array([j]), oracle)
        if value[0] > best:
            best_action, best = np.array(decision), float(value[0])
        if not np.isfinite(value[0]):
            return 1e30, np.zeros_like(decision)
        return -float(value[0]), -_slope(decision)

    def _slope(decision: Array) -> Array:
        profile = _profiles(x, j, decision[None])[0]
        if anticipation == "equilibrium":
            settled = response.settle(game, profile, at)
            return own_slopes(game, profile, settled, np.array([j]))[:, 0]
        step = 1e-6 * (1 + np.abs(decision))
        moves = np.concatenate([decision + np.diag(step), decision - np.diag(step)])
        value, _ = payoffs_alone(game, _profiles(x, j, moves), np.full(len(moves), j), oracle)
        ahead, behind = np.split(value, 2)
        return np.nan_to_num((ahead - behind) / (2 * step), posinf=0.0, neginf=0.0)

    bounds = list(zip(*box, strict=True))
    minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    return best_action, best, calls
