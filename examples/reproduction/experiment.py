"""An experiment of the paper: the same sweep by two backends and by the literal equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel.calculus import trace
from stackel.errors import GameError, OptionError
from stackel.examples.reproduction.published import QUANTITIES, SETTINGS, Printed, marks, printed
from stackel.followers import response
from stackel.game.game import Game
from stackel.plugins import missing_packages

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from stackel.results.equilibrium import Equilibrium

SEEDS, MANY_SEEDS = 20, 200
"""Random draws of a market at every point of a grid: by default, and in the long version."""

EPISODES, MANY_EPISODES = 60, 400
"""Episodes that a learner is trained for. The few suffice to be a few per cent off."""

AVERAGES = ("demand", "follower_utility", "price", "leader_utility", "welfare")
"""What the paper shows of a whole market, in the order of its panels."""

Answers = dict[str, "xr.Dataset"]
"""Datasets by what found them: ``"admm"``, ``"closed-form"``, ``"literal"`` (the equations as
printed, in closed form) and, where asked for, ``"malppo"``."""


def answers(
    market: Callable[..., Game],
    grid: Mapping[str, Sequence[Any]],
    *,
    by_player: bool = False,
    full: bool = False,
    learner: Mapping[str, Sequence[Any]] | None = None,
) -> Answers:
    """Solve a grid of random markets by ADMM, in closed form, and in the literal scale.

    Every point of the grid sees the same draws (common random numbers): the seeds 0, 1, ...

    Args:
        market: called with a point of the grid, ``seed`` and ``scale``.
        grid: the settings.
        by_player: keep players apart in what is measured, see :func:`quantities`.
        full: ten times as many draws.
        learner: the points at which the learner is trained, on the first draw (three in the long
            version); None leaves it out.

    Raises:
        OptionError: a package of :func:`stackel.sweep` is missing, or ``market`` does not take
            these settings.
    """
    from stackel import sweep

    def solved(
        backend: str, points: Mapping[str, Sequence[Any]], scale: str = "published", **options: Any
    ) -> xr.Dataset:
        data = sweep(market, {**points, "scale": [scale]}, backend=backend, **options)
        return quantities(data.isel(scale=0, drop=True), by_player)

    seeds = MANY_SEEDS if full else SEEDS
    found = {
        "admm": solved("admm", grid, seeds=seeds),
        "closed-form": solved("closed-form", grid, seeds=seeds),
        "literal": solved("closed-form", grid, "literal", seeds=seeds),
    }
    if learner is not None:
        seeds, episodes = (3, MANY_EPISODES) if full else (1, EPISODES)
        found["malppo"] = solved(
            "malppo", learner, seeds=seeds, executor="process", episodes=episodes
        )
    return found


def trainable(learner: bool | None) -> bool:
    """Whether to train learners: as asked, by default if torch is installed.

    Args:
        learner: what was asked for; None: nothing.

    Raises:
        OptionError: asked for, but torch is missing.
    """
    lacking = missing_packages({"torch": "learn"})
    if learner and lacking:
        raise OptionError(f"training learners {lacking[0]}")
    return not lacking if learner is None else learner


def quantities(data: xr.Dataset, by_player: bool = False) -> xr.Dataset:
    """What the paper plots, added to a sweep's data.

    Averages over players: ``price``, ``demand`` (a follower's purchase from one leader),
    ``leader_utility``, ``follower_utility``; or, by player: ``price`` and ``sales`` of each
    leader, ``total_demand`` of each follower, everybody's utility. And ``welfare``, the sum of all
    utilities. Markets smaller than the largest are padded with NaN, which counts for nothing.

    Args:
        data: what :func:`stackel.sweep` returned for markets of vehicular twins.
        by_player: keep players apart.

    Returns:
        the data with these variables, prices in [$ per 1e7 Hz] and amounts in [1e7 Hz].
    """
    bought = data["follower_actions"]
    if by_player:
        added = {
            "price": data["leader_actions"],
            "total_demand": bought.sum("leader", min_count=1),
            "sales": bought.sum("follower", min_count=1),
            "leader_utility": data["leader_payoffs"],
            "follower_utility": data["follower_payoffs"],
        }
    else:
        added = {
            "price": data["leader_actions"].mean("leader"),
            "demand": bought.mean(["leader", "follower"]),
            "leader_utility": data["leader_payoffs"].mean("leader"),
            "follower_utility": data["follower_payoffs"].mean("follower"),
        }
    out = data.assign(added)
    for name, (label, unit) in (QUANTITIES | SETTINGS).items():
        if name in out.variables:
            out[name].attrs = {"long_name": label, "units": unit}
    return out


def agreement(found: Answers) -> float:
    """Largest difference of any action between ADMM and the closed form, relative to 1 + it.

    Args:
        found: with ``"admm"`` and ``"closed-form"``.
    """
    actions = ["leader_actions", "follower_actions"]
    admm, closed = found["admm"][actions], found["closed-form"][actions]
    return float((abs(admm - closed) / (1 + abs(closed))).max().to_array().max())


def certified(found: Answers) -> tuple[int, int]:
    """How many of ADMM's answers are certified equilibria, and how many there are.

    Args:
        found: with ``"admm"``.
    """
    held = found["admm"]["certified"]
    return int(held.sum()), held.size


@dataclass(frozen=True)
class Compared:
    """A printed number beside ours.

    Attributes:
        printed: the number.
        mean, std: of ours, over the draws.
        literal: the mean with the equations as printed, where they were solved.
        learned: the learner's mean at this setting, if it was trained there.
    """

    printed: Printed
    mean: float
    std: float
    literal: float | None = None
    learned: float | None = None

    @property
    def error(self) -> float:
        """Ours relative to the printed one, less 1."""
        return self.mean / self.printed.value - 1


def compared(figure: str, found: Answers) -> list[Compared]:
    """Every number that the paper prints of a figure, beside ours.

    Args:
        figure: its name, ``"fig5"``.
        found: what its script found; ours are ADMM's, or else the first.
    """
    main = found["admm"] if "admm" in found else next(iter(found.values()))

    def mean(name: str, p: Printed) -> float | None:
        own = found[name][p.quantity] if name in found else None
        if own is None or any(value not in own[k].values for k, value in p.at.items()):
            return None
        return float(own.sel(dict(p.at)).mean())

    out = []
    for p in printed(figure):
        ours = main[p.quantity].sel(dict(p.at))
        others = mean("literal", p), mean("malppo", p)
        out.append(Compared(p, float(ours.mean()), float(ours.std()), *others))
    return out


def tidy(figure: str, found: Answers) -> pd.DataFrame:
    """One row for each point, quantity and source: mean, standard deviation, draws, printed.

    Args:
        figure: its name, ``"fig5"``.
        found: what its script found.
    """
    import pandas as pd

    tables = []
    for source, data in found.items():
        for name, own in _drawn(data).items():
            parts = {"mean": own.mean("seed"), "std": own.std("seed"), "draws": own.count("seed")}
            tables.append(_table(parts).assign(source=source, quantity=name))
    out = pd.concat(tables, ignore_index=True)
    out = out[out["draws"] > 0]
    printed_here = [{**p.at, "quantity": p.quantity, "printed": p.value} for p in printed(figure)]
    if printed_here:
        keys = sorted({k for row in printed_here for k in row} - {"printed"})
        out = out.merge(pd.DataFrame(printed_here), how="left", on=keys)
    first = ["source", "quantity"]
    last = [c for c in ("mean", "std", "draws", "printed") if c in out]
    return out[[*first, *(c for c in out if c not in (*first, *last)), *last]]


def expected(data: xr.Dataset) -> pd.DataFrame:
    """Mean and spread over the draws, as points for :func:`stackel.plots.sweep`.

    Args:
        data: what :func:`quantities` returned, with the dimension ``seed``.
    """
    import pandas as pd

    tables = [
        _table({name: own.mean("seed"), f"{name}_spread": own.std("seed")})
        for name, own in _drawn(data).items()
    ]
    return pd.concat(tables, ignore_index=True)


def _drawn(data: xr.Dataset) -> dict[str, xr.DataArray]:
    """What was measured over random draws."""
    return {n: data[n] for n in QUANTITIES if n in data and "seed" in data[n].dims}


def _table(parts: Mapping[str, xr.DataArray]) -> pd.DataFrame:
    """Arrays over the same settings as columns, a row for each point; of numbers a single row."""
    import xarray as xr

    points = xr.Dataset(parts).expand_dims("point")  # a table needs one dimension at least
    return points.to_dataframe().reset_index().drop(columns="point")


def learned(found: Answers) -> dict[str, pd.DataFrame]:
    """The learner's points and, since it is trained on few draws, the equilibrium of the same.

    Args:
        found: with ``"admm"`` and, if it was trained, ``"malppo"``.

    Returns:
        marks for :func:`stackel.plots.sweep`; none without a learner.
    """
    if "malppo" not in found:
        return {}
    data = found["malppo"]
    same = found["admm"].sel({d: data[d].values for d in data["welfare"].dims})
    return {"malppo": expected(data), "equilibrium of its draws": expected(same)}


def draw_averages(
    figure: str, found: Answers, x: str, hue: str | None = None, y: Sequence[str] = AVERAGES
) -> Figure:
    """Averages over players against a setting, with what is printed and what was learned.

    Args:
        figure: its name, ``"fig5"``.
        found: what :func:`answers` returned; drawn is ``"admm"``.
        x: the setting along the axis.
        hue: a setting with a line for each of its values.
        y: quantities, a panel each.

    Raises:
        ImportError: matplotlib is missing.
    """
    from stackel import plots

    points = {"printed": marks(figure)} if printed(figure) else {}
    return plots.sweep(found["admm"], x, y, hue=hue, marks={**points, **learned(found)})


def path(eq: Equilibrium) -> xr.Dataset:
    """Where a method went: :func:`quantities` by player along ``iteration``.

    A learner's purchases are its history's; for other methods followers are settled at each
    iteration's leader actions.

    Args:
        eq: an answer with a history.

    Raises:
        GameError: the history shows no actions of the leaders.
    """
    import xarray as xr

    game, history = eq.game, eq.history
    J, I = game.n_leaders, game.n_followers
    own = [f"leader_actions[{j}]" for j in range(J)]  # a learner's columns
    names = own if own[0] in history else [f"{game.leader_action.name}[{j}]" for j in range(J)]
    if not set(names) <= set(history):
        raise GameError(
            f"the history of {game} by {eq.backend} has no columns {', '.join(names)}; expected "
            "a leader's action in each row"
        )
    rows = history.dropna(subset=names)
    x = rows[names].to_numpy(dtype=float)[:, None, :]
    if names is own:
        bought = [f"follower_actions[{k}]" for k in range(I * J)]
        y = rows[bought].to_numpy(dtype=float).reshape(-1, I, J)
    else:
        y = response.settle(game, x).y
    along = "iteration"
    data = xr.Dataset(
        {
            "leader_actions": ((along, "leader"), x[:, 0]),
            "follower_actions": ((along, "follower", "leader"), y),
            "leader_payoffs": ((along, "leader"), trace(game).leader_values(x, y)[0]),
            "follower_payoffs": ((along, "follower"), trace(game).follower_payoffs(y, y, x)),
        },
        coords={
            along: np.arange(1, len(x) + 1),
            "leader": np.arange(J),
            "follower": np.arange(I),
        },
    )
    return quantities(data, by_player=True)
