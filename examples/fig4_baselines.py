"""Which learner earns most, and how fast does each settle? The paper's Fig. 4.

    python examples/fig4_baselines.py [--out DIR] [--full] [--no-learner]

By default two seeds and a fifth of the training, ``--full`` trains five seeds to the end. The
dashed line is the total reward in the equilibrium. Rewards add up what everybody gains; players who
act at random can let others gain more than the equilibrium does.
"""

import numpy as np
import xarray as xr

import stackel
from stackel import plots
from stackel.examples import reproduction
from stackel.formulations.vehicular_twins import fig3
from stackel.learners import solve_seeds

ALGORITHMS = ["malppo", "mappo", "maa2c", "malppo-rf", "malppo-rl", "random"]
SETTLED = 0.02  # the reward has settled when it stays this close to where it ends


def rewards(algorithm, seeds, episodes):
    runs = solve_seeds(fig3(), algorithm, seeds=seeds, episodes=episodes, certificate=False)
    return [run.history["total_reward"].to_numpy() for run in runs]


def run(full=False, learner=True):
    seeds, episodes = (5, 400) if full else (2, 60)
    reward = xr.DataArray(
        np.array([rewards(name, seeds, episodes) for name in ALGORITHMS]),
        dims=("algorithm", "seed", "iteration"),
        coords={"algorithm": ALGORITHMS, "iteration": np.arange(1, episodes + 1)},
        attrs={"long_name": "total reward"},
    )
    smooth = reward.rolling(iteration=max(2, episodes // 40), min_periods=1).mean()
    final = smooth.isel(iteration=-1)
    away = abs(smooth / final - 1) > SETTLED
    others = final.sel(algorithm=ALGORITHMS[1:]).rename(algorithm="baseline")
    data = {
        "reward": smooth,
        "gain": 100 * (final.sel(algorithm="malppo", drop=True) / others - 1),
        "iterations": (away * smooth["iteration"]).max("iteration") + 1,
    }
    return {"learners": xr.Dataset(data).assign_attrs(equilibrium=stackel.solve(fig3()).welfare)}


def draw(answers):
    data = answers["learners"]
    figure = plots.sweep(data, x="iteration", y="reward", hue="algorithm")
    figure.axes[0].axhline(data.attrs["equilibrium"], color="0.35", linewidth=0.9, linestyle="--")
    return figure


if __name__ == "__main__":
    print(reproduction.script("fig4", run, draw))
