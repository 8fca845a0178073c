"""Pictures of sweeps: lines are means over draws, bands their spread, marks where they belong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stackel import OptionError, plots

mpl = pytest.importorskip("matplotlib")
xr = pytest.importorskip("xarray")


@pytest.fixture
def data() -> Any:
    """Two leaders' prices and everybody's welfare, over three costs, two ties and ten draws."""
    rng = np.random.default_rng(0)
    dims = ("cost", "tie", "seed")
    return xr.Dataset(
        {
            "price": ((*dims, "leader"), rng.normal(size=(3, 2, 10, 2)), {"units": "$ per $"}),
            "welfare": (dims, rng.normal(size=(3, 2, 10)), {"long_name": "social welfare"}),
        },
        coords={"cost": [0.1, 0.2, 0.4], "tie": ["weak", "strong"], "leader": [0, 1]},
    )


def lines(ax: Any) -> dict[str, np.ndarray]:
    """The curves of an axes by colour; marks, which have no line style, left out."""
    drawn = [line for line in ax.lines if line.get_linestyle() != "None"]
    return {line.get_color(): np.asarray(line.get_ydata()) for line in drawn}


def legend(figure: Any) -> list[str]:
    boxes = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    return [text.get_text() for box in boxes for text in box.get_texts()]


def band(ax: Any, k: int) -> tuple[float, float]:
    """Where the k-th band begins and ends at its first point."""
    vertices = ax.collections[k].get_paths()[0].vertices
    here = vertices[np.isclose(vertices[:, 0], vertices[:, 0].min()), 1]
    return float(here.min()), float(here.max())


def test_lines_are_means_and_bands_their_spread(data: Any) -> None:
    weak = data.sel(tie="weak", drop=True)
    figure = plots.sweep(weak, "cost", "price", hue="leader")
    (ax,) = figure.axes
    drawn = list(lines(ax).values())
    mean, std = weak["price"].mean("seed"), weak["price"].std("seed")
    for j in (0, 1):
        np.testing.assert_allclose(drawn[j], mean.sel(leader=j))
        ends = band(ax, j)
        centre, width = float(mean.sel(leader=j)[0]), float(std.sel(leader=j)[0])
        assert ends == pytest.approx((centre - width, centre + width))
    assert ax.get_ylabel() == "price [$ per $]"
    assert legend(figure) == ["leader 0", "leader 1"]
    assert list(ax.get_xticks()) == [0.1, 0.2, 0.4]


def test_quantiles_and_no_band(data: Any) -> None:
    weak = data.sel(tie="weak", drop=True)
    (ax,) = plots.sweep(weak, "cost", "welfare", spread="quantile").axes
    assert band(ax, 0) == pytest.approx(tuple(np.quantile(weak["welfare"][0], [0.1, 0.9])))
    (ax,) = plots.sweep(weak, "cost", "welfare", spread=None).axes
    assert not ax.collections
    (ax,) = plots.sweep(weak.mean("seed"), "cost", "welfare").axes
    assert not ax.collections


def test_players_are_averaged_unless_asked_for(data: Any) -> None:
    (ax,) = plots.sweep(data.sel(tie="weak"), "cost", "price").axes
    (drawn,) = lines(ax).values()
    np.testing.assert_allclose(drawn, data["price"].sel(tie="weak").mean(["seed", "leader"]))


def test_panels_for_variables_and_options(data: Any) -> None:
    figure = plots.sweep(data, "cost", ["price", "welfare"], hue="leader", panel="tie", columns=2)
    assert [ax.get_title() for ax in figure.axes] == ["weak", "weak", "strong", "strong"]
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert labels == ["price [$ per $]", "social welfare"] * 2
    assert [len(lines(ax)) for ax in figure.axes] == [2, 1, 2, 1]  # welfare has no leader


def test_words_along_the_axis(data: Any) -> None:
    (ax,) = plots.sweep(data.sel(cost=0.1), "tie", "welfare").axes
    assert [t.get_text() for t in ax.get_xticklabels()] == ["weak", "strong"]


def test_lines_differ_without_colours(data: Any) -> None:
    (ax,) = plots.sweep(data.sel(tie="weak"), "cost", "price", hue="leader").axes
    first, second = ax.lines
    assert first.get_marker() != second.get_marker()
    assert first.get_linestyle() != second.get_linestyle()


def test_marks_in_the_colour_of_their_line(data: Any) -> None:
    table = pd.DataFrame({"cost": [0.1, 0.4], "leader": [1, 0], "price": [0.5, np.nan]})
    weak = data.sel(tie="weak")
    figure = plots.sweep(weak, "cost", "price", hue="leader", marks={"printed": table})
    (ax,) = figure.axes
    (mark,) = [line for line in ax.lines if line.get_linestyle() == "None"]
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (0.1, 0.5)
    assert mark.get_markerfacecolor() == list(lines(ax))[1]
    assert mark.get_marker() == "X"
    assert legend(figure) == ["leader 0", "leader 1", "printed"]


def test_markets_without_a_player_leave_gaps(data: Any) -> None:
    price = data["price"].sel(tie="weak", drop=True).copy()
    price[0, :, 1] = np.nan  # the first market has one leader only
    (ax,) = plots.sweep(price.to_dataset(), "cost", "price", hue="leader").axes
    assert np.isnan(list(lines(ax).values())[1][0])
    (ax,) = plots.sweep(price.to_dataset(), "cost", "price").axes
    (drawn,) = lines(ax).values()
    np.testing.assert_allclose(drawn[0], price[0, :, 0].mean())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"x": "price"}, "x = 'price' is no dimension"),
        ({"hue": "loader"}, "hue = 'loader'"),
        ({"y": "prize"}, "y = 'prize' is no variable"),
        ({"spread": "range"}, "expected 'std', 'quantile' or None"),
        ({}, r"price also depends on tie.*data.sel\(tie=...\)"),
    ],
)
def test_what_does_not_fit_is_named(data: Any, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        plots.sweep(**{"data": data, "x": "cost", "y": "price", **wrong})
