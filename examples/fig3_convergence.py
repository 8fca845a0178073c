"""How do the methods get to an equilibrium, and how far is it from the paper's? Its Fig. 3.

    python examples/fig3_convergence.py [--out DIR] [--full] [--no-learner]

ADMM and Newton's method start at cost, on the market at the means of its draws. What followers buy
at each iteration's prices, and what everybody gains, stands beside the numbers that the paper
prints and beside the mean and spread over random draws of sensitivities and ties.
"""

from dataclasses import replace

import pandas as pd
import xarray as xr

import stackel
from stackel import plots
from stackel.examples import reproduction
from stackel.formulations import vehicular_twins as twins

COSTS = [0.3, 0.1]
PATH = ", by iteration"


def market(seed, scale="published"):
    drawn = twins.draw(seed, followers=3, leaders=2, scale=scale, delay=False)
    return replace(drawn, satisfaction=[30.0, 25.0, 35.0], unit_cost=COSTS)


def run(full=False, learner=True):
    found = reproduction.answers(market, {}, by_player=True, full=full)
    for backend in ("admm", "newton"):
        found[backend + PATH] = reproduction.path(stackel.solve(twins.fig3(), backend, start=COSTS))
    if learner:
        trained = stackel.solve(twins.fig3(), "malppo", seed=0, episodes=400 if full else 100)
        found["malppo" + PATH] = reproduction.path(trained)
        found["malppo"] = found["malppo" + PATH].isel(iteration=-1)
    return found


def draw(answers):
    paths = {k.removesuffix(PATH): v for k, v in answers.items() if k.endswith(PATH)}
    data = xr.concat(paths.values(), xr.Variable("method", list(paths)), join="outer")
    lengths = pd.DataFrame(
        {"method": list(paths), "n": [p.sizes["iteration"] for p in paths.values()]}
    )
    after = [lengths.assign(iteration=share * lengths["n"]) for share in (1.15, 1.3)]
    return plots.sweep(
        data,
        x="iteration",
        y=["price", "total_demand", "leader_utility", "follower_utility"],
        hue=["leader", "follower"],
        panel="method",
        marks={
            "printed": after[0].merge(reproduction.marks("fig3"), how="cross"),
            "mean over draws": after[1].merge(reproduction.expected(answers["admm"]), how="cross"),
        },
        columns=4,
    )


if __name__ == "__main__":
    print(reproduction.script("fig3", run, draw))
