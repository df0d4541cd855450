"""Fragments come back unchanged, whatever the sampler; what is asked for is checked; what it costs is told."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from torch import Tensor

import moldiff
from moldiff.arrays import MolArrays, RawSample
from moldiff.chem.descriptors.rdkit_descriptors import compute
from moldiff.config import SamplingConfig
from moldiff.diffusion.inpainting import PartialDiffusion, Placement
from moldiff.diffusion.joint import draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.errors import MoldiffError
from moldiff.generation.options.fragment import Fragment, parse_atoms
from moldiff.generation.options.steering import steer
from moldiff.generation.options.steering_options import SteeringOptions
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import MolBatch, MolPrediction, empty_batch
from moldiff.randomness import NoiseSource
from moldiff.sampling.conditions import UnconditionalSampler
from moldiff.sampling.constraints import Composition, TotalCharge, decoding_constraints
from moldiff.sampling.demands import NO_CONSTRAINTS
from moldiff.sampling.fragments import FixedFragment, with_fragment
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.sampling.sampler import evaluations_of, sample
from moldiff.sampling.solvers import SOLVERS, RePaint
from moldiff.vocabulary import Vocabulary

SHIFT = np.array([40.0, -3.0, 7.0])  # fragments lie anywhere


def embedded(smiles: str, away: float = 0.0) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() + SHIFT + away)
    return mol


METHANOL = embedded("CO")
PARTS = Chem.CombineMols(embedded("O"), embedded("N", 5.0))


@pytest.fixture(scope="module")
def grown(tiny_model: MoleculeModel) -> FixedFragment:
    """Methanol that lacks a hydrogen at the carbon and is to lose another one there: two valences open, 4 atoms."""
    return FixedFragment(Fragment(METHANOL, attach_at=[0, 0]).cut(tiny_model.vocabulary), tiny_model.vocabulary)


def test_how_fast_variables_are_drawn_anew_is_the_models(tiny_model: MoleculeModel, grown: FixedFragment) -> None:
    other = replace(tiny_model, sampling=SamplingConfig(fragment_redraw=3.0))
    found = [with_fragment(model, grown).diffusion for model in (tiny_model, other)]
    assert all(isinstance(diffusion, PartialDiffusion) for diffusion in found)
    assert [vars(diffusion)["redraw_exponent"] for diffusion in found] == [15.0, 3.0]


def molecule_sampler(
    model: MoleculeModel, fixed: FixedFragment, sampler: str = "ddpm", n: int = 9, steps: int = 4
) -> MoleculeSampler:
    return MoleculeSampler(
        with_fragment(model, fixed), SOLVERS[sampler], steps, 0,
        condition_sampler=UnconditionalSampler({n: 1}, None, 1), constraints=(fixed,), keep_predictions=True,
    )  # fmt: skip


def assert_unchanged(draw: RawSample, fixed: FixedFragment) -> None:
    arrays, own = draw.arrays, fixed.fragment.arrays
    assert arrays is not None
    n = len(fixed.fragment)
    assert np.array_equal(arrays.pos[:n], own.pos.astype(np.float32)), "in the frame of the input"
    assert np.array_equal(arrays.atom_type[:n], own.atom_type)
    assert np.array_equal(arrays.charge[:n], own.charge)
    assert np.array_equal(arrays.bonds[arrays.bonds[:, 1] < n], own.bonds)
    leaving = arrays.bonds[(arrays.bonds[:, 0] < n) & (arrays.bonds[:, 1] >= n)]
    for atom, lacks in enumerate(fixed.fragment.open_valences.tolist()):
        assert leaving[leaving[:, 0] == atom][:, 2].sum() == lacks
    assert leaving[:, 2].max() < 4, "an aromatic bond never leaves"


@pytest.mark.parametrize("sampler", SOLVERS)
def test_every_sampler_returns_the_fragment(tiny_model: MoleculeModel, grown: FixedFragment, sampler: str) -> None:
    draws = list(molecule_sampler(tiny_model, grown, sampler).draw(0, 8))
    for draw in draws:
        assert_unchanged(draw, grown)
    new = [draw.arrays.pos[4:] for draw in draws if draw.arrays is not None]
    assert len({positions.tobytes() for positions in new}) == 8
    assert np.linalg.norm(np.concatenate(new).mean(0) - SHIFT) < 5, "the new atoms are in the same frame"


def test_two_parts_keep_their_places(tiny_model: MoleculeModel) -> None:
    fixed = FixedFragment(Fragment(PARTS, attach_at=[0, 3]).cut(tiny_model.vocabulary), tiny_model.vocabulary)
    for draw in molecule_sampler(tiny_model, fixed, n=12).draw(0, 8):
        assert_unchanged(draw, fixed)


def test_attempts_and_repeated_steps_keep_it_too(tiny_model: MoleculeModel, grown: FixedFragment) -> None:
    made = molecule_sampler(tiny_model, grown)
    again = list(PartialWalks.late(made, 0.5).run(list(made.draw(0, 8)), 1))
    assert len(again) == 8
    made.solver = RePaint(SOLVERS["ddpm"], 2)
    for draw in (*again, *made.draw(0, 8)):
        assert_unchanged(draw, grown)


def test_a_molecule_does_not_depend_on_its_batch(tiny_model: MoleculeModel, grown: FixedFragment) -> None:
    made = molecule_sampler(tiny_model, grown)
    (alone,) = made.draw(5, 1)
    together = next(draw for draw in made.draw(0, 8) if draw.number == 5)
    assert alone.arrays is not None
    assert together.arrays is not None
    assert np.array_equal(alone.arrays.pos, together.arrays.pos)


def test_bonds_of_attachment_points_are_conditioned_on_their_sum(
    tiny_model: MoleculeModel, grown: FixedFragment
) -> None:
    """Enumeration: two valences among three new atoms."""
    batch = empty_batch(torch.tensor([7]), torch.arange(1), 8, 1)
    logits = torch.randn(1, 8, 8, 5, generator=torch.Generator().manual_seed(0)).double()
    logits = logits + logits.transpose(1, 2)
    prediction = MolPrediction(torch.zeros(1, 8, 3).double(), torch.zeros(1, 8, 4), torch.zeros(1, 8, 3), logits)
    levels = tiny_model.schedule.levels(torch.full((1,), 0.5, dtype=torch.float64))
    found = grown.condition(batch, levels, prediction).bond_type
    chances = torch.softmax(logits[0, 0, 4:7], -1)
    expected, best = torch.zeros(3, 5).double(), (0.0, [0])
    for kinds in np.ndindex(4, 4, 4):
        if sum(kinds) == 2:
            weight = float(np.prod([float(chances[atom, kind]) for atom, kind in enumerate(kinds)]))
            best = max(best, (weight, list(kinds)))
            for atom, kind in enumerate(kinds):
                expected[atom, kind] += weight
    expected /= expected.sum(-1, keepdim=True)
    torch.testing.assert_close(torch.softmax(found[0, 0, 4:7], -1), expected, rtol=1e-6, atol=1e-9)
    assert grown.decide(batch, prediction).bond_type[0, 0, 4:7].argmax(-1).tolist() == best[1]
    torch.testing.assert_close(found, found.transpose(1, 2))
    assert bool((found[0, 1, 4:7].argmax(-1) == 0).all()), "oxygen is no attachment point"


def test_the_fragment_lies_where_the_model_sees_its_atoms(tiny_model: MoleculeModel, grown: FixedFragment) -> None:
    batch = empty_batch(torch.tensor([7]), torch.arange(1), 8, 1)
    pos = torch.randn(1, 8, 3, generator=torch.Generator().manual_seed(0)) * batch.mask[..., None]
    levels = tiny_model.schedule.levels(torch.full((1,), 0.5, dtype=torch.float64))
    prediction = MolPrediction(pos, torch.zeros(1, 8, 4), torch.zeros(1, 8, 3), torch.zeros(1, 8, 8, 5))
    placed = grown.condition(batch, levels, prediction).pos
    torch.testing.assert_close(placed[0, :7].sum(0), torch.zeros(3), atol=1e-5, rtol=0)
    away = placed[0, 4:7] - placed[0, :4].mean(0)
    torch.testing.assert_close(away, pos[0, 4:7] - pos[0, :4].mean(0), atol=1e-5, rtol=0)
    own = torch.from_numpy(grown.fragment.arrays.pos)
    torch.testing.assert_close(placed[0, :4] - placed[0, :4].mean(0), own - own.mean(0), atol=1e-4, rtol=0)


def test_what_is_not_finite_stays_so(grown: FixedFragment) -> None:
    batch = empty_batch(torch.tensor([7]), torch.arange(1), 7, 1)
    values = [torch.full((1, 7, *shape), torch.nan) for shape in ((3,), (4,), (3,), (7, 5))]
    made = grown.decide(batch, MolPrediction(*values))
    for field in ("pos", "atom_type", "charge", "bond_type"):
        assert not bool(torch.isfinite(getattr(made, field)[0, 0]).any())


def test_new_atoms_begin_where_the_stereo_wants_them(tiny_model: MoleculeModel, grown: FixedFragment) -> None:
    way = np.array([0.0, 0.6, 0.8])
    fragment = replace(grown.fragment, ways={0: way})
    known = FixedFragment(fragment, tiny_model.vocabulary).known
    np.testing.assert_allclose(known.exit_vectors.numpy(), np.stack([way, way]), atol=1e-6)


def test_a_walk_begins_with_the_fragment_noised_and_the_rest_at_the_way_out(
    tiny_model: MoleculeModel, grown: FixedFragment
) -> None:
    model, rows = with_fragment(tiny_model, grown), 4000
    template = empty_batch(torch.full((rows,), 7), torch.arange(rows), 8, 1)
    levels = model.schedule.levels(torch.ones(rows, dtype=torch.float64))
    start = model.diffusion.sample_prior(template, levels, draw_noise(NoiseSource(0), template.ids, 0, 8))
    own = grown.known.pos
    mean = start.pos.mean(0)
    torch.testing.assert_close(mean[:4] - mean[:4].mean(0), own, atol=0.08, rtol=0)
    deviations = (start.pos - mean)[:, :4].std()
    square, wider = float(levels.sigma[0]) ** 2, 0.2**2 * 3 ** (2 / 3)
    centred = square * (1 - 2 / 7) + (7 * square + 3 * wider) / 49  # the middle of seven atoms is taken out
    assert float(deviations) == pytest.approx(centred**0.5, rel=0.01)
    out = mean[4:7].mean(0) - mean[:4].mean(0) - own[0]
    assert float(out @ grown.known.exit_vectors[0]) == pytest.approx(1.2 + 0.13 * 3 / 2, abs=0.1)
    assert bool((start.pos[:, 7] == 0).all())
    whole = METHANOL.GetConformer().GetPositions()
    assert float(grown.known.exit_vectors[0].double() @ torch.from_numpy(whole[[3, 4]].mean(0) - whole[0])) > 0.3
    kept = model.diffusion.categories["atom_type"].marginal(grown.known.atom_type[None], levels.abar("atom_type")[:1])
    shares = torch.nn.functional.one_hot(start.atom_type[:, :4], 4).double().mean(0)
    torch.testing.assert_close(shares, kept[0], atol=0.04, rtol=0)
    limit = model.diffusion.categories["atom_type"].limit
    shares = torch.nn.functional.one_hot(start.atom_type[:, 4:7], 4).double().mean((0, 1))
    torch.testing.assert_close(shares, limit, atol=0.03, rtol=0)


def test_after_a_long_step_no_category_remembers(tiny_model: MoleculeModel, grown: FixedFragment) -> None:
    """Whatever the new atoms were, the same prediction leads to the same categories; after a short step it does not."""
    model, rows = with_fragment(tiny_model, grown), 50
    template = empty_batch(torch.full((rows,), 7), torch.arange(rows), 8, 1)
    prediction = MolPrediction(
        template.pos, torch.zeros(rows, 8, 4), torch.zeros(rows, 8, 3), torch.zeros(rows, 8, 8, 5)
    )  # fmt: skip
    noise = draw_noise(NoiseSource(0), template.ids, 1, 8)
    states = [template.replace(atom_type=template.mask * kind) for kind in (0, 1)]
    for end, alike in ((0.5, True), (0.999, False)):
        at, to = (model.schedule.levels(torch.full((rows,), t, dtype=torch.float64)) for t in (1.0, end))
        one, other = (
            model.diffusion.reverse_step(state, prediction, at, to, noise, eta=0.0).atom_type for state in states
        )
        assert torch.equal(one, other) == alike


def test_the_late_curve_is_the_end_of_the_whole_one(tiny_model: MoleculeModel, grown: FixedFragment) -> None:
    curve, t = with_fragment(tiny_model, grown).schedule, torch.linspace(0, 1, 5, dtype=torch.float64)
    assert float(curve.levels(t).sigma[-1]) == pytest.approx(curve.sigma_max)
    assert curve.sigma_max == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(curve.time_of_sigma(curve.levels(t).sigma), t)
    torch.testing.assert_close(curve.levels(t).bond_type, tiny_model.schedule.levels(0.3 * t).bond_type)


def test_a_step_taken_once_is_the_step_itself(tiny_model: MoleculeModel, grown: FixedFragment) -> None:
    made = molecule_sampler(tiny_model, grown)
    plain = next(iter(made.draw(0, 1)))
    made.solver = RePaint(SOLVERS["ddpm"], 1)
    again = next(iter(made.draw(0, 1)))
    assert plain.arrays is not None
    assert again.arrays is not None
    assert np.array_equal(plain.arrays.pos, again.arrays.pos)


@pytest.mark.parametrize(("sampler", "times", "evaluations"), [("ddpm", 3, 3), ("ode", 2, 4), ("langevin", 2, 4)])
def test_repeated_steps_cost_what_they_say_and_have_noise_of_their_own(
    tiny_model: MoleculeModel, grown: FixedFragment, sampler: str, times: int, evaluations: int
) -> None:
    solver, seen = RePaint(SOLVERS[sampler], times), []

    def spy(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
        seen.append(batch.pos)
        return grown.condition(batch, levels, tiny_model.denoiser(batch, levels, condition, previous))

    model = with_fragment(tiny_model, grown)
    template = empty_batch(torch.tensor([7]), torch.arange(1), 8, 1)
    times_of_walk = torch.tensor([1.0, 0.8, 0.6, 0.0], dtype=torch.float64)
    sample(spy, model.diffusion, model.schedule, template, times_of_walk, solver, NoiseSource(0))
    assert solver.evaluations == evaluations
    assert len(seen) == evaluations_of(solver, 3)
    assert len({pos.numpy().tobytes() for pos in seen}) == len(seen)
    assert solver.is_stochastic
    assert RePaint(SOLVERS["ode"], 1).is_stochastic == SOLVERS["ode"].is_stochastic


def test_what_the_fragment_demands_of_a_molecule_decoded_anew(grown: FixedFragment) -> None:
    constraints = decoding_constraints(
        (grown, Composition(("H", "C", "N", "O"), {"C": 2, "H": 6, "O": 1}), TotalCharge((-1, 0, 1), 1))
    )
    assert (constraints.counts, constraints.total_charge, constraints.allowed) == ((6, 2, 0, 1), 1, None)
    assert constraints.kept is not None
    assert constraints.kept.atom_type.tolist() == [1, 3, 0, 0]
    assert constraints.kept.charge.tolist() == [1, 1, 1, 1]
    assert constraints.kept.bond_type.tolist() == [[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert constraints.kept.open_valences.tolist() == [2, 0, 0, 0]


def asked(model: MoleculeModel, sizes: tuple[int, int] | None = None, **wishes: Any) -> tuple[int, int] | None:
    return steer(SteeringOptions.of(n_atoms=sizes, **wishes), model, {}, "model").sizes


def test_sizes(tiny_model: MoleculeModel) -> None:
    grow, free = Fragment(METHANOL, attach_at=[0], grow=(2, 4)), Fragment(METHANOL, attach_at=[0])
    assert asked(tiny_model, fragment=grow) == (7, 9)
    assert asked(tiny_model, fragment=free) == (6, 15)
    assert asked(tiny_model, (3, 9), fragment=free) == (6, 9)
    assert asked(tiny_model, fragment=free, formula="C2H6O") == (9, 9)
    bare = Fragment(embedded("C"), fixed_atoms=[0], attach_at=[0, 0, 0, 0], grow=1)
    with pytest.raises(MoldiffError, match=r"1 atoms are kept and need 2 new ones at least, but 2\.\.2"):
        asked(tiny_model, fragment=bare)


@pytest.mark.parametrize(
    ("wishes", "sizes", "words"),
    [
        ({"exclude_elements": ("O",)}, None, "fragment holds O, which is not among the allowed elements"),
        ({"formula": "C2H6"}, None, "formula C2H6 is smaller than fragment, which has 1 O"),
        ({"formula": "C4H2O"}, None, "formula C4H2O is smaller than fragment, which has 3 H"),
        ({"charge": 4}, (6, 8), "charge [+]4 is out of reach: fragment has [+]0, with 1 new atoms"),
        ({}, (3, 5), "5 atoms are kept and need 1 new ones at least, but 3..5 atoms are asked for"),
    ],
)
def test_contradictions(tiny_model: MoleculeModel, wishes: Any, sizes: Any, words: str) -> None:
    with pytest.raises(MoldiffError, match=words):
        asked(tiny_model, sizes, fragment=Fragment(METHANOL, attach_at=[0]), **wishes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "attach_at must name an atom: fragment has no open valence to attach to"),
        ({"grow": (4, 3)}, "grow must be a range"),
        ({"resample": 0}, "resample must be in 1"),
        ({"attach_at": [0], "grow": 12}, None),
    ],
)
def test_wishes_that_are_none(tiny_model: MoleculeModel, arguments: Any, words: str | None) -> None:
    if words is None:
        assert asked(tiny_model, fragment=Fragment(METHANOL, **arguments)) == (17, 17)
        return
    with pytest.raises(MoldiffError, match=words):
        Fragment(METHANOL, **arguments).cut(tiny_model.vocabulary)


def test_a_part_without_a_way_out_cannot_be_linked(tiny_model: MoleculeModel) -> None:
    with pytest.raises(MoldiffError, match="part 2 of 2 of fragment has no open valence"):
        Fragment(PARTS, attach_at=[0]).cut(tiny_model.vocabulary)


def test_other_constraints_hold_around_it(tiny_model: MoleculeModel, grown: FixedFragment) -> None:
    formula = Composition(tiny_model.vocabulary.elements, {"C": 3, "H": 4, "O": 2})
    made = MoleculeSampler(
        with_fragment(tiny_model, grown), SOLVERS["ddpm"], 3, 0,
        condition_sampler=UnconditionalSampler({9: 1}, None, 1), constraints=(grown, formula),
    )  # fmt: skip
    for draw in made.draw(0, 8):
        assert_unchanged(draw, grown)
        assert draw.arrays is not None
        assert np.bincount(draw.arrays.atom_type, minlength=4).tolist() == [4, 3, 0, 2]


def test_atom_numbers() -> None:
    assert parse_atoms("0-3,7", "-") == (0, 1, 2, 3, 7)
    for text in ("", "3-1", "a", "1,,2", "-1"):
        with pytest.raises(MoldiffError, match="--fixed-atoms"):
            parse_atoms(text, "--fixed-atoms")


@pytest.fixture
def methanol(tmp_path: Path) -> Path:
    path = tmp_path / "methanol.sdf"
    path.write_text(Chem.MolToMolBlock(METHANOL) + "$$$$\n")
    return path


def test_the_command_line(methanol: Path, model: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    out = tmp_path / "m.sdf"
    common = ("--model", model, "-o", out, "--overwrite", "--keep-invalid")
    command = ("generate", "-n", "3", "--evaluations", "5", *common)
    result = run(*command, "--fragment", methanol, "--attach-at", "0", "--grow", "2..3", "--resample", "2")
    assert result.status == 0, result.err
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert {row["evaluations"] for row in rows} == {"5"}
    assert {row["n_atoms"] for row in rows} <= {"7", "8"}
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert (record["options"]["attach_at"], record["options"]["fragment"]) == ([0], str(methanol))
    for mol in Chem.SDMolSupplier(str(out), removeHs=False, sanitize=False):
        np.testing.assert_allclose(
            mol.GetConformer().GetPositions()[:5], METHANOL.GetConformer().GetPositions()[[0, 1, 2, 3, 5]], atol=2e-4
        )
    for option in (("--grow", "4"), ("--attach-at", "0"), ("--resample", "2")):
        run(*command, *option).assert_refused(f"{option[0]} needs --fragment")
    run(*command, "--fragment", methanol, "--grow", "4", "--n-atoms", "9").assert_refused("has no open valence")
    run(*command, "--fragment", methanol, "--attach-at", "0", "--grow", "4", "--n-atoms", "9").assert_refused(
        "give one of them"
    )
    run(*command, "--fragment", tmp_path / "none.sdf").assert_refused("cannot be read")
    run(*command, "--fragment", "neither").assert_refused("--fragment 'neither'", "neither a SMILES")
    run(*command, "--fragment", "CO.CN").assert_refused("CO.CN: how parts to link lie to each other", "give an SDF")
    smiles = tmp_path / "a.smi"
    smiles.write_text("CO\nCN\n")
    run(*command, "--fragment", smiles).assert_refused("how parts to link lie to each other", "give an SDF")


def test_a_smiles_is_given_coordinates_and_kept(run: Callable[..., Any], packed: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.smi"
    file.write_text("CO methanol\n")
    found = []
    for fragment in ("CO", file):
        out = tmp_path / f"{len(found)}.sdf"
        command = ["generate", "--model", packed, "-n", "1", "--evaluations", "2", "--keep-invalid", "-o", out]
        run(*command, "--fragment", fragment, "--attach-at", "0", "--grow", "6")
        found.append(Chem.SDMolSupplier(str(out), removeHs=False, sanitize=False)[0])
        assert json.loads(out.with_suffix(".run.json").read_text())["options"]["fragment"] == str(fragment)
    first, second = (mol.GetConformer().GetPositions()[:5] for mol in found)
    np.testing.assert_array_equal(first, second)
    assert [atom.GetSymbol() for atom in found[0].GetAtoms()][:5] == ["C", "O", "H", "H", "H"]
    assert np.linalg.norm(first[0] - first[1]) == pytest.approx(1.4, abs=0.05)
    with pytest.raises(MoldiffError, match=r"H\]12: embedding: no conformer found"):
        Fragment("C1[C@H]2C[C@@H]12")  # rings of three and four that would share a bond the wrong way round


def test_a_star_says_where_a_fragment_grows(run: Callable[..., Any], packed: Path, tmp_path: Path) -> None:
    assert [Fragment(text).points for text in ("*C1CO1", "C1CO1", "c1cc[n]([1*])c1", "[*:1]C([*:2])N")] == [
        (0,), (), (3,), (0, 0),
    ]  # fmt: skip
    assert Fragment("*CO").record()["attach_at"] == [], "the SMILES says it again"
    # the hydrogen in the place of a * has its place in the order of the neighbours as well
    for text in ("*[C@](F)(Cl)N", "F[C@](*)(Cl)N", "Cl[C@@](F)(N)*"):
        found = Chem.MolToSmiles(Chem.MolFromMolBlock(Fragment(text).blocks[0]))
        assert found == Chem.MolToSmiles(Chem.MolFromSmiles(text.replace("*", "[H]"))), text
    for text in ("*", "**", "C*C", "C=*"):
        with pytest.raises(MoldiffError, match=re.escape(f"{text}: a * is where the fragment grows")):
            Fragment(text)
    command = ["generate", "--model", packed, "-n", "1", "--evaluations", "2", "--keep-invalid", "--grow", "6"]
    run(*command, "--fragment", "*CO", "-o", tmp_path / "star.sdf")
    run(*command, "--fragment", "CO", "--attach-at", "0", "-o", tmp_path / "named.sdf")
    star, named = ((tmp_path / f"{name}.sdf").read_text() for name in ("star", "named"))
    assert star.replace(star.splitlines()[0], named.splitlines()[0]) == named, "all but its id"


def test_isotopes_are_not_kept_and_told(tiny_model: MoleculeModel, caplog: pytest.LogCaptureFixture) -> None:
    for smiles, told in (("CO", False), ("[13CH3]O", True), ("CO[2H]", True)):
        caplog.clear()
        steer(SteeringOptions.of(fragment=Fragment(embedded(smiles), attach_at=[0])), tiny_model, {}, "model")
        assert ("fragment: isotopes are not kept" in caplog.text) == told


def test_in_python(methanol: Path, model: Path) -> None:
    wish = Fragment(methanol, attach_at=[0], grow=3)
    (mol,) = moldiff.generate(1, model=model, evaluations=2, fragment=wish, keep_invalid=True)
    assert mol.GetNumAtoms() == 8
    with pytest.raises(MoldiffError, match="no open valence"):
        moldiff.generate(1, model=model, fragment=METHANOL)


def test_particles_of_a_score_keep_it_too(methanol: Path) -> None:
    wish = Fragment(methanol, attach_at=[0], grow=(3, 6))
    found = moldiff.generate(
        8, evaluations=8, fragment=wish, score="logp", score_weight=2, particles=4, precision="float32"
    )
    plain = moldiff.generate(8, evaluations=8, fragment=wish, precision="float32")
    given = Chem.MolFromMolFile(str(methanol), removeHs=False)
    assert found
    for mol in (*found, *plain):
        kept = mol.GetConformer().GetPositions()[:2]
        assert np.abs(kept - given.GetConformer().GetPositions()[:2]).max() < 1e-3
        assert mol.GetBondBetweenAtoms(0, 1).GetBondType() == Chem.BondType.SINGLE
    scores = [[compute(mol, ["logp"])["logp"] for mol in some] for some in (found, plain)]
    assert np.mean(scores[0]) > np.mean(scores[1])


def test_a_changed_fragment_is_a_violation(tiny_model: MoleculeModel, grown: FixedFragment) -> None:
    assert grown.rule(Chem.AddHs(Chem.MolFromSmiles("NC"))).startswith("atom 0 is N, not C")


def test_arrays_of_the_cut_are_those_of_the_input(grown: FixedFragment) -> None:
    arrays: MolArrays = grown.fragment.arrays
    np.testing.assert_allclose(arrays.pos, METHANOL.GetConformer().GetPositions()[[0, 1, 2, 5]], atol=1e-4)


@pytest.fixture(scope="module")
def heavy() -> Vocabulary:
    return Vocabulary(("C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"), False)


def test_exits_of_one_piece_grow_apart_and_pieces_are_linked_on_the_way(heavy: Vocabulary) -> None:
    ring = embedded("c1ccccc1")
    known = FixedFragment(Fragment(ring, attach_at=[0, 3]).cut(heavy), heavy).known
    places = Placement().places(known, torch.tensor([4, 6]), 6)
    assert places.shape == (2, 6, 3)
    for row in range(2):
        for slot in range(4):
            away = torch.linalg.vector_norm(known.exits - places[row, slot], dim=1)
            assert int(away.argmin()) == slot % 2, "the exits take turns"
            assert float(away.min()) == pytest.approx(1.2 + 0.13 * (4, 6)[row] / 2, abs=1e-5)
    apart = Chem.CombineMols(embedded("C"), embedded("N", 5.0))
    known = FixedFragment(Fragment(apart, attach_at=[0, 5]).cut(heavy), heavy).known
    assert known.pieces.tolist() == [0, 1]
    ends = known.exits + 1.2 * known.exit_vectors
    (places,) = Placement().places(known, torch.tensor([4]), 4)
    middle = ends.mean(0)
    for slot, way in ((0, 0.25), (1, 0.25), (2, 0.75), (3, 0.75)):
        torch.testing.assert_close(places[slot], torch.lerp(ends[slot % 2], middle, way))


def test_a_heavy_atom_model_gives_every_exit_a_bond_and_no_other_atom_one(heavy: Vocabulary) -> None:
    mol = embedded("CC(=O)O")
    fixed = FixedFragment(Fragment(mol, fixed_atoms=[0, 1, 3]).cut(heavy), heavy)  # carbon 1 lacks two orders
    torch.manual_seed(0)
    n, width = 3, 7
    noisy = empty_batch(torch.tensor([7, 5]), torch.tensor([0, 1]), width, 0)
    shape = (2, width, width, len(heavy.bonds))
    bonds = torch.randn(shape)
    bonds = bonds + bonds.transpose(1, 2)
    bonds[..., 0] += 4  # nothing is bonded by itself
    prediction = MolPrediction(torch.randn(2, width, 3), torch.randn(2, width, 3), torch.randn(2, width, 3), bonds)
    decided = fixed.decide(noisy, prediction).bond_type.argmax(-1)
    orders = torch.tensor([0.0, 1, 2, 3, 9])[decided[:, :n, n:]].sum(-1)
    assert orders[:, [0, 2]].tolist() == [[0, 0], [0, 0]]
    assert all(1 <= total <= 2 for total in orders[:, 1].tolist())
    assert fixed.demand(NO_CONSTRAINTS).kept.least.tolist() == fixed.fragment.least_bonds.tolist()  # type: ignore[union-attr]


def test_moves_around_a_fragment_take_as_much_noise_as_anywhere(
    tiny_model: MoleculeModel, grown: FixedFragment
) -> None:
    """Draws begin late in the schedule there; a move that began there, at half its time, would change nothing."""
    free, around = (
        MoleculeSampler(model, SOLVERS["ddpm"], 10, 0) for model in (tiny_model, with_fragment(tiny_model, grown))
    )
    levels = []
    for sampler in (free, around):
        walks = PartialWalks.evenly(sampler, 0.5, 5)
        levels.append(walks.schedule.levels(walks.grid))
        own = sampler.model.schedule.levels(sampler.grid[-2:-1])
        assert float(levels[-1].pos[-2]) == pytest.approx(float(own.pos), rel=1e-6)
    assert [float(one.pos[0]) for one in levels] == [float(levels[0].pos[0])] * 2
    assert [float(one.bond_type[0]) for one in levels] == [float(levels[0].bond_type[0])] * 2


def test_failed_draws_around_a_fragment_begin_anew_at_as_much_noise_as_anywhere(
    tiny_model: MoleculeModel, grown: FixedFragment
) -> None:
    free, around = (
        MoleculeSampler(model, SOLVERS["ddpm"], 40, 0) for model in (tiny_model, with_fragment(tiny_model, grown))
    )
    for start in (0.2, 0.4):
        noise = [
            float(sampler.model.schedule.levels(PartialWalks.late(sampler, start).grid[:1]).sigma)
            for sampler in (free, around)
        ]
        at = float(tiny_model.schedule.levels(torch.tensor([start], dtype=torch.float64)).sigma)
        assert all(0.7 * at < one <= at for one in noise), (start, noise, at)
