"""Generation by a score: groups as numbered draws, files, counts, errors."""

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from generating import generate_files, nonzero
from methane import METHANE, METHYL
from rdkit import Chem

import moldiff
from moldiff.arrays import MolArrays, RawSample
from moldiff.chem.descriptors.score_functions import Score, ScoreError
from moldiff.chem.filters.criteria import Criteria
from moldiff.chem.io.embed import embed
from moldiff.datasets.statistics import PropertyStatistics
from moldiff.errors import MoldiffError
from moldiff.generation import smc_run
from moldiff.generation.decoding.decoders import ArgmaxDecoder
from moldiff.generation.group_counts import GroupCounts
from moldiff.generation.molecule_result import MoleculeResult, assess, assess_all
from moldiff.generation.options.score import ScoreOptions
from moldiff.generation.smc_run import ReweightedSampler, stages
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.conditions import UnconditionalSampler
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.sampler import Sample
from moldiff.sampling.smc import ScoredParticle
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS
from moldiff.scoring.named import named_score, targets_score
from moldiff.scoring.targets import parse_target
from moldiff.status import Status

AMMONIA = MolArrays(METHANE.pos[:4], np.array([2, 0, 0, 0]), METHANE.charge[:4], METHANE.bonds[:3])


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walks end in methane, ammonia, or (every third number) a methyl radical; half-way, nothing has a score."""

    def scripted_draw(self: smc_run.MoleculePotential, sample: Sample) -> RawSample:
        number = int(sample.molecules.ids[0])
        return RawSample(number, [METHANE, AMMONIA, METHYL][number % 3], -1)

    monkeypatch.setattr(smc_run.MoleculePotential, "_draw", scripted_draw)
    monkeypatch.setattr(smc_run.MoleculePotential, "_guesses", lambda self, samples: [None] * len(samples))


def nitrogens(molecules: list[Chem.Mol]) -> list[float | None]:
    return [float(sum(atom.GetAtomicNum() == 7 for atom in mol.GetAtoms())) for mol in molecules]


def asked(function: Callable[[list[Chem.Mol]], list[float | None]], weight: float, particles: int = 4) -> ScoreOptions:
    found = ScoreOptions.of(function, weight, particles)
    assert found is not None
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_scores_reach_the_table_the_tags_and_the_record(scripted: None, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    summary = generate_files(out, n=10, model=str(model), evaluations=4, score=asked(nitrogens, 8.0))
    assert nonzero(summary.counts) == {"valid": 10}
    assert summary.requested == summary.drawn == 10
    rows = rows_of(out.with_suffix(".csv"))
    assert [int(row["draw"]) for row in rows] == list(range(10))
    assert [row["score"] for row in rows] == ["1" if row["smiles"] == "N" else "0" for row in rows]
    assert sum(row["smiles"] == "N" for row in rows) == 10  # exp(8) to 1, and each group has some
    assert [row["duplicate_of"] for row in rows] == ["", *[rows[0]["moldiff_id"]] * 9]
    molecules = list(Chem.SDMolSupplier(str(out)))
    assert [(mol.GetProp("draw"), mol.GetProp("score")) for mol in molecules] == [(str(k), "1") for k in range(10)]
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert {name: record["options"][name] for name in ("score", "score_weight", "particles")} == {
        "score": "nitrogens", "score_weight": 8.0, "particles": 4,
    }  # fmt: skip
    assert record["problem"] == ""
    score = record["score"]
    assert (score["groups"], score["dead"], score["mean"], score["best"]) == (3, 0, 1.0, 1.0)
    assert score["score_evaluations"] == 8  # of the 12 walks, numbers 2, 5, 8 and 11 are no molecules
    assert score["effective"][-1] < 4
    assert len(score["times"]) == len(score["effective"])
    # three groups of four were made for ten molecules
    assert record["network_evaluations_per_molecule"] == pytest.approx(12 * 4 / 10)


@pytest.mark.parametrize("batch_size", [1, 5, 8])
def test_a_draw_depends_neither_on_n_nor_on_the_batch_size(
    scripted: None, model: Path, tmp_path: Path, batch_size: int
) -> None:
    def rows(name: str, n: int, batch_size: int) -> list[dict[str, str]]:
        generate_files(
            tmp_path / name, n=n, model=str(model), evaluations=4, batch_size=batch_size, score=asked(nitrogens, 0.5)
        )
        return rows_of((tmp_path / name).with_suffix(".csv"))

    assert rows("a.sdf", 6, batch_size) == rows("b.sdf", 12, 512)[:6]


def test_weight_zero_is_the_plain_draw_bit_for_bit(tiny_model: MoleculeModel) -> None:
    molecule_sampler = MoleculeSampler(tiny_model, SOLVERS["ddpm"], 6, 1, keep_predictions=True)
    decoder = ArgmaxDecoder(tiny_model.vocabulary)
    draws = ReweightedSampler(molecule_sampler, partial(assess_all, decoder=decoder), asked(nitrogens, 0.0))
    found = [outcome for outcome, _ in draws.results(range(3))]
    plain = [assess(draw, decoder) for draw in sorted(molecule_sampler.draw(0, 12), key=lambda draw: draw.number)]
    for one, other in zip(found, plain, strict=True):
        assert (one.number, one.status, one.reason) == (other.number, other.status, other.reason)
        if one.mol is not None and other.mol is not None:
            assert Chem.MolToMolBlock(one.mol, kekulize=False) == Chem.MolToMolBlock(other.mol, kekulize=False)
            positions = [mol.GetConformer().GetPositions() for mol in (one.mol, other.mol)]
            assert np.array_equal(positions[0], positions[1])
    counts = GroupCounts(draws.asked, ())
    for one in found:
        counts.note(one)
    assert counts.result().ancestors == 4.0


def test_size_and_condition_go_with_the_particle(tiny_model: MoleculeModel) -> None:
    class ConditionSampler(UnconditionalSampler):
        def draw(self, numbers: torch.Tensor, source: object) -> tuple[np.ndarray, np.ndarray]:
            return 5 + 4 * (numbers.numpy() % 2), numbers.numpy()[:, None].astype(np.float32)

    starts = ConditionSampler(tiny_model.statistics.size_counts, None, 1)
    molecule_sampler = MoleculeSampler(
        tiny_model, SOLVERS["ddpm"], 4, 1, keep_predictions=True, condition_sampler=starts
    )
    judge = partial(assess_all, decoder=ArgmaxDecoder(tiny_model.vocabulary))
    draws = ReweightedSampler(molecule_sampler, judge, asked(nitrogens, 5.0, 8))

    def potential(samples: list[object], final: bool) -> list[ScoredParticle]:
        sizes = [int(sample.molecules.n_atoms) for sample in samples]  # type: ignore[attr-defined]
        outcomes = [MoleculeResult(0, Status.VALID, "", Chem.MolFromSmiles("C" * size)) for size in sizes]
        return [ScoredParticle(float(size), outcome) for size, outcome in zip(sizes, outcomes, strict=True)]

    object.__setattr__(draws._reweighter, "potential", potential)
    for place, (outcome, condition) in enumerate(draws.results(range(1))):
        assert outcome.number == place
        assert outcome.mol is not None
        assert outcome.mol.GetNumAtoms() == 9  # exp(5 x 4) times as likely as 5 atoms
        assert condition[0] % 2 == 1  # an odd number's
        assert outcome.score == 9.0


def test_what_a_filter_leaves_out_is_not_drawn(scripted: None, model: Path, tmp_path: Path) -> None:
    score = asked(nitrogens, 8.0)
    criteria = Criteria.of(where="heteroatoms=0")
    summary = generate_files(tmp_path / "m.sdf", n=8, model=str(model), evaluations=4, score=score, criteria=criteria)
    assert nonzero(summary.counts) == {"valid": 8}
    assert {row["smiles"] for row in rows_of(tmp_path / "m.csv")} == {"C"}


def test_until_valid_goes_on_by_groups(scripted: None, model: Path, tmp_path: Path) -> None:
    summary = generate_files(
        tmp_path / "m.sdf", n=7, model=str(model), evaluations=3, until_valid=True, score=asked(nitrogens, 0.0)
    )
    assert summary.counts["valid"] == 7
    assert summary.drawn == 10  # 0, 1, 3, 4, 6, 7 and 9 are valid


def test_a_group_that_nobody_scores_is_left_out_and_told(scripted: None, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    with pytest.raises(MoldiffError, match="no molecule of 2 groups of 4 has a score by nothing; what was made is in"):
        generate_files(out, n=8, model=str(model), evaluations=3, score=asked(nothing, 1.0))
    rows = rows_of(out.with_suffix(".csv"))
    assert [row["status"] for row in rows] == ["filtered" if k % 3 < 2 else "invalid" for k in range(8)]
    assert {row["reason"] for row in rows if row["status"] == "filtered"} == {"score: none"}
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert record["score"]["dead"] == 2
    assert sum(record["counts"].values()) == 8


def nothing(molecules: list[Chem.Mol]) -> list[float | None]:
    return [None] * len(molecules)


class Broken:
    """Fails at the k-th call."""

    def __init__(self, at: int) -> None:
        self.calls, self.at = 0, at

    def __call__(self, molecules: list[Chem.Mol]) -> list[float | None]:
        self.calls += 1
        if self.calls == self.at:
            raise RuntimeError("out of licences")
        return nitrogens(molecules)


def test_what_was_made_before_a_score_failed_is_kept(scripted: None, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    with pytest.raises(MoldiffError) as caught:
        generate_files(out, n=16, model=str(model), evaluations=3, score=asked(Broken(3), 8.0))
    told = "the score Broken raised RuntimeError: out of licences"
    assert str(caught.value) == f"{told}; what was made is in {out}"
    assert len(rows_of(out.with_suffix(".csv"))) == 8
    assert len(list(Chem.SDMolSupplier(str(out)))) == 8
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert (record["requested"], record["drawn"], record["problem"]) == (16, 8, told)


def test_a_weight_that_overflows_is_told_and_leaves_nothing(scripted: None, model: Path, tmp_path: Path) -> None:
    def huge(molecules: list[Chem.Mol]) -> list[float | None]:
        return [1e301] * len(molecules)

    with pytest.raises(ScoreError, match=r"the score weight times a score of 1e\+301 overflows: take a smaller weight"):
        generate_files(tmp_path / "m.sdf", n=4, model=str(model), evaluations=3, score=asked(huge, 1e300))
    assert not list(tmp_path.glob("m.*"))


def test_a_score_that_fails_at_once_leaves_no_file(scripted: None, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match=r"out of licences$"):
        generate_files(tmp_path / "new" / "m.sdf", n=16, model=str(model), evaluations=3, score=asked(Broken(1), 8.0))
    assert not list((tmp_path / "new").glob("*"))


def test_the_python_function_takes_a_callable_and_keeps_what_was_made(scripted: None, model: Path) -> None:
    molecules = moldiff.generate(8, model=model, evaluations=3, score=nitrogens, score_weight=8.0, particles=4)
    assert [mol.GetIntProp("draw") for mol in molecules] == list(range(8))
    assert {mol.GetProp("score") for mol in molecules} == {"1"}
    with pytest.raises(ScoreError) as caught:
        moldiff.generate(16, model=model, evaluations=3, score=Broken(3), score_weight=8.0, particles=4)
    assert [mol.GetIntProp("draw") for mol in caught.value.molecules] == list(range(8))


GROUPS = ["--target", "logp=1", "--target-method", "smc"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--score", "qed"], "--score needs a weight W (--score-weight)"),
        (["--score-weight", "3"], "needs a score"),
        (["--particles", "4"], "needs a score"),
        (["--score", "qed", "--score-weight", "nan"], "--score-weight must be a finite number, not nan"),
        (["--score", "qed", "--score-weight", "1", "--particles", "1"], "particles must be in 2 .. 4096, not 1"),
        (["--score", "quality", "--score-weight", "1"], "unknown score 'quality'"),
        (["--score", "qwd", "--score-weight", "1"], "(did you mean 'qed'?)"),
        (["--score", "qed=much", "--score-weight", "1"], "expected name=2.5"),
        (["--score", "nowhere:f", "--score-weight", "1"], "nowhere cannot be imported"),
        (["--score", "qed", "--score-weight", "1", "--sampler", "ddim"], "--sampler ddim is deterministic"),
        (["--score", "qed", "--score-weight", "1", "--sampler", "ode"], "works with ddpm, langevin, sde"),
        (["--score", "qed", "--score-weight", "1", "--renoise", "1"], "do not go together"),
        (
            ["--score", "qed", "--score-weight", "1", "--trajectory", "a.xyz"],
            "--score and trajectory do not go together",
        ),
        ([*GROUPS, "--trajectory", "a.xyz"], "--target-method smc and trajectory do not go together"),
        ([*GROUPS, "--renoise", "1"], "--target-method smc and renoise do not go together"),
        ([*GROUPS, "--first", "3"], "--target-method smc and --first do not go together"),
        ([*GROUPS, "--shard", "1/2"], "--shard and --target-method smc do not go together"),
        ([*GROUPS, "--sampler", "ode"], "--target-method smc works with ddpm"),
    ],
)
def test_wrong_wishes_are_one_line(
    run: Callable[..., object], model: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    result = run("generate", "-n", "2", "--model", str(model), "-o", str(tmp_path / "m.sdf"), *options)
    result.assert_refused(words)  # type: ignore[attr-defined]
    assert not list(tmp_path.glob("m.*"))


STATISTICS = {
    "heavy_atom_count": PropertyStatistics("1", 7.0, 2.0, 1.0, 9.0, 3.0, 9.0, 100),
    "hbd": PropertyStatistics("1", 1.0, 0.5, 0.0, 4.0, 0.0, 3.0, 100),
    "colour": PropertyStatistics("nm", 400.0, 50.0, 300.0, 500.0, 310.0, 490.0, 60),
}


def test_nearness_to_all_targets_in_standard_deviations() -> None:
    ethanol, methanol = (Chem.AddHs(Chem.MolFromSmiles(smiles)) for smiles in ("CCO", "CO"))
    targets = [parse_target("heavy_atom_count=6..8"), parse_target("hbd=2")]
    assert targets_score(targets, STATISTICS)([ethanol, methanol]) == [-(3 / 2 + 1 / 0.5), -(4 / 2 + 1 / 0.5)]
    assert targets_score(targets[:1], STATISTICS)([ethanol]) == [-3 / 2]
    with pytest.raises(MoldiffError, match="the score 'targets' needs targets"):
        targets_score([], STATISTICS)
    with pytest.raises(MoldiffError, match="unknown score 'colour'"):
        targets_score([parse_target("colour=400")], STATISTICS)
    with pytest.raises(ScoreError, match="only known together with targets"):
        named_score("targets")([ethanol])


def test_targets_can_be_the_score(scripted: None, packed: Path, tmp_path: Path, tiny_model: MoleculeModel) -> None:
    scored = ScoreOptions.of("targets", 4.0, 4)
    generate_files(tmp_path / "m.sdf", n=8, model=str(packed), evaluations=3, targets="logp=0.5", score=scored)
    std = tiny_model.statistics.properties["logp"].std
    found = rows_of(tmp_path / "m.csv")
    assert {row["smiles"] for row in found} <= {"C", "N"}
    for row in found:
        assert float(row["score"]) == pytest.approx(-abs(float(row["logp"]) - 0.5) / std, abs=1e-4)
    with pytest.raises(MoldiffError, match="the score 'targets' needs targets"):
        generate_files(tmp_path / "n.sdf", n=8, model=str(packed), evaluations=3, score=scored)


def test_scores_by_name() -> None:
    ethanol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    assert named_score("heavy_atom_count")([ethanol]) == [3.0]
    assert named_score("heavy_atom_count=5")([ethanol]) == [-2.0]
    assert named_score("heavy_atom_count<10")([ethanol]) == [0.0]
    assert named_score("heavy_atom_count>3")([ethanol]) == [-1.0]
    assert named_score("heavy_atom_count<=3")([ethanol]) == [0.0]
    (on_the_end,) = named_score("fsp3<1")([ethanol])
    assert on_the_end is not None and -1e-6 < on_the_end < 0
    assert named_score("smarts:[OX2H]")([ethanol]) == [1.0]
    assert named_score("similarity:CCO")([ethanol]) == [1.0]


EXAMPLE = Path(__file__).parents[2] / "scripts" / "example_score.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the scripts are not here")
def test_the_example_for_users_works() -> None:
    molecules = [embed(Chem.MolFromSmiles(smiles), 1, 10)[0] for smiles in ("CCN", "c1ccccc1", "COOC")]
    assert all(mol is not None for mol in molecules)
    assert named_score(f"{EXAMPLE}:primary_amine")(molecules) == [1.0, 0.0, 0.0]  # type: ignore[arg-type]
    flat = named_score(f"{EXAMPLE}:flat")(molecules)  # type: ignore[arg-type]
    assert flat[0] is not None and flat[1] is not None
    assert flat[0] < flat[1] < 0.01
    polar = named_score(f"{EXAMPLE}:small_and_polar")(molecules)  # type: ignore[arg-type]
    assert polar[0] is not None and polar[1] is not None
    assert polar[0] > polar[1]
    assert polar[2] is None


def test_every_solver_says_whether_it_draws() -> None:
    quiet = {name for name, solver in SOLVERS.items() if not solver.is_stochastic}
    assert quiet == {"ddim", "ode", "dpmpp"}


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 50, 200])
@pytest.mark.parametrize("grid", GRIDS)
def test_stages_lie_before_the_last_step(tiny_model: MoleculeModel, grid: str, steps: int) -> None:
    times = GRIDS[grid].times(tiny_model.schedule, steps, 1.7)
    found = stages(times, tiny_model.schedule)
    assert [stage.step for stage in found] == sorted({stage.step for stage in found})
    assert all(1 <= stage.step < len(times) - 1 for stage in found)
    assert all(0 < stage.power <= 1 for stage in found)
    if steps >= 50 and grid == "uniform":
        assert len(found) == 7
        assert found[0].power == pytest.approx(0.18, abs=0.02)
        assert found[-1].power == 1.0


def test_a_half_made_molecule_is_scored_by_its_skeleton(tiny_model: MoleculeModel) -> None:
    molecule_sampler = MoleculeSampler(tiny_model, SOLVERS["ddpm"], 6, 1, keep_predictions=True)
    seen: list[list[Chem.Mol]] = []

    def keep(molecules: list[Chem.Mol]) -> list[float | None]:
        seen.append(molecules)
        return [1.0] * len(molecules)

    draws = ReweightedSampler(
        molecule_sampler,
        partial(assess_all, decoder=ArgmaxDecoder(tiny_model.vocabulary)),
        ScoreOptions(score=Score("keep", keep), weight=1.0, particles=8),
    )
    counts = GroupCounts(draws.asked, ())
    for found, _ in draws.results(range(1)):
        counts.note(found)
    assert seen
    for molecules in seen[:-1]:
        for mol in molecules:
            assert mol.GetNumConformers() == 1
            assert all(atom.GetNumRadicalElectrons() == 0 and atom.GetTotalNumHs() == 0 for atom in mol.GetAtoms())
    assert counts.result().score_evaluations == sum(map(len, seen))
