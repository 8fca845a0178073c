"""Saving and loading: nothing changes on the way, and what cannot be read says why."""

import json
import math
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import networkx as nx
import numpy as np
import pytest

import stackel
from stackel import Action, Equilibrium, Follower, Game, GameError, Leader, Pairs, Peers, Status
from stackel.followers.response import settle
from stackel.formulations.vehicular_twins import Radio, fig3, on_graph
from stackel.functions import log, over_followers, over_leaders
from stackel.game.grids import SparseOperator

FIG3 = np.array([[0.95618652, 0.81081216]])


class Season(Enum):
    DRY = "dry"
    WET = "wet"


@dataclass(frozen=True)
class Road:
    length: float  # [km]
    lanes: tuple[int, ...] = (2, 2)


@dataclass(frozen=True)
class Pricing(Game):
    """A market with a field of every kind."""

    value: Follower  # [$]
    unit_cost: Leader  # [$]
    weight: Pairs = 1.0
    ties: Peers | None = None
    cap: float = math.inf  # [$]
    floor: float | None = None  # [$]
    label: str = "Größe ≤ 1"
    road: Road = field(default_factory=lambda: Road(math.inf))
    season: Season = Season.DRY
    open_days: tuple[int, ...] = (1, 2)
    is_toll: bool = True

    @property
    def leader_action(self) -> Action:
        return Action("price", unit="$", low=self.unit_cost, high=4.0)

    @property
    def follower_action(self) -> Action:
        return Action("purchase")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.weight * self.value * log(1 + y) - x * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


def answer(game: Game, x: np.ndarray, certificate: bool = True, **more: Any) -> Equilibrium:
    y = settle(game, x).y
    found = stackel.certify(game, x, y, points=9) if certificate else None
    return Equilibrium(game, "test", x, y, Status.CONVERGED, certificate=found, **more)


def at(game: Game, price: float) -> Equilibrium:
    """Any point, quickly."""
    x, y = np.full(game.leader_shape, price), np.zeros(game.follower_shape)
    return Equilibrium(game, "test", x, y, Status.FAILED)


def round_trip(eq: Equilibrium, folder: Path) -> Equilibrium:
    path = folder / "answer.json"
    assert eq.save(path) == path
    return Equilibrium.load(path)


def assert_same(first: Any, second: Any, at: str = "") -> None:
    """Equal to the last bit, of the same types, all the way down."""
    if isinstance(first, np.generic):  # a NumPy scalar comes back as Python's
        first = first.item()
    if isinstance(first, Mapping):
        first = dict(first)
    assert type(first) is type(second), at
    if isinstance(first, np.ndarray):
        assert first.dtype == second.dtype, at
        assert first.shape == second.shape, at
        assert first.tobytes() == second.tobytes(), at
        assert first.flags.f_contiguous == second.flags.f_contiguous, at
    elif isinstance(first, SparseOperator):
        for part in ("data", "indices", "indptr"):
            assert_same(getattr(first.matrix, part), getattr(second.matrix, part), f"{at}.{part}")
        assert first.shape == second.shape, at
    elif is_dataclass(first):
        for f in fields(first):
            assert_same(getattr(first, f.name), getattr(second, f.name), f"{at}.{f.name}")
    elif isinstance(first, dict):
        assert list(first) == list(second), at
        for key in first:
            assert_same(first[key], second[key], f"{at}[{key!r}]")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), at
        for k, pair in enumerate(zip(first, second, strict=True)):
            assert_same(*pair, f"{at}[{k}]")
    elif isinstance(first, float):
        assert first.hex() == second.hex(), at  # tells -0.0 from 0.0, and takes nan as nan
    else:
        assert first == second, at


@pytest.mark.parametrize("delay", [False, True])
def test_round_trip(tmp_path: Path, delay: bool) -> None:
    eq = answer(fig3(delay=delay), FIG3, detail="all’s well", anticipation="own_response")
    again = round_trip(eq, tmp_path)
    assert_same(eq, again)
    assert again.game.radio == Radio()  # type: ignore[attr-defined]
    assert (again.game.max_delay is None) is not delay  # type: ignore[attr-defined]


def test_the_loaded_game_computes_the_same(tmp_path: Path) -> None:
    eq = answer(fig3(delay=True), FIG3)
    again = round_trip(eq, tmp_path)
    assert_same(eq.leader_payoffs, again.leader_payoffs)
    assert_same(eq.follower_payoffs, again.follower_payoffs)
    assert again.to_frame().equals(eq.to_frame())
    assert_same(eq.certificate, again.certify(points=9).certificate)


def test_sparse_ties(tmp_path: Path) -> None:
    graph = nx.gnm_random_graph(200, 400, seed=3)
    rng = np.random.default_rng(0)
    nx.set_edge_attributes(graph, {e: rng.uniform(0.5, 2.0) for e in graph.edges}, "weight")
    eq = answer(on_graph(graph), FIG3)
    assert isinstance(eq.game.ties, SparseOperator)  # type: ignore[attr-defined]
    again = round_trip(eq, tmp_path)
    assert_same(eq, again)
    assert_same(eq.follower_payoffs, again.follower_payoffs)


def test_sparse_rows_out_of_order_stay_so(tmp_path: Path) -> None:
    matrix = nx.to_scipy_sparse_array(nx.gnm_random_graph(200, 400, seed=3), dtype=float)
    for row in range(200):  # the other way round: sums in a product may round differently
        part = slice(*matrix.indptr[row : row + 2])
        matrix.indices[part] = matrix.indices[part][::-1].copy()
    game = Pricing(value=np.ones(200), unit_cost=0.1, ties=matrix)
    assert not game.ties.matrix.has_sorted_indices
    eq = at(game, 1.0)
    assert_same(eq, round_trip(eq, tmp_path))


def test_dense_ties_of_a_table_keep_their_memory_order(tmp_path: Path) -> None:
    ties = np.asfortranarray(np.triu(np.arange(9.0).reshape(3, 3), 1))
    eq = answer(replace(fig3(), ties=ties + ties.T), FIG3)
    eq = replace(eq, multipliers={"delay": np.asfortranarray(np.arange(6.0).reshape(3, 2))})
    assert_same(eq, round_trip(eq, tmp_path))


def test_a_market_of_ones_own(tmp_path: Path) -> None:
    game = Pricing(
        value=[3.0, 4.0],
        unit_cost=0.1,
        weight=[[1.0, 0.5, 1 / 3], [0.1, 0.2, 0.3]],
        road=Road(math.inf, (3, 1)),
        season=Season.WET,
    )
    eq = answer(game, np.array([[1.0, 1.5, 2.0]]))
    again = round_trip(eq, tmp_path)
    assert_same(eq, again)
    assert again.game.season is Season.WET  # type: ignore[attr-defined]
    assert again.game.road.lanes == (3, 1)  # type: ignore[attr-defined]


def test_history_and_stats(tmp_path: Path) -> None:
    records = (
        {"seconds": 0.1, "residual": math.inf, "price": np.array([0.5, -0.0]), "stage": "outer"},
        {"seconds": 0.2, "residual": np.float64(1e-300), "price": np.array([math.nan, -math.inf])},
        {"seconds": 0.3, "count": np.int64(2**62), "accepted": np.bool_(True), "note": None},
    )
    stats = {
        "seconds": 0.1 + 0.2,
        "tiny": 5e-324,
        "options": {"penalty": None, "adaptive": True, "$weights": (1, (2.5, "x"), [])},
        "looks like a mark": {"$float": "inf"},
        "levels": {1: "a", (2, 3): {"b": [1, 2]}},
        "cycle": [[0.5, math.nan], [math.inf]],
        "counts": np.arange(6, dtype=np.int32).reshape(2, 3),
        "flags": np.array([[True], [False]]),
        "single": np.array([0.1, 1e-45], dtype=np.float32),
        "none": np.zeros((0, 3)),
        "scalar": np.array(2.5),
        "status": Status.CYCLE,
    }
    multipliers = {"delay": np.array([[0.0], [1 / 3], [math.pi]])}
    eq = answer(fig3(), FIG3, records=records, stats=stats, multipliers=multipliers)
    again = round_trip(eq, tmp_path)
    assert_same(eq, again)
    assert again.history.equals(eq.history)


def test_without_a_certificate(tmp_path: Path) -> None:
    again = round_trip(answer(fig3(), FIG3, certificate=False), tmp_path)
    assert again.certificate is None


def test_a_refuted_point(tmp_path: Path) -> None:
    eq = answer(fig3(), np.array([[0.5, 0.5]]))
    assert eq.certificate is not None
    assert eq.certificate.deviation is not None
    assert_same(eq, round_trip(eq, tmp_path))


def test_the_file_is_strict_json_with_a_format(tmp_path: Path) -> None:
    eq = answer(fig3(), FIG3, records=({"gap": math.inf},), stats={"a": math.nan})
    text = eq.save(tmp_path / "a.json").read_text(encoding="utf-8")

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    head = json.loads(text, parse_constant=refuse)["stackel"]
    assert head == {"format": 2, "version": stackel.__version__}


# -- writing ---------------------------------------------------------------------------------------


def test_an_interrupted_save_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = answer(fig3(), FIG3, certificate=False).save(tmp_path / "a.json")
    before = path.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stackel.results.saved.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        answer(fig3(delay=True), FIG3, certificate=False).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_save_that_fails_writes_nothing(tmp_path: Path) -> None:
    eq = answer(fig3(), FIG3, certificate=False, stats={"options": {"model": object()}})
    with pytest.raises(GameError, match=r"equilibrium\.stats\.options\.model .* builtins\.object"):
        eq.save(tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_a_save_replaces_the_file_and_follows_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "a.json"
    link = tmp_path / "a.json"
    link.symlink_to(real)
    answer(fig3(), FIG3, certificate=False).save(real)
    answer(fig3(delay=True), FIG3, certificate=False).save(link)
    assert link.is_symlink()
    assert Equilibrium.load(real).game.max_delay is not None  # type: ignore[attr-defined]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; create it"):
        answer(fig3(), FIG3, certificate=False).save(tmp_path / "nowhere" / "a.json")


def test_a_class_inside_a_function_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Hidden(Pricing):
        pass

    eq = answer(Hidden(value=3.0, unit_cost=0.1), np.array([[1.0]]), certificate=False)
    with pytest.raises(GameError, match=r"Hidden is defined inside a function.*top level"):
        eq.save(tmp_path / "a.json")


def test_a_dataclass_of_a_stranger_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = module("stranger", monkeypatch, Thing=dataclass(type("Thing", (), {})))
    eq = answer(fig3(), FIG3, certificate=False, stats={"thing": stranger.Thing()})
    with pytest.raises(GameError, match=r"stats\.thing cannot be saved: stranger:Thing is neither"):
        eq.save(tmp_path / "a.json")


# -- reading ---------------------------------------------------------------------------------------


def module(name: str, monkeypatch: pytest.MonkeyPatch, **names: Any) -> Any:
    """A module that exists for one test, with the given classes as its own."""
    made = ModuleType(name)
    for key, value in names.items():
        if isinstance(value, type):
            value.__module__, value.__qualname__ = name, key
        setattr(made, key, value)
    monkeypatch.setitem(sys.modules, name, made)
    return made


def renamed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> Path:
    """A file whose market is of a class in a module of that name."""
    kind: Any = dataclass(frozen=True)(type("Market", (Pricing,), {}))
    made = module(name, monkeypatch, Market=kind)
    eq = answer(made.Market(value=3.0, unit_cost=0.1), np.array([[1.0]]), certificate=False)
    return eq.save(tmp_path / "a.json")


def edited(path: Path, *steps: str, value: Any) -> Path:
    """A saved file with one value, ``steps`` deep, replaced."""
    document = json.loads(path.read_text(encoding="utf-8"))
    place = document
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = value
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return answer(fig3(), FIG3).save(tmp_path / "a.json")


BODY = ("equilibrium", "fields")


def test_every_truncation_is_noticed(saved: Path) -> None:
    text = saved.read_text(encoding="utf-8").rstrip()
    for size in range(0, len(text), 97):
        saved.write_text(text[:size], encoding="utf-8")
        with pytest.raises(GameError, match=r"a\.json is not JSON .*cut short"):
            Equilibrium.load(saved)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 100_000, b"price: 3"])
def test_not_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(GameError, match=r"a\.json is not JSON"):
        Equilibrium.load(path)


@pytest.mark.parametrize(
    "content", ["3", "null", "[]", "{}", '{"stackel": 1}', '{"nodes": [], "links": []}']
)
def test_foreign_json(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(GameError, match=r"a\.json: no saved equilibrium .*Equilibrium\.save"):
        Equilibrium.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.json"):
        Equilibrium.load(tmp_path / "a.json")


def test_a_newer_format(saved: Path) -> None:
    edited(saved, "stackel", value={"format": 3, "version": "9.1"})
    with pytest.raises(GameError, match=r"format 3 by stackel 9\.1.* up to 2: upgrade"):
        Equilibrium.load(saved)


def test_a_class_that_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = renamed(monkeypatch, tmp_path, "markets")
    assert type(Equilibrium.load(path).game).__module__ == "markets"
    del sys.modules["markets"].Market
    with pytest.raises(GameError, match=r"import it as markets:Market before loading"):
        Equilibrium.load(path)
    del sys.modules["markets"]
    with pytest.raises(GameError, match=r"a\.json: .*No module.*import it as markets:Market"):
        Equilibrium.load(path)


def test_a_class_of_a_notebook_needs_the_notebook(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = renamed(monkeypatch, tmp_path, "__main__")
    assert type(Equilibrium.load(path).game).__name__ == "Market"
    monkeypatch.undo()
    with pytest.raises(GameError, match="of the script or notebook that saved it"):
        Equilibrium.load(path)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("test_serialize:Road", r"a Road; expected a subclass of stackel\.Game"),
        ("test_serialize:Season", r"a Season; expected a subclass of stackel\.Game"),
        ("stackel.errors:GameError", "not a dataclass or an enum of that name"),
        ("stackel:Game", "not a dataclass or an enum of that name"),  # it is stackel.game:Game
        ("os:system", "not a dataclass or an enum of that name"),
        ("os", "cannot be imported"),
        ("", "cannot be imported"),
    ],
)
def test_only_a_game_may_be_the_market(saved: Path, name: str, why: str) -> None:
    edited(saved, *BODY, "game", "$dataclass", value=name)
    with pytest.raises(GameError, match=rf"a\.json: .*{why}"):
        Equilibrium.load(saved)


@pytest.mark.parametrize("name", ["test_serialize:Road", "subprocess:Popen", "os:system"])
def test_only_its_own_dataclasses_are_built(saved: Path, name: str) -> None:
    radio = {"$dataclass": name, "fields": {"length": 1.0}}
    edited(saved, *BODY, "game", "fields", "radio", value=radio)
    with pytest.raises(GameError, match=f"{name} is neither of stackel nor"):
        Equilibrium.load(saved)


def test_a_field_that_the_class_no_longer_has(saved: Path) -> None:
    edited(saved, *BODY, "game", "fields", "toll", value=1.0)
    with pytest.raises(GameError, match=r"VehicularTwins does not take .*toll.*has changed since"):
        Equilibrium.load(saved)


def test_the_market_is_checked_by_its_constructor(saved: Path) -> None:
    edited(saved, *BODY, "game", "fields", "price_cap", value=0.2)
    with pytest.raises(GameError, match=r"a\.json: VehicularTwins\.unit_cost = 0\.3 at leader 0"):
        Equilibrium.load(saved)


def test_actions_that_do_not_fit_the_market(saved: Path) -> None:
    short = {"$array": [0.5], "dtype": "float64", "shape": [1, 1]}
    edited(saved, *BODY, "leader_actions", value=short)
    with pytest.raises(GameError, match=r"actions of shapes \(\(1, 1\), \(3, 2\)\); Vehicular"):
        Equilibrium.load(saved)


@pytest.mark.parametrize(
    "damage",
    [
        {"$array": [0.5], "dtype": "float64", "shape": [1, 2]},
        {"$array": [0.5, "x"], "dtype": "float64", "shape": [1, 2]},
        {"$array": [0.5, 0.5]},
        [[0.5, 0.5]],
        None,
    ],
)
def test_damaged_values(saved: Path, damage: Any) -> None:
    edited(saved, *BODY, "leader_actions", value=damage)
    with pytest.raises(GameError, match=r"a\.json is damaged"):
        Equilibrium.load(saved)


def test_a_sparse_index_out_of_range_is_damage(tmp_path: Path) -> None:
    game = Pricing(value=np.ones(200), unit_cost=0.1, ties=nx.cycle_graph(200))
    path = at(game, 1.0).save(tmp_path / "a.json")
    ties = json.loads(path.read_text(encoding="utf-8"))
    for step in (*BODY, "game", "fields", "ties"):
        ties = ties[step]
    ties["$sparse"]["indices"]["$array"][0] = 10**6
    edited(path, *BODY, "game", "fields", "ties", value=ties)
    with pytest.raises(GameError, match="damaged"):
        Equilibrium.load(path)


def test_a_file_keeps_its_mode_and_what_is_no_file_stays(tmp_path: Path) -> None:
    eq = stackel.solve(fig3(), "newton")
    path = tmp_path / "fig3.json"
    eq.save(path)
    path.chmod(0o600)
    eq.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for taken in (pipe, tmp_path):
        with pytest.raises(FileExistsError, match="no file that can be replaced"):
            eq.save(taken)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
