"""Masks on the prediction against brute force, and samples that never break them."""

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem
from torch import Tensor

from moldiff.arrays import RawSample
from moldiff.chem.convert import Conversion
from moldiff.errors import MoldiffError
from moldiff.generation.decoding.decoders import DecodedMolecule, VerifiedDecoder
from moldiff.generation.options.composition import constraints_of, element_mask, parse_formula
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import MolPrediction, empty_batch
from moldiff.sampling.conditions import UnconditionalSampler
from moldiff.sampling.constraints import (
    NO_CONSTRAINTS,
    Composition,
    Constraint,
    DecodingConstraints,
    ElementMask,
    TotalCharge,
)
from moldiff.sampling.fixed_sum import FORBIDDEN, FixedSum
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.sampling.solvers import SOLVERS
from moldiff.vocabulary import Vocabulary

ELEMENTS = ("H", "C", "N", "O")
VOCABULARY = Vocabulary(ELEMENTS, (-1, 0, 1), ("none", "single"))
SUMS = {
    "composition": FixedSum("atom_type", ((0, 0), (1, 0), (0, 0), (0, 1)), (True, True, False, True), (2, 1)),
    "charge": FixedSum("charge", ((-1,), (0,), (2,)), (True, True, True), (1,)),
}


def enumerated(rule: FixedSum, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return marginals (n, K) and the best choice (n,) over all choices of one molecule's atoms."""
    chances = torch.log_softmax(logits, dim=-1)
    n, classes = logits.shape
    marginals, best, value = torch.zeros(n, classes, dtype=torch.float64), None, -np.inf
    for choice in itertools.product([k for k in range(classes) if rule.allowed[k]], repeat=n):
        if tuple(np.sum([rule.steps[k] for k in choice], axis=0)) != rule.total:
            continue
        logp = float(sum(chances[i, k] for i, k in enumerate(choice)))
        for i, k in enumerate(choice):
            marginals[i, k] += np.exp(logp)
        if logp > value:
            best, value = torch.tensor(choice), logp
    assert best is not None
    return marginals / marginals.sum(-1, keepdim=True), best


@pytest.mark.parametrize("name", SUMS)
def test_conditioning_and_choice_are_those_of_enumeration(name: str) -> None:
    rule, sizes, width = SUMS[name], [5, 3, 4], 6
    logits = 2 * torch.randn(3, width, len(rule.steps), generator=torch.Generator().manual_seed(0)).double()
    mask = torch.arange(width)[None] < torch.tensor(sizes)[:, None]
    marginals, chosen = rule.conditioned(logits, mask).exp(), rule.most_probable(logits, mask)
    for row, n in enumerate(sizes):
        expected, best = enumerated(rule, logits[row, :n])
        torch.testing.assert_close(marginals[row, :n], expected, rtol=1e-9, atol=1e-12)
        assert chosen[row, :n].tolist() == best.tolist()
        assert chosen[row, n:].tolist() == [0] * (width - n)
    torch.testing.assert_close(marginals[0, 5:], logits[0, 5:].exp())


@pytest.mark.parametrize("name", SUMS)
def test_a_molecule_does_not_depend_on_its_mates_or_the_padding(name: str) -> None:
    rule = SUMS[name]
    logits = torch.randn(2, 6, len(rule.steps), generator=torch.Generator().manual_seed(1)).double()
    mask = torch.arange(6)[None] < torch.tensor([[5], [4]])
    alone = rule.conditioned(logits[1:, :4], mask[1:, :4])
    spoilt = logits.clone()
    spoilt[0] = torch.nan
    torch.testing.assert_close(rule.conditioned(spoilt, mask)[1:, :4], alone, rtol=1e-12, atol=1e-12)
    assert (
        rule.most_probable(spoilt, mask)[1, :4].tolist() == rule.most_probable(logits[1:, :4], mask[1:, :4])[0].tolist()
    )


CONSTRAINTS: dict[str, Constraint] = {
    "mask": ElementMask(ELEMENTS, (True, True, False, True)),
    "formula": Composition(ELEMENTS, {"C": 3, "H": 5, "O": 1}),
    "one element": Composition(ELEMENTS, {"C": 9}),
    "charge": TotalCharge((-1, 0, 1), -2),
}


def counts_of(draw: RawSample) -> dict[str, int]:
    assert draw.arrays is not None
    return {ELEMENTS[k]: n for k, n in enumerate(np.bincount(draw.arrays.atom_type, minlength=4)) if n}


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("steps", [1, 3])
def test_no_draw_and_no_attempt_breaks_a_constraint(tiny_model: MoleculeModel, name: str, steps: int) -> None:
    starts = UnconditionalSampler({9: 1}, None, 1)
    molecule_sampler = MoleculeSampler(
        tiny_model,
        SOLVERS["ddpm"],
        steps,
        0,
        condition_sampler=starts,
        constraints=(CONSTRAINTS[name],),
        keep_predictions=True,
    )
    free = list(MoleculeSampler(tiny_model, SOLVERS["ddpm"], steps, 0, condition_sampler=starts).draw(0, 8))
    draws = sorted(molecule_sampler.draw(0, 8), key=lambda draw: draw.number)
    attempts = list(PartialWalks.late(molecule_sampler, 0.5).run(draws, 1))
    assert len(attempts) == 8
    broken = 0
    for some in (draws, attempts, free):
        for draw in some:
            assert draw.arrays is not None
            if name == "mask":
                good = "N" not in counts_of(draw)
            elif name == "charge":
                good = draw.arrays.charge.sum() - 9 == -2
            else:
                good = counts_of(draw) == ({"C": 9} if name == "one element" else {"C": 3, "H": 5, "O": 1})
            assert good or some is free
            broken += not good
    assert broken, "without the constraint they break it"


def test_a_draw_carries_beliefs_that_are_not_decided_yet(tiny_model: MoleculeModel) -> None:
    rule = CONSTRAINTS["formula"]
    made = MoleculeSampler(
        tiny_model, SOLVERS["ddpm"], 3, 0, condition_sampler=UnconditionalSampler({9: 1}, None, 1), constraints=(rule,),
        keep_predictions=True,
    )  # fmt: skip
    for draw in made.draw(0, 4):
        assert draw.log_probabilities is not None
        chances = np.exp(draw.log_probabilities.atom_type.astype(float))
        np.testing.assert_allclose(chances.sum(0), [5, 3, 0, 1], atol=1e-4)  # conditioned on the formula
        assert (chances.max(-1) < 0.999).any()


def test_what_is_not_finite_stays_so(tiny_model: MoleculeModel) -> None:
    batch = empty_batch(torch.tensor([9, 9]), torch.arange(2), 9, 1)
    atoms, charges = torch.zeros(2, 9, 4), torch.zeros(2, 9, 3)
    atoms[1, 0, 2] = charges[1, 0, 0] = torch.nan
    prediction = MolPrediction(batch.pos, atoms, charges, torch.zeros(2, 9, 9, 5))
    levels = tiny_model.schedule.levels(torch.full((2,), 0.5, dtype=torch.float64))
    for constraint in CONSTRAINTS.values():
        for made in (constraint.condition(batch, levels, prediction), constraint.decide(batch, prediction)):
            changed = [
                field for field in ("atom_type", "charge") if getattr(made, field) is not getattr(prediction, field)
            ]
            assert len(changed) == 1
            value = getattr(made, changed[0])
            assert bool(torch.isfinite(value[0]).all())
            assert float(value[0].min()) >= FORBIDDEN
            assert not bool(torch.isfinite(value[1]).all())


class Ammonium:
    """A decoder that makes NH4+ of anything."""

    def decode(self, draw: RawSample) -> DecodedMolecule:
        mol = Chem.AddHs(Chem.MolFromSmiles("[NH4+]"))
        return DecodedMolecule(Conversion(mol, mol, ""), "", "", "structured", 3)


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (CONSTRAINTS["mask"], "constraint: holds N"),
        (CONSTRAINTS["formula"], "constraint: is H4N1"),
        (CONSTRAINTS["charge"], "constraint: has a total charge of [+]1"),
        (TotalCharge((0, 1), 1), ""),
        (Composition(ELEMENTS, {"N": 1, "H": 4}), ""),
    ],
)
def test_whatever_decodes_a_molecule_that_breaks_a_constraint_is_invalid(constraint: Constraint, words: str) -> None:
    judged = VerifiedDecoder(Ammonium(), (constraint.rule,)).decode(RawSample(0, None, -1))
    assert judged.status == ("invalid" if words else "valid")
    assert judged.reason == words.replace("[+]", "+")


def test_formulas() -> None:
    assert parse_formula("C7H10O2") == {"C": 7, "H": 10, "O": 2}
    assert parse_formula("CH3CH2OH") == {"C": 2, "H": 6, "O": 1}
    assert parse_formula("CCl4") == {"C": 1, "Cl": 4}
    for text in ("", "c6", "C7H10O2+", "C0", "7", "C 2", "C7H10Xx2", "H1000"):
        with pytest.raises(MoldiffError, match="formula"):
            parse_formula(text)


def test_masks_of_elements(caplog: pytest.LogCaptureFixture) -> None:
    assert element_mask(None, (), VOCABULARY) is None
    assert element_mask(ELEMENTS, (), VOCABULARY) is None
    assert element_mask(("C", "O", "H"), (), VOCABULARY) == ElementMask(ELEMENTS, (True, True, False, True))
    assert element_mask(None, ("N",), VOCABULARY) == ElementMask(ELEMENTS, (True, True, False, True))
    assert element_mask(("C", "H"), ("O",), VOCABULARY) == ElementMask(ELEMENTS, (True, True, False, False))
    assert caplog.text == ""
    assert element_mask(None, ("F",), VOCABULARY) is None
    assert "the model does not know F anyway: its elements are H C N O" in caplog.text
    element_mask(("C",), (), VOCABULARY)
    assert "hydrogen is not among the allowed elements" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((), ("Q",)), "exclude_elements: 'Q' is no element symbol"),
        ((("c",), ()), "elements: 'c' is no element symbol"),
        ((None, ELEMENTS), "no element is left of the model's H C N O"),
        ((("C",), ("C",)), "exclude_elements: C is among the allowed elements too"),
        ((("C", "H", "O"), ("N", "O", "H")), "exclude_elements: H, O is among"),
        ((("F",), ()), "no element is left"),
    ],
)
def test_masks_that_leave_nothing(arguments: Any, words: str) -> None:
    with pytest.raises(MoldiffError, match=words):
        element_mask(*arguments, VOCABULARY)


@pytest.mark.parametrize(
    ("mask", "formula", "charge", "sizes", "words"),
    [
        (None, "C2H6F", None, None, "the model knows H C N O, not F"),
        (CONSTRAINTS["mask"], "CH5N", None, None, "contradicts the allowed elements: it holds N"),
        (None, "CH4O", None, (7, 9), r"has 6 atoms, which contradicts 7\.\.9 atoms"),
        (None, "CH4O", 1, None, "odd number of electrons: only radicals"),
        (
            None,
            "C2H8",
            None,
            None,
            "formula C2H8: no molecule in one piece, as 10 atoms take 9 bonds or more and these have 8",
        ),
        (None, None, -6, (5, 9), "charge -6 is out of reach: 5 atoms"),
    ],
)
def test_contradictions_are_one_line(
    mask: ElementMask | None, formula: str | None, charge: int | None, sizes: tuple[int, int] | None, words: str
) -> None:
    with pytest.raises(MoldiffError, match=words):
        constraints_of(mask, None if formula is None else parse_formula(formula), charge, VOCABULARY, sizes, 3)


def test_a_formula_fixes_the_size(caplog: pytest.LogCaptureFixture) -> None:
    constraints, sizes = constraints_of(None, parse_formula("CH4O"), 0, VOCABULARY, (3, 9), 3)
    assert sizes == (6, 6)
    assert [type(constraint) for constraint in constraints] == [Composition, TotalCharge]
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("formula", "charge", "possible"),
    [("CH3O", None, False), ("CH3O", 0, False), ("CH3O", 1, True), ("CH3O", -1, True), ("C7H", None, False),
     ("CH4NO", None, False), ("CH4NO", -1, True), ("CH4O", None, True), ("CH4O", -1, False), ("CH5NO", None, True)],
)  # fmt: skip
def test_a_formula_of_an_odd_number_of_electrons_is_refused(formula: str, charge: int | None, possible: bool) -> None:
    """Without a charge, it is read as that of a neutral molecule."""
    if possible:
        assert constraints_of(None, parse_formula(formula), charge, VOCABULARY, None, 3)[0]
        return
    with pytest.raises(MoldiffError, match=r"odd number of electrons: only radicals.*an odd charge"):
        constraints_of(None, parse_formula(formula), charge, VOCABULARY, None, 3)


HEAVY = Vocabulary(("C", "N", "O"), (0,), ("none", "single", "double"), explicit_hydrogens=False)


def test_a_formula_of_a_heavy_atom_model_fixes_heavy_atoms_and_demands_hydrogens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (exact,), sizes = constraints_of(None, parse_formula("C2H6O"), None, HEAVY, None, 3)
    assert isinstance(exact, Composition)
    assert (sizes, exact.counts, exact.hydrogens) == ((3, 3), {"C": 2, "O": 1}, 6)
    assert exact.demand(NO_CONSTRAINTS) == DecodingConstraints(counts=(2, 0, 1), hydrogens=6)
    ethanol, acetaldehyde = (Chem.AddHs(Chem.MolFromSmiles(smiles)) for smiles in ("CCO", "CC=O"))
    assert exact.rule(ethanol) == ""
    assert exact.rule(acetaldehyde) == "is C2H4O1"
    (derived,), sizes = constraints_of(None, parse_formula("C2O"), None, HEAVY, None, 3)
    assert isinstance(derived, Composition)
    assert (sizes, derived.hydrogens) == ((3, 3), None)
    assert [derived.rule(mol) for mol in (ethanol, acetaldehyde)] == ["", ""]
    assert derived.rule(Chem.AddHs(Chem.MolFromSmiles("CCN"))) == "is C2H7N1"
    with pytest.raises(MoldiffError, match=r"formula C2H6O has 3 heavy atoms, which contradicts 4\.\.9 heavy atoms"):
        constraints_of(None, parse_formula("C2H6O"), None, HEAVY, (4, 9), 3)
    with pytest.raises(MoldiffError, match="formula H2: the model makes heavy atoms, and there is none"):
        constraints_of(None, parse_formula("H2"), None, HEAVY, None, 3)
    with pytest.raises(MoldiffError, match="no molecule in one piece"):
        constraints_of(None, parse_formula("C2H8O"), None, HEAVY, None, 3)
    mask = element_mask(["C", "O"], (), HEAVY)
    assert mask is not None and mask.allowed == (True, False, True)
    assert "hydrogens come wherever a valence is open" in caplog.text
    constraints_of(mask, parse_formula("C2H6O"), None, HEAVY, None, 3)
    with pytest.raises(MoldiffError, match="hydrogens cannot be excluded"):
        element_mask(None, ["H"], HEAVY)


def test_sums_within_bounds_are_those_of_their_totals() -> None:
    torch.manual_seed(3)
    logits, mask = torch.randn(2, 4, 3), torch.tensor([[True] * 4, [True, True, True, False]])
    steps, allowed = ((0,), (1,), (2,)), (True, True, True)
    within = FixedSum("bond_type", steps, allowed, (3,), (1,))
    log_p = torch.log_softmax(logits.double(), -1)
    for row in range(2):
        n = int(mask[row].sum())
        ways = [way for way in itertools.product(range(3), repeat=n) if 1 <= sum(way) <= 3]
        chances = torch.stack([sum(log_p[row, i, k] for i, k in enumerate(way)) for way in ways]).softmax(0)
        exact = torch.zeros(n, 3, dtype=torch.float64)
        for way, chance in zip(ways, chances, strict=True):
            for i, k in enumerate(way):
                exact[i, k] += chance
        torch.testing.assert_close(within.conditioned(logits, mask)[row, :n].exp(), exact)
        best = ways[int(chances.argmax())]
        assert tuple(within.most_probable(logits, mask)[row, :n].tolist()) == best


def test_the_command_line(model: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    command = ("generate", "-n", "4", "--evaluations", "2", "--model", model, "-o", tmp_path / "m.sdf", "--overwrite")
    result = run(*command, "--formula", "C2H6O", "--charge", "0", "--elements", "C,H,O", "--keep-invalid")
    assert result.status == 0, result.err
    assert {row["n_atoms"] for row in csv.DictReader((tmp_path / "m.csv").open())} == {"9"}
    text = (tmp_path / "m.sdf").read_text()
    assert [text.count(f" {symbol}   0 ") for symbol in ("C", "H", "O", "N")] == [8, 24, 4, 0]
    run(*command, "--formula", "C2H6O", "--exclude-elements", "O").assert_refused("contradicts the allowed elements")
    run(*command, "--charge", "-9").assert_refused("charge -9 is out of reach")
