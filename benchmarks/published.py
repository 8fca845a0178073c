"""Published equilibria against ours: ``python -m benchmarks.published``.

Every problem whose solution somebody has printed, solved by every backend that accepts it. A
published number counts as reproduced if ours rounds to it; where a publication is off, the number
that its own statement of the problem leads to stands beside it, and a note says why.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

import stackel
from stackel import backend as registry
from stackel.formulations import (
    bilevel,
    carbon_tax,
    cournot_stackelberg,
    macepec,
    murphy_sherali_soyster,
    substitutes,
)

MODELS = ("closed-form", "newton", "admm", "cvxpy", "mpec")
"""Backends that are asked by default; learners approximate and take minutes."""

MACMPEC = "MacMPEC (Leyffer)"
ZERO = "ZERO's tests (Dragotto et al.)"
MSS = "MPECLIB mss (Dirkse)"

Measure = Callable[[stackel.Equilibrium], float]


@dataclass(frozen=True)
class Value:
    """One published number.

    Attributes:
        quantity: what it is.
        published: as printed.
        measure: ours, from an answer.
        corrected: what the problem as stated leads to, where the publication is off.
        ulps: how many units of its last digit it may be off: a half if rounded, one if cut.
    """

    quantity: str
    published: str
    measure: Measure
    corrected: str | None = None
    ulps: float = 0.5

    def reproduced(self, ours: float) -> bool:
        """Whether our number has the digits that are to be expected."""
        text = self.corrected or self.published
        unit = 10.0 ** int(Decimal(text).as_tuple().exponent)
        return abs(ours - float(text)) <= self.ulps * unit * (1 + 1e-9)


@dataclass(frozen=True)
class Case:
    """A problem with its published values.

    Attributes:
        name: what the literature calls it.
        make: the game.
        values: its published numbers.
        source: who printed them.
        note: what to know of them.
        none: why there is no equilibrium, if that is what is published.
        options: of ``solve``.
    """

    name: str
    make: Callable[[], stackel.Game]
    values: tuple[Value, ...]
    source: str
    note: str = ""
    none: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def _x(*where: int) -> Measure:
    return lambda eq: float(eq.leader_actions[where])


def _y(*where: int) -> Measure:
    return lambda eq: float(eq.follower_actions[where])


def _cost(leader: int = 0) -> Measure:
    return lambda eq: -float(eq.leader_payoffs[leader])


def _profit(eq: stackel.Equilibrium) -> float:
    return float(eq.leader_payoffs[0])


def _follower_cost(eq: stackel.Equilibrium) -> float:
    return -float(eq.follower_payoffs[0])


def _price(country: int) -> Measure:
    return lambda eq: float(eq.game.price(eq.follower_actions)[0, country])  # type: ignore[attr-defined]


def _quantities(*printed: str, ulps: float = 0.5) -> tuple[Value, ...]:
    return tuple(Value(f"q{i + 1}", p, _y(i, 0), ulps=ulps) for i, p in enumerate(printed))


def _oligopolies() -> Iterator[Case]:
    for gamma, quantity, own, profit, better in (
        (1.0, "55.5483", "55.5513", "343.3453", None),
        (1.1, "42.5354", "42.5382", "203.1551", None),
        (1.3, "24.1420", "24.1451", "68.1356", "68.1357"),
    ):
        yield Case(
            f"Murphy-Sherali-Soyster gamma={gamma}",
            lambda gamma=gamma: murphy_sherali_soyster.five_firms(gamma),
            (
                Value("q of the leader", quantity, _x(0, 0), corrected=own),
                Value("profit of the leader", profit, _profit, corrected=better),
            ),
            MSS,
            "printed q is 0.003 short of the optimum, which is flat: the profit there is 1e-6 less",
        )
    yield Case(
        "Murphy-Sherali-Soyster, Cournot-Nash",
        lambda: murphy_sherali_soyster.five_firms(1.1),
        (
            Value("q1", "36.9325", _x(0, 0)),
            *(
                Value(f"q{i + 2}", printed, _y(i, 0))
                for i, printed in enumerate(("41.8181", "43.7066", "42.6592", "39.1790"))
            ),
        ),
        "GAMS test library, selkie04",
        "all firms at once: nobody anticipates",
        options={"anticipation": "none"},
    )
    costs = (
        *("-230.823", "-129.912", "-36.9331", "-7.06178", "-0.179046"),
        *("-354.699", "-241.442", "-90.7491", "-25.6982", "-6.11671"),
    )
    for name, cost in zip(murphy_sherali_soyster.GNASH, costs, strict=True):
        yield Case(
            name,
            lambda name=name: murphy_sherali_soyster.gnash(name),
            (Value("leader's objective", cost, _cost()),),
            MACMPEC,
            "as coded: the followers' marginal cost is linear, unlike Murphy-Sherali-Soyster's",
        )


def _bilevel() -> Iterator[Case]:
    yield Case(
        "Henderson-Quandt",
        bilevel.HendersonQuandt,
        (
            Value("leader's objective", "-3266.67", _cost()),
            Value("follower's objective", "-711.11", _follower_cost),
        ),
        "MacMPEC stackelberg1, BOLIB",
    )
    yield Case(
        "Outrata 3.1",
        bilevel.Outrata31,
        (
            Value("leader's objective", "3.2077", _cost()),
            Value("follower's objective", "-20.531", _follower_cost, corrected="-20.530"),
        ),
        "MacMPEC outrata31; BOLIB",
        "MacMPEC prints 3.2077, BOLIB 3.208 and, for the follower, -20.531; there it has -20.5296",
    )
    yield Case(
        "Bard 1",
        bilevel.Bard1,
        (
            Value("x", "1", _x(0, 0)),
            Value("y", "0", _y(0, 0)),
            Value("leader's objective", "17", _cost()),
            Value("follower's objective", "1", _follower_cost),
        ),
        "MacMPEC bard1, BOLIB, BASBLib",
        "the follower's answer is a single point at the optimum",
    )
    yield Case(
        "De Silva",
        bilevel.DeSilva,
        (
            *(Value(f"x{k + 1}", "0.5", _x(k, 0)) for k in range(2)),
            *(Value(f"y{k + 1}", "0.5", _y(0, k)) for k in range(2)),
            Value("leader's objective", "-1", _cost()),
            Value("follower's objective", "0", _follower_cost),
        ),
        "MacMPEC desilva, BOLIB, BASBLib",
    )
    yield Case(
        "Dempe",
        bilevel.Dempe,
        (Value("leader's objective", "28.25", _cost()),),
        "MacMPEC dempe",
        "an infimum: at x = 0 the follower has no multiplier (Slater's condition fails)",
    )


def _taxes() -> Iterator[Case]:
    yield Case(
        "tax C2F2",
        carbon_tax.c2f2,
        (
            *_quantities("100", "40", "48.57", "71.43"),
            Value("tax on coal", "78", _x(1, 0)),
            Value("tax on gas, country 2", "61.43", _x(2, 1)),
            Value("tax on solar", "0", _x(3, 1)),
            Value("price, country 1", "230", _price(0)),
            Value("price, country 2", "240", _price(1)),
        ),
        ZERO,
    )
    yield Case(
        "tax SimpleBlu, cap 250",
        carbon_tax.simple_blu,
        (Value("q", "66.666", _y(0, 0), ulps=1.0), Value("tax", "250", _x(0, 0))),
        ZERO,
        "printed digits are cut, not rounded",
    )
    yield Case(
        "tax SimpleBlu, cap 20",
        lambda: carbon_tax.simple_blu(tax_cap=20.0),
        (Value("q", "100", _y(0, 0)), Value("emissions", "600", _cost())),
        ZERO,
        "published tax 20; every tax from 0 to 20 leaves the firm at its capacity",
    )
    yield Case(
        "tax SimpleBlu, ceiling 299",
        lambda: carbon_tax.simple_blu(tax_cap=None, price_ceiling=299.0),
        (Value("q", "20", _y(0, 0)), Value("tax", "278", _x(0, 0))),
        ZERO,
    )
    yield Case(
        "tax SimpleBlu, ceiling 80",
        lambda: carbon_tax.simple_blu(price_ceiling=80.0),
        (),
        ZERO,
        none="infeasible: even untaxed, the firm at its capacity leaves the price at 295",
    )
    yield Case(
        "tax SimpleVerde",
        carbon_tax.simple_verde,
        (
            Value("q of gas", "100", _y(0, 0)),
            Value("q of solar", "54.999", _y(1, 0), ulps=1.1),
            Value("tax on solar", "100", _x(1, 0)),
        ),
        ZERO,
        "the test's 54.999 stands for 55; gas is at its capacity at every tax up to 100",
    )


def _families() -> Iterator[Case]:
    for leaders, followers in ((1, 1), (3, 5), (5, 2)):
        game = cournot_stackelberg.equal_firms(leaders, followers)
        x, y = game.closed_form()
        yield Case(
            f"Cournot-Stackelberg {leaders} x {followers}",
            lambda game=game: game,
            (
                Value("q of a leader", f"{x[0, 0]:.6f}", _x(0, 0)),
                Value("q of a follower", f"{y[0, 0]:.6f}", _y(0, 0)),
            ),
            "Sherali 1984; DeMiguel and Xu 2009",
            "closed form",
        )
    yield Case(
        "substitutes",
        substitutes.three_buyers,
        (Value("p1", "3.861111", _x(0, 0)), Value("p2", "4.138889", _x(0, 1))),
        "first-order conditions",
        "closed form",
    )
    yield Case(
        "MacEPEC ex-001",
        macepec.SharedComplementarity,
        (
            Value("x1", "-1", _x(0, 0)),
            Value("x2", "-1", _x(0, 1)),
            Value("y", "2", _y(0, 0)),
        ),
        "MacEPEC (Leyffer and Munson)",
    )
    yield Case(
        "Pang-Fukushima",
        macepec.PangFukushima,
        (),
        "Pang and Fukushima 2005; MacEPEC ex-4",
        none="no equilibrium in pure actions",
    )


CASES: tuple[Case, ...] = (*_oligopolies(), *_bilevel(), *_taxes(), *_families())


def _row(backend: str, eq: stackel.Equilibrium, value: Value, seconds: float) -> tuple[str, ...]:
    ours = value.measure(eq)
    away = abs(ours - float(value.published)) / max(abs(float(value.published)), 1.0)
    verdict = eq.certificate.verdict if eq.certificate is not None else eq.status.name.lower()
    mark = "" if value.reproduced(ours) else " [red]differs[/]"
    return backend, f"{ours:.8g}{mark}", f"{away:.1e}", verdict, f"{seconds:.2f}"


def _rows(case: Case, backend: str, limit: float) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """(quantity, published, corrected, what the backend has), one for each value."""
    began = time.perf_counter()
    try:
        game = case.make()
        if registry.reasons(backend, game):
            return []
        eq = stackel.solve(game, backend, throw=False, time_limit=limit, **case.options)
    except stackel.Refusal as refusal:  # some conditions show at the answer only
        return [("", "", "", (backend, f"declines: {'; '.join(refusal.reasons)}", "", "", ""))]
    except Exception as error:  # one backend's failure must not lose the others' rows
        took = f"{time.perf_counter() - began:.2f}"
        told = f"[red]{type(error).__name__}[/]: {str(error).splitlines()[0]}"
        return [("", "", "", (backend, told, "", "", took))]
    took = time.perf_counter() - began
    if case.none:
        found = "[red]an equilibrium[/]" if eq.is_equilibrium else eq.status.name.lower()
        verdict = eq.certificate.verdict if eq.certificate is not None else ""
        return [("equilibrium", "none", "", (backend, found, "", verdict, f"{took:.2f}"))]
    return [
        (v.quantity, v.published, v.corrected or "", _row(backend, eq, v, took))
        for v in case.values
    ]


def table(
    cases: Sequence[Case], backends: Sequence[str], limit: float = 60.0
) -> tuple[Table, list[str]]:
    """The table, a block for each case, and the notes that its numbers in brackets point to."""
    out = Table(title="Published equilibria and ours", pad_edge=False)
    for name in ("problem", "quantity", "published", "corrected", "backend"):
        out.add_column(name, overflow="fold")
    for name in ("ours", "relative", "verdict", "seconds"):
        out.add_column(name, overflow="fold", justify="right")
    out.add_column("source", overflow="fold")
    notes: list[str] = []
    for case in track(cases, "solving", transient=True):
        told = "; ".join(part for part in (case.note, case.none) if part)
        if told and told not in notes:
            notes.append(told)
        title = f"{case.name} ({notes.index(told) + 1})" if told else case.name
        rows = [row for backend in backends for row in _rows(case, backend, limit)]
        order = {value.quantity: k for k, value in enumerate(case.values)}
        rows.sort(key=lambda row: order.get(row[0], -1))
        last, source = None, case.source
        for quantity, published, corrected, ours in rows:
            shown = (quantity, published, corrected) if quantity != last else ("", "", "")
            out.add_row(title, *shown, *ours, source)
            title, source, last = "", "", quantity
        out.add_section()
    return out, notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.published")
    parser.add_argument("--backends", nargs="+", help="default: all that compute equilibria")
    parser.add_argument("--only", default="", help="problems whose name contains this")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds for each solve")
    asked = parser.parse_args()
    known = stackel.backend.names()
    backends = asked.backends or [name for name in MODELS if name in known]
    cases = [case for case in CASES if asked.only.lower() in case.name.lower()]
    console = Console()
    shown, notes = table(cases, backends, asked.time_limit)
    console.print(shown)
    for k, note in enumerate(notes):
        console.print(f"({k + 1}) {note}", highlight=False)


if __name__ == "__main__":
    main()
