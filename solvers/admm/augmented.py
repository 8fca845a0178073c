"""One pass of the inner loop: every follower's augmented Lagrangian, maximised by all at once.

With the others' actions r, multipliers lam and mu and penalties rho and sigma held, follower i
minimises

    -payoff_i(y_i; r) + sum (max(0, lam + rho c_i)^2 - lam^2) / (2 rho)
        + sum max(0, mu + sigma (G + A_i (y_i - r_i)))^2 / (2 sigma) + |y_i - r_i|^2_P / 2

over its bounds. G are the shared limits and A_i their gradients at r; the proximal matrix P keeps
simultaneous moves from overshooting: tau times the own curvature, and for a shared limit of N
followers N - 1 times its own share sigma A_i A_i' (Deng, Lai, Peng, Yin, J. Sci. Comput. 71, 2017,
theorem 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stackel.calculus import matrices
from stackel.calculus.calculus import Calculus
from stackel.followers.complementarity import TO_THE_EDGE
from stackel.followers.systems import shared_gradients
from stackel.types import Array

HALVINGS = 30


def own_diagonal(H: Array) -> Array:
    """Positive own curvatures (..., I, n)."""
    h = np.abs(np.diagonal(H, axis1=-2, axis2=-1))
    return np.where(h > 1e-12, h, 1.0)


def squared(C: Array, h: Array) -> Array:
    """Squared lengths of limits' gradients (..., q, p) in the metric 1/h."""
    s = (C * C / h[..., None, :]).sum(-1)
    return np.where(s > 0, s, 1.0)


def off_limit(multipliers: Array, c: Array, C: Array, h: Array) -> Array:
    """How far y is from where limits and their multipliers are complementary, as lengths (..., q).

    Args:
        multipliers, c: the multipliers and the limits' values (..., q).
        C: the limits' gradients (..., q, p).
        h: the metric (..., p).
    """
    reach = np.sqrt(((C / h[..., None, :]) ** 2).sum(-1))  # how far y moves for a unit of each
    return np.abs(np.minimum(multipliers, -c / squared(C, h))) * reach


@dataclass
class Box:
    """Bounds on the actions, and where the formulas blow up at them."""

    low: Array
    high: Array
    open_low: Array
    open_high: Array

    def room(self, y: Array, move: Array) -> Array:
        """The longest step (..., I) that stays off the bounds where formulas blow up."""
        with np.errstate(all="ignore"):
            down = np.where(self.open_low & (move < 0), TO_THE_EDGE * (self.low - y) / move, np.inf)
            up = np.where(self.open_high & (move > 0), TO_THE_EDGE * (self.high - y) / move, np.inf)
        return np.minimum(1.0, np.minimum(down, up).min(-1))


@dataclass
class State:
    """The inner loop's variables, batch axis first.

    Attributes:
        y: actions (B, I, n).
        lam, mu: multipliers (B, I, m), (B, k).
        kappa: penalties relative to curvature over squared gradients (B,).
        tau: proximal weights relative to the own curvature (B,).
        moved: the last change of y (B, I, n).
    """

    y: Array
    lam: Array
    mu: Array
    kappa: Array
    tau: Array
    moved: Array

    def take(self, batch: Array) -> State:
        """Some elements."""
        return State(*(v[batch] for v in vars(self).values()))

    def put(self, batch: Array, other: State) -> None:
        """Replace some elements.

        Args:
            batch: which (b,).
            other: by what.
        """
        for name, value in vars(other).items():
            getattr(self, name)[batch] = value


class Augmented:
    """The followers' augmented problems of one pass; batch axis first.

    Args:
        calculus: the game's formulas.
        x: leader actions (B, d, J).
        state: where the pass starts, which is also the proximal centre.
        rivals: what each follower takes the others to do (B, I, n).
        box: the bounds.
    """

    def __init__(self, calculus: Calculus, x: Array, state: State, rivals: Array, box: Box) -> None:
        y, lam, mu, kappa = state.y, state.lam, state.mu, state.kappa
        self.calculus, self.x, self.centre, self.rivals = calculus, x, y, rivals
        self.lam, self.mu, self.box = lam, mu, box
        H, C = calculus.own_blocks(y, rivals, x, lam, mu)
        h = own_diagonal(H)
        self.rho = kappa[:, None, None] / squared(C, h)
        B, I, n = y.shape
        self.no_mu = np.zeros((B, calculus.k))
        self.proximal = (state.tau[:, None, None] * h)[..., None] * np.eye(n)
        self.sigma = self.no_mu
        if calculus.k:
            A = shared_gradients(calculus, y, y, x)
            self.G = calculus.system(y, y, x, lam, mu)[2]
            self.sigma = kappa[:, None] / squared(A, h.reshape(B, -1))
            self.A = np.moveaxis(A.reshape(B, calculus.k, I, n), 1, 2)  # (B, I, k, n)
            sharers = (np.abs(self.A) > 0).any(-1).sum(1)  # (B, k)
            pressed = self.mu + self.sigma * self.G > 0
            weight = np.where(pressed, self.sigma * (sharers - 1), 0.0)[:, None, :, None]
            self.proximal = self.proximal + np.swapaxes(self.A, -1, -2) @ (weight * self.A)

    def _pushed(self, y: Array) -> tuple[Array, Array]:
        """Augmented multipliers of the own limits (B, I, m) and the shared ones (B, I, k)."""
        calculus = self.calculus
        own = self.lam
        if calculus.m:
            c = calculus.system(y, self.rivals, self.x, self.lam, self.no_mu)[1]
            own = np.maximum(0.0, self.lam + self.rho * c)
        if not calculus.k:
            return own, np.zeros((*y.shape[:2], 0))
        foreseen = self.G[:, None] + (self.A @ (y - self.centre)[..., None])[..., 0]
        return own, np.maximum(0.0, self.mu[:, None] + self.sigma[:, None] * foreseen)

    def loss(self, y: Array) -> Array:
        """What each follower minimises (B, I)."""
        out = -self.calculus.follower_payoffs(y, self.rivals, self.x)
        own, shared = self._pushed(y)
        if self.calculus.m:
            out = out + ((own**2 - self.lam**2) / (2 * self.rho)).sum(-1)
        if self.calculus.k:
            out = out + (shared**2 / (2 * self.sigma[:, None])).sum(-1)
        move = y - self.centre
        out = out + (move * (self.proximal @ move[..., None])[..., 0]).sum(-1) / 2
        return np.where(np.isfinite(out), out, np.inf)

    def slope(self, y: Array) -> tuple[Array, Array]:
        """Its gradient (B, I, n) and generalised Hessian (B, I, n, n)."""
        own, shared = self._pushed(y)
        arguments = (y, self.rivals, self.x, own, self.no_mu)
        g = self.calculus.system(*arguments)[0]
        H, C = self.calculus.own_blocks(*arguments)
        bent = np.where(own > 0, self.rho, 0.0)[..., None]
        H = H + np.swapaxes(C, -1, -2) @ (bent * C)
        if self.calculus.k:
            g = g + (shared[..., None, :] @ self.A)[..., 0, :]
            bent = np.where(shared > 0, self.sigma[:, None], 0.0)[..., None]
            H = H + np.swapaxes(self.A, -1, -2) @ (bent * self.A)
        g = g + (self.proximal @ (y - self.centre)[..., None])[..., 0]
        return g, H + self.proximal

    def argmin(self, steps: int) -> Array:
        """Every follower's minimiser, by projected Newton with a line search of its own."""
        y = self.centre
        n = y.shape[-1]
        moving = np.ones(y.shape[:2], dtype=bool)
        for _ in range(steps):
            g, H = self.slope(y)
            fixed = ((y <= self.box.low) & (g > 0)) | ((y >= self.box.high) & (g < 0))
            unit = fixed[..., None] | fixed[..., None, :]
            right = np.where(fixed, 0.0, -g)
            move = matrices.solve(np.where(unit, np.eye(n), H), right[..., None])[..., 0]
            before, y = y, np.where(moving[..., None], self._line_search(y, move, g), y)
            moving &= np.abs(y - before).max(-1) > 1e-14 * (1 + np.abs(y).max(-1))
            if not moving.any():
                break
        return y

    def _line_search(self, y: Array, move: Array, g: Array) -> Array:
        step = self.box.room(y, move)
        before = self.loss(y)
        noise = 1e-13 * (1 + np.abs(before))
        best, pending = y, np.ones(y.shape[:2], dtype=bool)
        for _ in range(HALVINGS):
            trial = np.clip(y + step[..., None] * move, self.box.low, self.box.high)
            gain = np.minimum((g * (trial - y)).sum(-1), 0.0)
            good = self.loss(trial) <= before + 1e-4 * gain + noise
            best = np.where((pending & good)[..., None], trial, best)
            pending = pending & ~good
            if not pending.any():
                break
            step = np.where(pending, step / 2, step)
        return best
