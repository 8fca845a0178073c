"""Vehicular-twin migration: roadside units sell bandwidth, service providers buy it to migrate.

The market of Kang, Zhang, Yang, Ye and Hossain, "When Metaverses Meet Vehicle Road Cooperation:
Multi-Agent DRL-Based Stackelberg Game for Vehicular Twins Migration". Equation numbers below are
that paper's. Leaders are the resource providers (MRPs), followers the service providers (MSPs).

Where the printed equations cannot be meant as they stand, this file holds:

* (9): the social term leaves out the follower itself, so ties have a zero diagonal.
* Theorem 1 (alpha_i > p_j) does not give existence: purchases are unbounded, and the best replies
  diverge once the spectral radius of diag(1 / (2 beta)) W reaches 1. ``stackel.solve`` checks.
* Section VI-A gives the compute speed f to the MSPs; Section III, used here, to the MRPs.
* (1) with payments at face value (``payment_scale = 1``) makes every leader ask the price cap in
  the paper's settings. The published figures fit ``payment_scale = 15, utility_scale = 100``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import networkx as nx
import numpy as np
import scipy.sparse as sp

from stackel.errors import GameError, OptionError
from stackel.functions import over_followers, over_leaders
from stackel.game.game import Action, Game
from stackel.game.grids import Follower, Leader, Peers, SparseOperator

BANDWIDTH_UNIT = 1e7
"""Purchases are counted in units of 1e7 Hz."""

MEGABYTE = 8e6
"""Bits in the paper's MB."""

SCALES = {"published": (15.0, 100.0), "literal": (1.0, 1.0)}
"""(payment_scale, utility_scale): fitted to the published figures, and as printed."""


@dataclass(frozen=True)
class Radio:
    """The radio link of Section III-B, with the values of Section VI-A.

    Attributes:
        power_dbm: transmitter power rho [dBm].
        gain_db: unit channel power gain h [dB].
        distance: d [m].
        path_loss: exponent epsilon.
        noise_dbm: noise power N_0 [dBm].
    """

    power_dbm: float = 40.0
    gain_db: float = -20.0
    distance: float = 500.0
    path_loss: float = 2.0
    noise_dbm: float = -150.0

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio rho h d^-epsilon / N_0."""
        power = 10 ** ((self.power_dbm - 30) / 10)
        noise = 10 ** ((self.noise_dbm - 30) / 10)
        return power * 10 ** (self.gain_db / 10) * self.distance**-self.path_loss / noise

    @property
    def spectral_efficiency(self) -> float:
        """log2(1 + SNR) [bit/s/Hz]."""
        return math.log2(1 + self.snr)


@dataclass(frozen=True)
class VehicularTwins(Game):
    """The market of Problems 1 and 2. Single numbers broadcast over the players.

    Attributes:
        satisfaction: alpha_i > 0.
        sensitivity: beta_i > 0.
        ties: w_ik = w_ki >= 0, a networkx graph with weights, a scipy.sparse matrix or an array;
            zero diagonal. A single number ties everybody to everybody.
        unit_cost: c_j > 0 [$ per 1e7 Hz].
        price_cap: p_max [$ per 1e7 Hz].
        payment_scale: s, weighs payments against satisfaction in (1); 1 as printed.
        utility_scale: kappa, scales the leaders' reported utility (2); 1 as printed.
        bandwidth_cap: the most that a follower may buy from one leader [1e7 Hz]; none by default.
        twin_size: D_i [bit]. With max_delay it switches the delay limit (6) on.
        max_delay: K_i [s].
        cycles: L_i, re-instantiation work [cycles].
        arrival_rate, service_rate: lambda_j < mu_j of leader j's M/M/1 queue [1/s].
        clock_rate: f_j [cycles/s].
        radio: the link.
    """

    satisfaction: Follower
    sensitivity: Follower
    ties: Peers
    unit_cost: Leader
    price_cap: float = 1.5
    payment_scale: float = 1.0
    utility_scale: float = 1.0
    bandwidth_cap: float | None = None
    twin_size: Follower = None
    max_delay: Follower = None
    cycles: Follower = 5e9
    arrival_rate: Leader = 450.0
    service_rate: Leader = 500.0
    clock_rate: Leader = 15e9
    radio: Radio = field(default_factory=Radio)

    @property
    def leader_action(self) -> Action:
        return Action("price", unit="$ per 1e7 Hz", low=self.unit_cost, high=self.price_cap)

    @property
    def follower_action(self) -> Action:
        cap = math.inf if self.bandwidth_cap is None else self.bandwidth_cap
        return Action("bandwidth", unit="1e7 Hz", low=0.0, high=cap)

    @property
    def has_delay_limit(self) -> bool:
        return self.twin_size is not None

    def pairing(self, x: Any) -> Any:
        """theta_j (..., 1, J), probability that a follower pairs with leader j (Section III-C)."""
        return x**-1 / over_leaders(x**-1)

    def fixed_delay(self) -> np.ndarray:
        """Queueing and compute delay, before any transmission (I, J) [s] (Section III-B)."""
        waiting = self.arrival_rate / (self.service_rate * (self.service_rate - self.arrival_rate))
        return waiting + self.cycles / self.clock_rate

    def delay(self, y: Any) -> Any:
        """T_ij, migration delay (..., I, J) [s] of purchases y (..., I, J) (Section III-B)."""
        rate = BANDWIDTH_UNIT * self.radio.spectral_efficiency  # bit/s for one unit of bandwidth
        return self.twin_size / rate * y**-1 + self.fixed_delay()

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        """U_i of (1), with payments weighed by payment_scale."""
        own = self.satisfaction * y - self.sensitivity * y**2
        social = y * (self.ties @ rivals)
        return over_leaders(self.pairing(x) * (own + social - self.payment_scale * x * y))

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        """The delay limit of (6)."""
        if not self.has_delay_limit:
            return {}
        return {"delay": over_leaders(self.pairing(x) * self.delay(y)) - self.max_delay}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        """V_j of (2), scaled by utility_scale."""
        return self.utility_scale * self.pairing(x) * over_followers(y) * (x - self.unit_cost)

    def validate(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name not in ("ties", "radio") and value is not None:
                self.reject(f.name, np.asarray(value) <= 0, "a positive number")
        self.reject(
            "unit_cost",
            self.unit_cost > self.price_cap,
            f"at most price_cap = {self.price_cap:g}",
            "a leader must be able to ask at least its cost: raise price_cap",
        )
        _check_ties(self.ties)
        if (self.twin_size is None) != (self.max_delay is None):
            missing = "max_delay" if self.max_delay is None else "twin_size"
            raise GameError(
                f"VehicularTwins.{missing} is missing: the delay limit needs both twin_size [bit] "
                "and max_delay [s]; leave both out for a market without it"
            )
        if self.has_delay_limit:
            self._check_delay()

    def _check_delay(self) -> None:
        unstable = self.arrival_rate >= self.service_rate
        if unstable.any():
            j = int(np.argwhere(unstable)[0][1])
            raise GameError(
                f"VehicularTwins.arrival_rate = {self.arrival_rate[0, j]:g}/s at leader {j} "
                f"(counted from 0) is not below its service_rate = {self.service_rate[0, j]:g}/s: "
                "the queue has no steady state; lower arrival_rate or raise service_rate"
            )
        worst = self._worst_fixed_delay()
        late = self.max_delay[:, 0] <= worst
        if late.any():
            i = int(np.argmax(late))
            raise GameError(
                f"VehicularTwins.max_delay = {self.max_delay[i, 0]:g} s at follower {i} (counted "
                f"from 0) is not above its queueing and compute delay, up to {worst[i]:.6g} s over "
                "the leaders' prices: no bandwidth meets it; raise max_delay or clock_rate, or "
                "lower arrival_rate"
            )

    def _worst_fixed_delay(self) -> np.ndarray:
        """The largest average of fixed delays over all prices, (I,) [s].

        Linear-fractional in 1/p_j, it is largest where the slowest ask least, the others the cap.
        """
        times = self.fixed_delay()
        order = np.argsort(-times, axis=1)
        slow = np.take_along_axis(times, order, axis=1)
        heavy = np.broadcast_to(1 / self.unit_cost, times.shape)
        heavy = np.take_along_axis(heavy, order, axis=1)
        worst = np.zeros(len(times))
        for k in range(times.shape[1]):
            weight = np.where(np.arange(times.shape[1]) <= k, heavy, 1 / self.price_cap)
            worst = np.maximum(worst, (weight * slow).sum(1) / weight.sum(1))
        return worst


def _check_ties(ties: Any) -> None:
    matrix = ties.matrix if isinstance(ties, SparseOperator) else ties
    diagonal = matrix.diagonal()
    if diagonal.any():
        i = int(np.flatnonzero(diagonal)[0])
        raise GameError(
            f"VehicularTwins.ties[{i}, {i}] = {diagonal[i]:g}: a follower has no tie to itself; "
            "set the diagonal to zero (remove the graph's self-loops)"
        )
    gap = abs(matrix - matrix.T)
    if gap.max() > 1e-12 * max(1.0, abs(matrix).max()):
        apart = sp.coo_array(gap)
        largest = np.argmax(apart.data)
        i, k = int(apart.row[largest]), int(apart.col[largest])
        raise GameError(
            f"VehicularTwins.ties[{i}, {k}] = {matrix[i, k]:g} but ties[{k}, {i}] = "
            f"{matrix[k, i]:g}: ties are mutual (w_ik = w_ki); symmetrise, e.g. (W + W.T) / 2"
        )
    if matrix.min() < 0:
        raise GameError(
            f"VehicularTwins.ties has the negative weight {matrix.min():g}; expected w_ik >= 0"
        )


Scale = Literal["published", "literal"]


def _scales(scale: str) -> dict[str, Any]:
    if scale not in SCALES:
        raise OptionError(f"unknown scale {scale!r}; expected one of {', '.join(SCALES)}")
    payment, utility = SCALES[scale]
    return {"payment_scale": payment, "utility_scale": utility}


def fig3(scale: Scale = "published", delay: bool = False) -> VehicularTwins:
    """The market of Fig. 3: three followers, two leaders.

    Args:
        scale: see :data:`SCALES`; with ``"literal"`` every leader asks the price cap.
        delay: with the delay limit (6). The paper does not print the twins' sizes and delays of
            this figure; these are values within its ranges, all else as :class:`VehicularTwins` has
            it, and the first follower's limit binds.
    """
    return VehicularTwins(
        satisfaction=[30.0, 25.0, 35.0],
        sensitivity=30.0,
        ties=5.0,
        unit_cost=[0.3, 0.1],
        twin_size=np.array([50, 20, 40]) * MEGABYTE if delay else None,
        max_delay=[2.5, 3.0, 4.0] if delay else None,
        **_scales(scale),
    )


def draw(
    rng: np.random.Generator | int,
    followers: int = 3,
    leaders: int = 2,
    *,
    satisfaction: float = 30.0,
    sensitivity: float = 30.0,
    tie: float = 5.0,
    unit_cost: float = 0.1,
    price_cap: float = 1.5,
    scale: Scale = "published",
    delay: bool = True,
) -> VehicularTwins:
    """A random market with the distributions of Section VI-A.

    Normal draws are repeated until costs, rates, speeds and sensitivities are positive, costs at
    most the cap, queues stable, and fixed delays below what every follower tolerates.

    Args:
        rng: a generator, or a seed.
        followers, leaders: N and M.
        satisfaction, sensitivity, tie, unit_cost: means (standard deviations 1, 1, 1, 0.05).
        price_cap, scale, delay: as in :class:`VehicularTwins` and :func:`fig3`.

    Raises:
        GameError: no players, or a mean so low that 10,000 draws bring none that will do.
    """
    rng = np.random.default_rng(rng)
    for name, number in (("followers", followers), ("leaders", leaders)):
        if number < 1:
            raise GameError(f"draw({name}={number!r}): expected a whole number of at least 1")

    def positive(mean: float, spread: float, size: int, most: float = math.inf) -> np.ndarray:
        values = rng.normal(mean, spread, size)
        for _ in range(10_000):
            bad = (values <= 0) | (values > most)
            if not bad.any():
                return values
            values[bad] = rng.normal(mean, spread, int(bad.sum()))
        raise GameError(f"no positive draw from N({mean:g}, {spread:g}) in 10,000; raise the mean")

    ties = np.triu(positive(tie, 1.0, followers**2).reshape(followers, followers), 1)
    data: dict[str, Any] = {
        "satisfaction": positive(satisfaction, 1.0, followers),
        "sensitivity": positive(sensitivity, 1.0, followers),
        "ties": ties + ties.T,
        "unit_cost": positive(unit_cost, 0.05, leaders, most=price_cap),
        "price_cap": price_cap,
    }
    if delay:
        tolerance = rng.uniform(2.0, 4.0, followers)
        cycles = positive(5e9, 5e8, followers)
        queues = np.array([_draw_queue(rng, cycles, tolerance) for _ in range(leaders)])
        data |= {"max_delay": tolerance, "cycles": cycles}
        data["arrival_rate"], data["service_rate"], data["clock_rate"] = queues.T
        data["twin_size"] = rng.uniform(10.0, 50.0, followers) * MEGABYTE
    return VehicularTwins(**data, **_scales(scale))


def _draw_queue(
    rng: np.random.Generator, cycles: np.ndarray, tolerance: np.ndarray
) -> tuple[float, float, float]:
    """A leader's arrival rate, service rate and speed that every follower can live with."""
    while True:
        arrival, service = rng.normal(450.0, 20.0), rng.normal(500.0, 20.0)
        clock = rng.normal(15e9, 5e9)
        if 0 < arrival < service and clock > 0:
            waiting = arrival / (service * (service - arrival))
            if (waiting + cycles / clock < tolerance).all():
                return arrival, service, clock


def on_graph(
    graph: nx.Graph,
    *,
    influence: float | None = 0.5,
    satisfaction: Any = 30.0,
    sensitivity: Any = 30.0,
    unit_cost: Any = (0.3, 0.1),
    scale: Scale = "published",
    **fields: Any,
) -> VehicularTwins:
    """The market on a social graph: one follower a node, in the graph's own order.

    Args:
        graph: edges with an optional ``weight`` (default 1).
        influence: the spectral radius of diag(1 / (2 beta)) W that the weights are scaled to: how
            strongly followers move each other, below 1 for an equilibrium to exist. None: not.
        satisfaction, sensitivity, unit_cost, scale, **fields: data of :class:`VehicularTwins`.

    Raises:
        GameError: a graph without nodes, a negative influence, or data that make no market.
    """
    from scipy.sparse.linalg import eigsh

    if graph.number_of_nodes() == 0:
        raise GameError("on_graph: the graph has no nodes; expected one for each follower")
    ties: Any = nx.to_scipy_sparse_array(graph, weight="weight", format="csr").astype(float)
    if influence is not None:
        if not influence >= 0:
            raise GameError(f"on_graph(influence={influence!r}): expected a number of at least 0")
        beta = np.broadcast_to(np.asarray(sensitivity, dtype=float).ravel(), (ties.shape[0],))
        root = 1 / np.sqrt(2 * beta)
        similar = (ties * root[:, None]) * root[None, :]
        radius = (
            float(abs(eigsh(similar, k=1, return_eigenvectors=False)[0]))
            if ties.shape[0] > 2
            else float(np.linalg.norm(similar.toarray(), 2))
        )
        ties = ties * (influence / radius) if radius > 0 else ties
    return VehicularTwins(
        satisfaction=satisfaction,
        sensitivity=sensitivity,
        ties=ties,
        unit_cost=unit_cost,
        **_scales(scale),
        **fields,
    )
