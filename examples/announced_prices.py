"""What do learners converge to if followers see only past prices, as the paper prints it?

    python examples/announced_prices.py [PICTURE.png] [--full]

Announced prices make a round a Stackelberg game, past ones a simultaneous game, in which leaders
that cannot be answered ask the cap. ``--full`` trains longer, and with the paper's settings too.
"""

import sys
from pathlib import Path

import numpy as np
import xarray as xr

import stackel
from stackel import plots
from stackel.formulations.vehicular_twins import fig3

SETTINGS = {
    "announced prices": {"observe": "announced"},
    "past prices": {"observe": "history"},
    "the paper's settings": {"preset": "paper", "episodes": 400},
}


def prices(options: dict, episodes: int) -> xr.DataArray:
    """What the leaders charge, over the training from 0 to 100 % of it."""
    options = {**options, "episodes": options.get("episodes", episodes)}
    eq = stackel.solve(fig3(), "malppo", seed=0, certificate=False, **options)
    print(f"{options}: {eq.leader_actions[0].round(3)} after {eq.stats['seconds']:.0f} s")
    path = eq.history.filter(like="leader_actions").to_numpy()
    coords = {"training": np.linspace(0, 100, len(path)), "leader": [1, 2]}
    price = xr.DataArray(path, coords, dims=list(coords), name="price")
    price.attrs = {"long_name": "price", "units": "$ per 1e7 Hz"}
    return price.interp(training=np.linspace(0, 100, 60))


def main(picture: Path, full: bool) -> None:
    chosen = {k: v for k, v in SETTINGS.items() if full or "preset" not in v}
    curves = [prices(options, 150 if full else 40) for options in chosen.values()]
    data = xr.concat(curves, xr.Variable("followers see", list(chosen))).to_dataset()
    data["training"].attrs = {"long_name": "share of the training", "units": "%"}
    figure = plots.sweep(data, x="training", y="price", hue="leader", panel="followers see")
    equilibrium = stackel.solve(fig3()).leader_actions[0]
    for axes in figure.axes:
        for price in (*equilibrium, fig3().price_cap):
            axes.axhline(price, color="0.5", linewidth=0.7, linestyle=":")
    figure.savefig(picture)
    print(f"equilibrium: {equilibrium.round(3)}, cap {fig3().price_cap}; picture: {picture}")


if __name__ == "__main__":
    given = [a for a in sys.argv[1:] if a != "--full"]
    main(Path(given[0] if given else "announced_prices.png"), "--full" in sys.argv)
