"""Markets and presets by name, for the command line and market files.

They are named by strings here, so that ``import stackel`` loads no formulation; other packages
add markets through the entry-point group ``stackel.markets``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from stackel.errors import GameError, unknown
from stackel.game.game import Game
from stackel.plugins import Register, load

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
REGISTER = Register("market", GROUP, MARKETS)


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
    "karate": Preset(
        "stackel.formulations.social_graphs:karate", about="followers on Zachary's karate club"
    ),
    "les-miserables": Preset(
        "stackel.formulations.social_graphs:les_miserables",
        about="followers on the characters of Les Misérables",
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


def markets() -> list[str]:
    """All registered markets, built-in ones first."""
    return REGISTER.names()


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
    if ":" in name and name not in MARKETS:
        try:
            found = load(name)
        except Exception as error:  # importing a user's module may raise anything
            raise GameError(
                f"market {name!r} does not load: {type(error).__name__}: {error}; expected "
                "module:Class, with the module on Python's path"
            ) from error
    else:
        found = REGISTER.find(name)
    if not (isinstance(found, type) and issubclass(found, Game)):
        raise GameError(f"market {name!r}: {found!r} is not a subclass of stackel.Game")
    return found


def preset(name: str) -> Game:
    """The game of that name.

    Raises:
        OptionError: there is none.
    """  # noqa: DOC501 - unknown() makes an OptionError
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    where, arguments, _ = PRESETS[name]
    return load(where)(**arguments)
