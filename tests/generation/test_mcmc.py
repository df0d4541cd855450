"""Chains of moves towards targets: the law that they leave as it is, who moves and how long, and what it costs."""

import csv
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generating import generate_files
from methane import METHANE
from rdkit import Chem

import moldiff
from moldiff.arrays import MolArrays, RawSample
from moldiff.choices import Sampler
from moldiff.errors import MoldiffError
from moldiff.generation import mcmc
from moldiff.generation.generate import generation_run
from moldiff.generation.generate_run import CLOSE
from moldiff.generation.mcmc import MOVED, WEIGHT, TargetChains, accepts
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.options.generation_options import GenerationOptions
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.score import ScoreOptions
from moldiff.generation.options.steering_options import SteeringOptions
from moldiff.generation.renoise import SettledDraw
from moldiff.generation.target_report import TargetTracker
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling import microbatches
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.sampling.solvers import SOLVERS
from moldiff.status import Status

CORRELATION = 0.6  # of a toy molecule before and after a move
WANTED = 1.2


def at(value: float) -> MolArrays:
    """Return a toy molecule: one number."""
    return MolArrays(np.full((1, 3), value), METHANE.atom_type[:1], METHANE.charge[:1], METHANE.bonds[:0])


def value_of(draw: RawSample) -> float:
    assert draw.arrays is not None
    return float(draw.arrays.pos[0, 0])


class ToyWalks:
    """The exact move of a toy whose plain law p is N(0, 1): noised and denoised, x' = c x + sqrt(1 - c^2) n."""

    evaluations = 6

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.calls = seed, list[int]()

    def run(self, draws: Sequence[RawSample], walk: int, keys: Sequence[int]) -> Iterator[RawSample]:
        self.calls.append(len(draws))
        for draw, key in zip(draws, keys, strict=True):
            noise = np.random.default_rng([self.seed, walk, key]).standard_normal()
            new = CORRELATION * value_of(draw) + math.sqrt(1 - CORRELATION**2) * noise
            yield RawSample(draw.number, at(new), -1)


def judged(draw: RawSample) -> MoleculeResult:
    """Toy molecules beyond 2.5 are invalid, those below -2.5 withheld."""
    value = value_of(draw)
    if value > 2.5:
        return MoleculeResult(draw.number, Status.INVALID, "valence")
    if value < -2.5:
        return MoleculeResult(draw.number, Status.WITHHELD, "hazard: a test")
    return MoleculeResult(draw.number, Status.VALID, properties={"value": value})


def distances(result: MoleculeResult) -> tuple[float, ...]:
    return (abs(result.properties["value"] - WANTED),)


@pytest.fixture
def chains(tiny_model: MoleculeModel) -> Callable[..., TargetChains]:
    def make(most: int, seed: int = 0, close: float = CLOSE) -> TargetChains:
        sampler = MoleculeSampler(tiny_model, SOLVERS["ddpm"], 10, seed)
        made = TargetChains(sampler, lambda draws: map(judged, draws), distances, [close], most)
        made._walks = ToyWalks(seed)  # type: ignore[assignment]
        return made

    return make


def drawn(values: Sequence[float], first: int = 0) -> list[SettledDraw]:
    draws = [RawSample(number, at(value), -1) for number, value in enumerate(values, start=first)]
    return [SettledDraw(draw, judged(draw)) for draw in draws]


def run(made: TargetChains, settled: list[SettledDraw]) -> list[SettledDraw]:
    return list(made.run(iter(settled), lambda moves: None))


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_moves_leave_the_reweighted_law_as_it_is(
    chains: Callable[..., TargetChains], monkeypatch: pytest.MonkeyPatch, weight: float
) -> None:
    """p(x) exp(-W |x - wanted|) on -2.5 .. 2.5, integrated; the chains end only when all moves are made."""
    monkeypatch.setattr(mcmc, "accepts", lambda old, new, uniform: accepts(old, new, uniform, weight))
    starts = np.random.default_rng(7).standard_normal(2500)
    starts = starts[np.abs(starts) < 2.5]  # what is withheld or invalid is another matter
    ends = np.array([value_of(one.draw) for one in run(chains(40, close=-1.0), drawn(starts.tolist()))])
    x = np.linspace(-2.5, 2.5, 20001)
    law = np.exp(-0.5 * x**2 - weight * np.abs(x - WANTED))
    law /= law.sum()
    for power in (1, 2):
        expected = float((law * x**power).sum())
        error = ends.std() * (2 if power == 2 else 1) / math.sqrt(len(ends))
        assert abs(float((ends**power).mean()) - expected) < 4 * error


def test_chains_end_close_to_what_is_wanted_and_begin_at_plain_draws(chains: Callable[..., TargetChains]) -> None:
    starts = np.random.default_rng(3).standard_normal(300)
    none, few, many = (run(chains(most), drawn(starts.tolist())) for most in (0, 5, 40))
    assert [value_of(one.draw) for one in none] == starts.tolist()
    misses = [np.median([abs(value_of(one.draw) - WANTED) for one in some]) for some in (none, few, many)]
    assert misses[0] > 2 * misses[1] > 4 * misses[2]
    assert misses[2] < CLOSE


def test_a_chain_ends_as_soon_as_its_target_is_met(chains: Callable[..., TargetChains]) -> None:
    met, missed, withheld = run(chains(3), drawn([WANTED + 0.05, -1.0, -2.7]))
    assert met.result.facts == {MOVED: 0}
    assert 0 < int(str(missed.result.facts[MOVED])) <= 3
    assert withheld.result.status == Status.WITHHELD
    assert withheld.result.facts == {MOVED: 0}, "what is withheld stays so"


def test_into_a_range_a_draw_moves_all_the_way(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[tuple[float, ...]]()

    def none(self: TargetChains, settled: Any, tell: Any) -> Iterator[SettledDraw]:
        seen.append(self._close)
        yield from settled

    monkeypatch.setattr(TargetChains, "run", none)
    for targets in ("logp=2", "logp=1..2", "logp<2", ["logp=2", "tpsa<50"]):
        moldiff.generate(1, model="qm9", n_atoms=5, evaluations=4, targets=targets)
    assert seen == [(CLOSE,), (0.0,), (0.0,), (CLOSE, 0.0)]


def test_what_is_not_valid_moves_until_it_is(chains: Callable[..., TargetChains]) -> None:
    settled = run(chains(8), drawn([2.6] * 40))
    assert all(one.result.status == Status.VALID for one in settled)
    assert max(value_of(one.draw) for one in settled) <= 2.5, "no chain goes on from what is invalid"


def test_a_result_is_that_of_its_own_draw_whatever_the_company(
    chains: Callable[..., TargetChains], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = np.random.default_rng(5).standard_normal(60).tolist()
    together = run(chains(6), drawn(starts))
    assert [one.draw.number for one in together] == list(range(60))
    monkeypatch.setattr(microbatches, "SIDE_BY_SIDE", 7)
    windowed = run(chains(6), drawn(starts))
    alone = [run(chains(6), drawn([value], first=number))[0] for number, value in enumerate(starts)]
    for other in (windowed, alone):
        assert [value_of(one.draw) for one in other] == [value_of(one.draw) for one in together]
        assert [one.result for one in other] == [one.result for one in together]
    other_seed = run(chains(6, seed=1), drawn(starts))
    assert [value_of(one.draw) for one in other_seed] != [value_of(one.draw) for one in together]


def test_a_window_is_kept_full_and_progress_reaches_its_end(
    chains: Callable[..., TargetChains], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microbatches, "SIDE_BY_SIDE", 8)
    made, told = chains(5), list[int]()
    settled = list(made.run(iter(drawn(np.random.default_rng(5).standard_normal(50).tolist())), told.append))
    walks: Any = made._walks
    assert max(walks.calls) == 8
    assert sum(walks.calls) == sum(int(str(one.result.facts[MOVED])) for one in settled)
    assert told == sorted(told)
    assert told[-1] == 50 * 5, "moves that are not needed count as made"


def test_chains_that_end_early_wait_for_their_turn(chains: Callable[..., TargetChains]) -> None:
    made = chains(50)
    numbers = []
    for one in made.run(iter(drawn([-2.0, WANTED, WANTED])), lambda moves: None):
        numbers.append(one.draw.number)
        assert all(number > one.draw.number for number in made.finished)
    assert numbers == [0, 1, 2]


@pytest.mark.parametrize(
    ("old", "new", "uniform", "is_accepted"),
    [
        (1.0, 0.5, 0.999999, True),
        (0.5, 0.5, 0.999999, True),
        (0.5, 0.6, math.exp(-WEIGHT * 0.1) * 0.99, True),
        (0.5, 0.6, math.exp(-WEIGHT * 0.1) * 1.01, False),
        (math.inf, 3.0, 0.999999, True),
        (0.5, math.inf, 1e-12, False),
        (math.inf, math.inf, 1e-12, False),
    ],
)
def test_the_rule_of_metropolis(old: float, new: float, uniform: float, is_accepted: bool) -> None:
    assert accepts(old, new, uniform) is is_accepted


def test_coins_are_fair(chains: Callable[..., TargetChains], monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that takes every move with a probability of 0.3 takes that share of them."""
    seen = list[float]()

    def refuses(old: float, new: float, uniform: float) -> bool:
        seen.append(uniform)
        return False

    monkeypatch.setattr(mcmc, "accepts", refuses)
    run(chains(20, close=-1.0), drawn([0.0] * 100))
    assert len(seen) == 2000
    assert len(set(seen)) > 1990, "one of 2^23 numbers each"
    assert abs(float(np.mean(np.array(seen) < 0.3)) - 0.3) < 4 * math.sqrt(0.21 / 2000)


# ---- the whole command


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def improving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw is methane; it is nearer to its target after each move, and close after three."""
    monkeypatch.setattr(
        MoleculeSampler,
        "draw",
        lambda self, first, count: (RawSample(k, METHANE, -1) for k in range(first, first + count)),
    )
    made = itertools.count()

    def run(self: PartialWalks, draws: list[RawSample], walk: int, keys: Sequence[int]) -> Iterator[RawSample]:
        yield from draws

    def nearer(self: TargetTracker, result: MoleculeResult) -> tuple[float, ...]:
        return (1 / (1 + next(made)),)

    monkeypatch.setattr(PartialWalks, "run", run)
    monkeypatch.setattr(TargetTracker, "distances", nearer)


def test_moves_are_told_counted_and_paid_for(improving: None, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    summary = generate_files(out, n=1, model=str(packed), evaluations=10, grid="uniform", targets=["logp=2"])
    (row,) = rows_of(out.with_suffix(".csv"))
    assert row[MOVED] == "9"  # 1 / (1 + 9) = 0.1 is close
    assert row["evaluations"] == str(10 + 9 * 6)
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert record["options"]["target_method"] == record["target_method"] == "mcmc"
    assert record["options"]["target_moves"] == 10
    assert record["network_evaluations_per_molecule"] == 64
    assert summary.lines()[-1].endswith("0 of 1 draws met the target by mcmc: 64.0 network evaluations per draw")


def test_the_number_of_moves_is_the_users(improving: None, packed: Path) -> None:
    result = moldiff.generate(1, model=packed, evaluations=4, targets="logp=2", target_moves=4)
    assert result.table[MOVED].tolist() == [4]


@pytest.mark.parametrize(
    ("targets", "moves"),
    [
        ("logp=2", 10),
        ("logp=1..2", 24),
        (["logp<2", "tpsa>20"], 24),
        (["logp=2", "tpsa<50"], 24),
        (["logp=2", "tpsa=50"], 10),
    ],
)
def test_moves_into_ranges_may_be_more(targets: str | list[str], moves: int) -> None:
    assert SteeringOptions.of(targets=targets).most_moves == moves
    assert SteeringOptions.of(targets=targets, target_moves=3).most_moves == 3


@pytest.mark.parametrize(
    ("asked", "method"),
    [
        ({}, "mcmc"),
        ({"target_moves": 0}, "mcmc"),
        ({"guidance": 2}, "condition"),
        ({"guidance": 2, "target_method": "mcmc"}, "mcmc"),
        ({"target_method": "condition"}, "condition"),
        ({"score": "qed", "score_weight": 1.0}, "condition"),
        ({"score": "targets"}, "smc"),
        ({"target_method": "smc", "particles": 2}, "smc"),
    ],
)
def test_the_method_follows_from_what_is_asked(packed: Path, asked: dict[str, Any], method: str) -> None:
    score = {name: asked.pop(name) for name in ("score", "score_weight", "particles") if name in asked}
    wanted = SteeringOptions.of(targets="logp=2", **asked)
    score_options = ScoreOptions.of(
        score.get("score"), score.get("score_weight"), score.get("particles"), wanted.target_method
    )
    options = GenerationOptions(n=2, model=packed, steering=wanted, score=score_options)
    assert options.target_method == method
    assert (MOVED in generation_run(options).columns) is (method == "mcmc")


def test_a_trajectory_shows_a_draw_that_was_not_moved(tmp_path: Path) -> None:
    output = OutputOptions(path=tmp_path / "m.sdf", trajectories=[tmp_path / "m.xyz"])
    wanted = SteeringOptions.of(targets="logp=2")
    assert GenerationOptions(n=2, steering=wanted, output=output).target_method == "condition"
    with pytest.raises(MoldiffError, match="trajectory and target_moves do not go together"):
        GenerationOptions(n=2, steering=SteeringOptions.of(targets="logp=2", target_moves=2), output=output)


def test_a_condition_alone_gives_what_no_moves_give(packed: Path) -> None:
    plain = moldiff.generate(
        3, model=packed, evaluations=4, targets="logp=2", target_method="condition", keep_invalid=True
    )
    unmoved = moldiff.generate(3, model=packed, evaluations=4, targets="logp=2", target_moves=0, keep_invalid=True)
    assert [Chem.MolToMolBlock(mol) for mol in plain] == [Chem.MolToMolBlock(mol) for mol in unmoved]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"target_method": "mcmc"}, "target_method needs a target"),
        ({"target_moves": 3}, "target_moves needs targets and the method mcmc"),
        ({"targets": "logp=2", "target_method": "smc", "target_moves": 3}, "target_moves needs targets and the method"),
        ({"targets": "logp=2", "target_moves": -1}, "target_moves must be in 0 .. 1000, not -1"),
        ({"targets": "logp=2", "target_method": "magic"}, "target_method"),
        ({"targets": "logp=2", "target_method": "smc", "score": "qed", "score_weight": 1.0}, "do not go together"),
        ({"targets": "logp=2", "target_method": "mcmc", "score": "qed", "score_weight": 1.0}, "do not go together"),
        ({"targets": "logp=2", "target_moves": 3, "score": "targets"}, "score and target_moves do not go together"),
        (
            {"targets": "logp=2", "target_moves": 0, "score": "qed", "score_weight": 1.0},
            "score and target_moves do not go together",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_line(packed: Path, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(MoldiffError, match=message) as caught:
        moldiff.generate(1, model=packed, **asked)
    assert "\n" not in str(caught.value)


def test_draws_that_nothing_can_measure_are_only_told(
    packed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(TargetTracker, "known", ())
    result = moldiff.generate(1, model=packed, evaluations=4, targets="logp=2")
    assert result.summary.extra["target_method"] == "condition"
    assert "nothing can tell logp of a molecule" in caplog.text


@pytest.mark.parametrize("sampler", [name for name, solver in SOLVERS.items() if not solver.is_stochastic])
def test_what_adds_no_noise_makes_no_moves(packed: Path, caplog: pytest.LogCaptureFixture, sampler: Sampler) -> None:
    caplog.set_level("INFO")
    request = {"model": packed, "evaluations": 4, "targets": "logp=2", "keep_invalid": True, "sampler": sampler}
    fallen = moldiff.generate(2, **request)
    assert f"sampler {sampler} adds no noise" in caplog.text and "dpmpp_sde" in caplog.text
    plain = moldiff.generate(2, **request, target_method="condition")
    assert fallen.summary.extra["target_method"] == "condition"
    assert fallen.summary.evaluations == plain.summary.evaluations
    for one, other in zip(fallen, plain, strict=True):
        assert np.array_equal(one.GetConformer().GetPositions(), other.GetConformer().GetPositions())
    for asked in ({"target_method": "mcmc"}, {"target_moves": 2}):
        with pytest.raises(MoldiffError, match=f"sampler {sampler} adds no noise, which moves") as told:
            moldiff.generate(2, **request, **asked)
        assert told.value.argument == "sampler"
