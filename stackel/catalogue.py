"""Markets and presets by name, for the command line and market files.

They are named by strings here, so that ``import stackel`` loads no formulation; other packages
add markets through the entry-point group ``stackel.markets``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Any, NamedTuple

from stackel.errors import GameError, StackelError, unknown
from stackel.game.game import Game

MARKETS: Mapping[str, str] = {
    "vehicular-twins": "stackel.formulations.vehicular_twins:VehicularTwins",
    "carbon-tax": "stackel.formulations.carbon_tax:CarbonTax",
    "cournot-stackelberg": "stackel.formulations.cournot_stackelberg:CournotStackelberg",
    "murphy-sherali-soyster": ("stackel.formulations.murphy_sherali_soyster:MurphySheraliSoyster"),
    "gnash": "stackel.formulations.murphy_sherali_soyster:Gnash",
    "substitutes": "stackel.formulations.substitutes:Substitutes",
    "henderson-quandt": "stackel.formulations.bilevel:HendersonQuandt",
    "outrata31": "stackel.formulations.bilevel:Outrata31",
    "bard1": "stackel.formulations.bilevel:Bard1",
    "de-silva": "stackel.formulations.bilevel:DeSilva",
    "dempe": "stackel.formulations.bilevel:Dempe",
    "pang-fukushima": "stackel.formulations.macepec:PangFukushima",
    "shared-complementarity": "stackel.formulations.macepec:SharedComplementarity",
}
"""Name to ``module:class``."""

GROUP = "stackel.markets"


class Preset(NamedTuple):
    """A market with its data.

    Attributes:
        where: ``module:callable`` that returns the game.
        arguments: what it is called with.
        about: what it is, in one line.
    """

    where: str
    arguments: Mapping[str, Any] = MappingProxyType({})
    about: str = ""


FIG3 = "stackel.formulations.vehicular_twins:fig3"

PRESETS: Mapping[str, Preset] = {
    "fig3": Preset(FIG3, about="Fig. 3 of the vehicular-twins paper, scaled as published"),
    "fig3-literal": Preset(FIG3, {"scale": "literal"}, "the same, equations as printed"),
    "fig3-delay": Preset(FIG3, {"delay": True}, "the same as fig3, with the delay limit"),
    "karate": Preset("stackel.catalogue:karate", about="followers on Zachary's karate club"),
    "les-miserables": Preset(
        "stackel.catalogue:les_miserables", about="followers on the characters of Les Misérables"
    ),
    "five-firms": Preset(
        "stackel.formulations.murphy_sherali_soyster:five_firms",
        about="Murphy, Sherali and Soyster's oligopoly, the first firm leading",
    ),
    "gnash10": Preset(
        "stackel.formulations.murphy_sherali_soyster:gnash",
        {"instance": "gnash10"},
        "the same as MacMPEC codes it",
    ),
    "c2f2": Preset(
        "stackel.formulations.carbon_tax:c2f2", about="two governments tax two firms each (ZERO)"
    ),
    "simple-blu": Preset(
        "stackel.formulations.carbon_tax:simple_blu", about="one government, one firm (ZERO)"
    ),
    "simple-verde": Preset(
        "stackel.formulations.carbon_tax:simple_verde", about="a gas and a solar firm (ZERO)"
    ),
    "three-buyers": Preset(
        "stackel.formulations.substitutes:three_buyers", about="two goods that replace each other"
    ),
    "cournot-3x5": Preset(
        "stackel.formulations.cournot_stackelberg:equal_firms",
        {"leaders": 3, "followers": 5},
        "three leading and five following firms",
    ),
}


def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {e.name: e for e in metadata.entry_points(group=GROUP)}


def markets() -> list[str]:
    """All registered markets, built-in ones first."""
    return [*MARKETS, *(n for n in _entry_points() if n not in MARKETS)]


def names() -> list[str]:
    """All markets and presets."""
    return [*markets(), *PRESETS]


def market(name: str) -> type[Game]:
    """The market class of that name, or at that ``module:Class``.

    Raises:
        OptionError: there is none of that name.
        GameError: what stands at ``module:Class`` is not a market.
        StackelError: a third party's entry point does not load.
    """
    if name in MARKETS:
        return _load(MARKETS[name])
    if ":" in name:
        try:
            found = _load(name)
        except Exception as error:  # importing a user's module may raise anything
            raise GameError(
                f"market {name!r} does not load: {type(error).__name__}: {error}; expected "
                "module:Class, with the module on Python's path"
            ) from error
    elif name in _entry_points():
        try:
            found = _entry_points()[name].load()
        except Exception as error:
            raise StackelError(
                f"market {name!r} is registered by {_entry_points()[name].value} but does not "
                f"load: {type(error).__name__}: {error}"
            ) from error
    else:
        raise unknown("market", name, markets())
    if not (isinstance(found, type) and issubclass(found, Game)):
        raise GameError(f"market {name!r}: {found!r} is not a subclass of stackel.Game")
    return found


def preset(name: str) -> Game:
    """The game of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    where, arguments, _ = PRESETS[name]
    return _load(where)(**arguments)


def karate() -> Game:
    """The vehicular-twins market on Zachary's karate club, 34 followers."""
    import networkx as nx

    from stackel.formulations.vehicular_twins import on_graph

    return on_graph(nx.karate_club_graph())


def les_miserables() -> Game:
    """The vehicular-twins market on the characters of Les Misérables, 77 followers."""
    import networkx as nx

    from stackel.formulations.vehicular_twins import on_graph

    return on_graph(nx.les_miserables_graph())


def _load(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)
