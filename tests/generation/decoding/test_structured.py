"""The integer programme: against brute force on small molecules, and on real molecules whose prediction is spoilt."""

import itertools
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.optimize
from rdkit import Chem

from moldiff.arrays import LogProbabilities, MolArrays
from moldiff.chem.convert import classes_of
from moldiff.chem.valence import closed_shell_states
from moldiff.generation.decoding.integer_program import AtomStates
from moldiff.generation.decoding.structured import Limits, Solution, decode_structured
from moldiff.sampling.demands import DecodingConstraints, FixedAtoms
from moldiff.vocabulary import Vocabulary

FULL = Vocabulary(("H", "C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"))
SMALL = Vocabulary(("H", "C", "O"), (-1, 0, 1), ("none", "single", "double"))
ORDERS = {"none": (0,), "single": (1,), "double": (2,), "triple": (3,), "aromatic": (1, 2)}


def states_of(vocabulary: Vocabulary) -> AtomStates:
    states = closed_shell_states(vocabulary.elements, vocabulary.charges)
    return AtomStates(
        np.array([vocabulary.elements.index(s.symbol) for s in states]),
        np.array([vocabulary.charges.index(s.charge) for s in states]),
        np.array([s.charge for s in states]),
        np.array([s.valence for s in states]),
        np.array([s.gives_to_ring for s in states]),
    )


def normalised(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def random_beliefs(n: int, vocabulary: Vocabulary, seed: int, favoured: str = "") -> LogProbabilities:
    """Random log-probabilities; those of one bond class may be raised."""
    generator = np.random.default_rng(seed)
    bond = generator.normal(size=(n, n, len(vocabulary.bonds)))
    if favoured:
        bond[:, :, vocabulary.bonds.index(favoured)] += 2.0
    return LogProbabilities(
        normalised(2 * generator.normal(size=(n, len(vocabulary.elements)))),
        normalised(generator.normal(size=(n, len(vocabulary.charges)))),
        normalised(bond + bond.swapaxes(0, 1)),
    )


def is_connected(n: int, edges: list[tuple[int, int]]) -> bool:
    reached, grown = {0}, True
    while grown:
        more = {end for edge in edges if reached & set(edge) for end in edge} - reached
        reached, grown = reached | more, bool(more)
    return len(reached) == n


def brute_force(
    beliefs: LogProbabilities,
    vocabulary: Vocabulary,
    total_charge: int,
    fits: np.ndarray | None = None,
    constraints: DecodingConstraints | None = None,
) -> float:
    """Return the highest log-probability of a sound molecule by trying every one; -inf if there is none."""
    if fits is not None or constraints is not None:
        return brute_force_by_elements(beliefs, vocabulary, total_charge, fits, constraints or DecodingConstraints())
    n, states, best = len(beliefs.atom_type), states_of(vocabulary), -np.inf
    pairs = list(itertools.combinations(range(n), 2))
    options = [(kind, order) for kind, name in enumerate(vocabulary.bonds) for order in ORDERS[name]]
    score = beliefs.atom_type[:, states.element] + beliefs.charge[:, states.charge]
    tables = [[beliefs.bond_type[i, j, kind] for kind, _ in options] for i, j in pairs]
    for chosen in itertools.product(range(len(options)), repeat=len(pairs)):
        bonds = [options[k] for k in chosen]
        valence, aromatic, double = [0] * n, [0] * n, [False] * n
        for (kind, order), pair in zip(bonds, pairs, strict=True):
            for i in pair:
                valence[i] += order
                aromatic[i] += vocabulary.bonds[kind] == "aromatic"
                double[i] |= order == 2
        if max(valence) > 4 or min(valence) < 1 or 1 in aromatic:
            continue
        if not is_connected(n, [pair for (_, order), pair in zip(bonds, pairs, strict=True) if order]):
            continue
        sums = {0: sum(tables[p][k] for p, k in enumerate(chosen))}  # total charge -> best score
        for i in range(n):
            allowed = (states.valence == valence[i]) & (states.ring | (not aromatic[i] or double[i]))
            new: dict[int, float] = {}
            for state in np.flatnonzero(allowed).tolist():
                for charge, value in sums.items():
                    key = charge + int(states.formal[state])
                    new[key] = max(new.get(key, -np.inf), value + score[i, state])
            sums = new
        best = max(best, sums.get(total_charge, -np.inf))
    return float(best)


def brute_force_by_elements(
    beliefs: LogProbabilities,
    vocabulary: Vocabulary,
    total_charge: int,
    fits: np.ndarray | None,
    constraints: DecodingConstraints,
) -> float:
    """The same, with rules for elements and bonds: each choice of elements leaves some bonds; the rest is as before."""
    n, best = len(beliefs.atom_type), -np.inf
    for elements in itertools.product(range(len(vocabulary.elements)), repeat=n):
        if not elements_obey(elements, constraints):
            continue
        atom_type, bond_type = np.full_like(beliefs.atom_type, -np.inf), beliefs.bond_type.copy()
        atom_type[range(n), elements] = beliefs.atom_type[range(n), elements]
        for i, j in itertools.permutations(range(n), 2):
            if fits is not None:
                allowed = fits[i, j, :, elements[i], elements[j]].copy()
                allowed[0] = True
                bond_type[i, j, ~allowed] = -np.inf
        left = LogProbabilities(atom_type, beliefs.charge, bond_type)
        total = total_charge if constraints.total_charge is None else constraints.total_charge
        best = max(best, brute_force(left, vocabulary, total))
    return best


def elements_obey(elements: tuple[int, ...], constraints: DecodingConstraints) -> bool:
    allowed, counts = constraints.allowed, constraints.counts
    if counts is not None and any(elements.count(element) != count for element, count in enumerate(counts)):
        return False
    return allowed is None or all(allowed[element] for element in elements)


def score_of(solution: Solution, beliefs: LogProbabilities) -> float:
    """Return the summed log-probabilities of a solution."""
    n = len(beliefs.atom_type)
    kinds = np.zeros((n, n), dtype=int)
    kinds[solution.bonds[:, 0], solution.bonds[:, 1]] = solution.bonds[:, 2]
    atoms = np.arange(n)
    total = beliefs.atom_type[atoms, solution.atom_type].sum() + beliefs.charge[atoms, solution.charge].sum()
    return float(total + sum(beliefs.bond_type[i, j, kinds[i, j]] for i, j in itertools.combinations(range(n), 2)))


def assert_sound(solution: Solution, vocabulary: Vocabulary, total_charge: int) -> None:
    """Assert valence, total charge, connectivity and what aromatic bonds ask for."""
    n, states = len(solution.atom_type), states_of(vocabulary)
    known = {(int(e), int(c), int(v)) for e, c, v in zip(states.element, states.charge, states.valence, strict=True)}
    aromatic = solution.bonds[:, 2] == FULL.bonds.index("aromatic")
    for i in range(n):
        at = (solution.bonds[:, :2] == i).any(axis=1)
        assert (int(solution.atom_type[i]), int(solution.charge[i]), int(solution.orders[at].sum())) in known
        assert (at & aromatic).sum() != 1
    for (_, _, kind), order in zip(solution.bonds.tolist(), solution.orders.tolist(), strict=True):
        assert order in ORDERS[vocabulary.bonds[kind]]
    assert np.array(vocabulary.charges)[solution.charge].sum() == total_charge
    assert is_connected(n, [(i, j) for i, j, _ in solution.bonds.tolist()])


@pytest.mark.parametrize("total_charge", [0, 1])
@pytest.mark.parametrize(
    ("n", "vocabulary", "favoured", "seeds"),
    [(3, FULL, "", 6), (3, FULL, "aromatic", 6), (4, FULL, "aromatic", 1), (4, SMALL, "", 4), (5, SMALL, "none", 1)],
)
def test_the_optimum_is_that_of_brute_force(
    n: int, vocabulary: Vocabulary, favoured: str, seeds: int, total_charge: int
) -> None:
    for seed in range(seeds):
        beliefs = random_beliefs(n, vocabulary, seed, favoured)
        best = brute_force(beliefs, vocabulary, total_charge)
        found = decode_structured(
            beliefs, vocabulary, states_of(vocabulary), total_charge, Limits(floor=1e-12)
        ).solution
        if found is None:
            assert best == -np.inf
            continue
        assert_sound(found, vocabulary, total_charge)
        assert score_of(found, beliefs) == pytest.approx(best, abs=1e-4)
        upper = sum(values.max(-1).sum() for values in (beliefs.atom_type, beliefs.charge))
        upper += beliefs.bond_type.max(-1)[np.triu_indices(n, k=1)].sum()
        assert found.lost == pytest.approx(upper - best, abs=1e-4)


def test_bonds_fit_their_elements_as_well_as_brute_force_can() -> None:
    n, kinds, elements, mattered = 3, len(FULL.bonds), len(FULL.elements), 0
    for seed in range(6):
        beliefs = random_beliefs(n, FULL, seed)
        fits = np.random.default_rng(seed).random((n, n, kinds, elements, elements)) < 0.3
        fits |= fits.transpose(1, 0, 2, 4, 3)
        best = brute_force(beliefs, FULL, 0, fits)
        mattered += best < brute_force(beliefs, FULL, 0)
        found = decode_structured(beliefs, FULL, states_of(FULL), 0, Limits(floor=1e-12), fits)
        if found.solution is None:
            assert best == -np.inf
            assert found.reason == "no molecule obeys valence, connectivity and bond lengths"
            continue
        assert_sound(found.solution, FULL, 0)
        assert score_of(found.solution, beliefs) == pytest.approx(best, abs=1e-4)
        for i, j, kind in found.solution.bonds.tolist():
            assert fits[i, j, kind, found.solution.atom_type[i], found.solution.atom_type[j]]
    assert mattered >= 3


# of H, C, N, O: water has the elements of no other closed shell, hydroxide and cyanide have a charge
DEMANDS = [
    DecodingConstraints(counts=(2, 0, 0, 1)),
    DecodingConstraints(counts=(1, 1, 1, 0)),
    DecodingConstraints(allowed=(True, False, True, True)),
    DecodingConstraints(total_charge=-1),
    DecodingConstraints(total_charge=1, allowed=(True, True, False, True)),
    DecodingConstraints(total_charge=1, counts=(1, 0, 2, 0)),
]


@pytest.mark.parametrize("constraints", DEMANDS)
def test_the_optimum_is_that_of_brute_force_among_molecules_as_demanded(constraints: DecodingConstraints) -> None:
    free, mattered, total = 0, 0, constraints.total_charge or 0
    for seed in range(8):
        beliefs = random_beliefs(3, FULL, seed)
        best = brute_force(beliefs, FULL, 0, constraints=constraints)
        mattered += best < brute_force(beliefs, FULL, 0) - 1e-3
        found = decode_structured(
            beliefs, FULL, states_of(FULL), 0, Limits(floor=1e-12), constraints=constraints
        ).solution
        assert (found is None) == (best == -np.inf)
        if found is not None:
            free += 1
            assert_sound(found, FULL, total)
            assert elements_obey(tuple(found.atom_type.tolist()), constraints)
            assert score_of(found, beliefs) == pytest.approx(best, abs=1e-4)
    assert free >= 6
    assert mattered >= 4


def test_what_is_demanded_and_cannot_be_had_is_a_reason() -> None:
    arrays = arrays_of("CO")
    beliefs = beliefs_of(arrays, FULL, 0)
    for constraints, words in (
        (DecodingConstraints(counts=(5, 1, 0, 0)), ""),
        (DecodingConstraints(counts=(5, 1, 0, 1)), ""),
        (DecodingConstraints(counts=(4, 1, 0, 0)), ""),
        (DecodingConstraints(allowed=(True, False, False, False)), ""),
        (DecodingConstraints(total_charge=-1, counts=(4, 1, 0, 1)), " with a total charge of -1"),
    ):
        decoded = decode_structured(beliefs, FULL, states_of(FULL), 0, constraints=constraints)
        assert decoded.solution is None
        assert decoded.reason == f"no molecule{words} obeys valence, connectivity and the constraints"


def kept_of(arrays: MolArrays, k: int) -> FixedAtoms:
    """The first k atoms of a molecule, cut at single bonds."""
    n = len(arrays.atom_type)
    kinds = np.zeros((n, n), dtype=int)
    kinds[arrays.bonds[:, 0], arrays.bonds[:, 1]] = arrays.bonds[:, 2]
    kinds += kinds.T
    return FixedAtoms(arrays.atom_type[:k], arrays.charge[:k], kinds[:k, :k], kinds[:k, k:].sum(axis=1))


def test_kept_atoms_stay_as_they_are_whatever_the_prediction_says() -> None:
    """Kept are O, C, N and the first hydrogen of aminomethanol; the prediction is of methoxyamine, CON."""
    arrays = arrays_of("OCN")
    beliefs = beliefs_of(arrays, FULL, 0)
    for i, j, kind in ((1, 2, 0), (0, 2, 1), (0, 3, 0), (1, 3, 1)):
        beliefs = with_bond(beliefs, i, j, kind, margin=3.0)
    free = decode_structured(beliefs, FULL, states_of(FULL), 0).solution
    assert free is not None
    assert [0, 2, 1] in free.bonds.tolist()
    found = decode_structured(
        beliefs, FULL, states_of(FULL), 0, constraints=DecodingConstraints(kept=kept_of(arrays, 4))
    ).solution
    assert_same(found, arrays)


def test_orders_of_kept_bonds_stay() -> None:
    """The ring of cyclobutadiene is kept; in the prediction its double bonds are the single ones."""
    arrays = arrays_of("C1=CC=C1")
    beliefs = beliefs_of(arrays, FULL, 0)
    ring = arrays.bonds[arrays.bonds[:, 1] < 4]
    for i, j, kind in ring.tolist():
        beliefs = with_bond(beliefs, i, j, 3 - kind, margin=3.0)
    free = decode_structured(beliefs, FULL, states_of(FULL), 0).solution
    assert free is not None
    assert np.array_equal(free.bonds[free.bonds[:, 1] < 4][:, 2], 3 - ring[:, 2])
    constraints = DecodingConstraints(kept=kept_of(arrays, 4))
    assert_same(decode_structured(beliefs, FULL, states_of(FULL), 0, constraints=constraints).solution, arrays)


def test_a_kept_bond_stays_where_sulphur_could_do_without() -> None:
    """Two atoms of tetravalent sulphur with a double bond are kept; the prediction has dithietane, where they have none
    and are divalent."""
    sulphur = Vocabulary(("H", "C", "S"), (0,), FULL.bonds)
    arrays = arrays_of("S12=S(C1)C2", sulphur)
    beliefs = with_bond(beliefs_of(arrays, sulphur, 0), 0, 1, 0, margin=3.0)
    free = decode_structured(beliefs, sulphur, states_of(sulphur), 0).solution
    assert free is not None
    assert [0, 1] not in free.bonds[:, :2].tolist()
    constraints = DecodingConstraints(kept=kept_of(arrays, 2))
    assert_same(decode_structured(beliefs, sulphur, states_of(sulphur), 0, constraints=constraints).solution, arrays)


def test_no_aromatic_bond_leaves_kept_atoms() -> None:
    """Of benzene, two neighbours are kept as if they were ethene's: a ring of aromatic bonds cannot be closed."""
    arrays = arrays_of("c1ccccc1")
    beliefs = beliefs_of(arrays, FULL, 0)
    kept = FixedAtoms(np.array([1, 1]), np.array([1, 1]), np.array([[0, 4], [4, 0]]), np.array([2, 2]))
    found = decode_structured(beliefs, FULL, states_of(FULL), 0, constraints=DecodingConstraints(kept=kept)).solution
    assert found is None or not (found.bonds[(found.bonds[:, 0] < 2) & (found.bonds[:, 1] > 1)][:, 2] == 4).any()
    kept = replace(kept, bond_type=np.array([[0, 2], [2, 0]]))
    found = decode_structured(beliefs, FULL, states_of(FULL), 0, constraints=DecodingConstraints(kept=kept)).solution
    assert found is not None
    assert not (found.bonds[found.bonds[:, 0] < 2][:, 2] == FULL.bonds.index("aromatic")).any()


def test_the_element_of_a_kept_atom_stays() -> None:
    """The oxygen of dimethyl ether, where the prediction has sulphur of the same valence."""
    heavier = Vocabulary(("H", "C", "O", "S"), (0,), FULL.bonds)
    arrays = arrays_of("O(C)C", heavier)
    beliefs = beliefs_of(arrays, heavier, 0)
    atom_type = beliefs.atom_type.copy()
    atom_type[0] = normalised(np.array([0.0, 0.0, 0.0, 9.0]))
    spoilt = replace(beliefs, atom_type=atom_type)
    free = decode_structured(spoilt, heavier, states_of(heavier), 0).solution
    assert free is not None
    assert free.atom_type[0] == 3
    constraints = DecodingConstraints(kept=kept_of(arrays, 1))
    assert_same(decode_structured(spoilt, heavier, states_of(heavier), 0, constraints=constraints).solution, arrays)


def test_the_charge_of_a_kept_atom_stays() -> None:
    """Carbon of three bonds may be a cation or an anion: the prediction has them the other way round."""
    arrays = arrays_of("[CH2-][CH2+]")
    beliefs = beliefs_of(arrays, FULL, 0)
    spoilt = replace(beliefs, charge=beliefs.charge[[1, 0, 2, 3, 4, 5]])
    free = decode_structured(spoilt, FULL, states_of(FULL), 0).solution
    assert free is not None
    assert free.charge.tolist() == [2, 0, 1, 1, 1, 1]
    constraints = DecodingConstraints(kept=kept_of(arrays, 1))
    assert_same(decode_structured(spoilt, FULL, states_of(FULL), 0, constraints=constraints).solution, arrays)


def test_bonds_that_leave_kept_atoms_fill_their_open_valences() -> None:
    """An aromatic nitrogen may carry a hydrogen or a double bond of the ring; those of kept imidazole must not swap."""
    arrays = arrays_of("c1c[nH]cn1")
    hydrogen = int(arrays.bonds[(arrays.bonds[:, 0] == 2) & (arrays.bonds[:, 1] > 4)][0, 1])
    beliefs = with_bond(beliefs_of(arrays, FULL, 0), 2, hydrogen, 0, margin=5.0)
    beliefs = with_bond(beliefs, 4, hydrogen, 1, margin=5.0)
    free = decode_structured(beliefs, FULL, states_of(FULL), 0).solution
    assert free is not None
    assert [4, hydrogen, 1] in free.bonds.tolist()
    kept = kept_of(arrays, 5)
    assert kept.open_valences.tolist() == [1, 1, 1, 1, 0]
    assert_same(
        decode_structured(beliefs, FULL, states_of(FULL), 0, constraints=DecodingConstraints(kept=kept)).solution,
        arrays,
    )


def arrays_of(smiles: str, vocabulary: Vocabulary = FULL) -> MolArrays:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(True)
    mol.AddConformer(conformer)
    return classes_of(mol, vocabulary)


def beliefs_of(arrays: MolArrays, vocabulary: Vocabulary, seed: int, sure: float = 8.0) -> LogProbabilities:
    """A prediction that favours a molecule, with noise on every logit."""
    generator = np.random.default_rng(seed)
    n = len(arrays.atom_type)

    def logits(classes: np.ndarray, count: int) -> np.ndarray:
        return sure * np.eye(count)[classes] + generator.normal(size=(*classes.shape, count))

    kinds = np.zeros((n, n), dtype=int)
    kinds[arrays.bonds[:, 0], arrays.bonds[:, 1]] = arrays.bonds[:, 2]
    bond = logits(kinds + kinds.T, len(vocabulary.bonds))
    return LogProbabilities(
        normalised(logits(arrays.atom_type, len(vocabulary.elements))),
        normalised(logits(arrays.charge, len(vocabulary.charges))),
        normalised((bond + bond.swapaxes(0, 1)) / 2),
    )


def with_bond(beliefs: LogProbabilities, i: int, j: int, kind: int, margin: float) -> LogProbabilities:
    """Make a class of one bond the most probable one, by a margin in nats over the best one so far."""
    bond = beliefs.bond_type.copy()
    bond[i, j, kind] = bond[i, j].max() + margin
    bond[i, j] = bond[j, i] = normalised(bond[i, j])
    return replace(beliefs, bond_type=bond)


def assert_same(solution: Solution | None, arrays: MolArrays) -> None:
    assert solution is not None
    assert np.array_equal(solution.atom_type, arrays.atom_type)
    assert np.array_equal(solution.charge, arrays.charge)
    assert np.array_equal(solution.bonds, arrays.bonds)


REAL = {
    "benzene": "c1ccccc1",
    "pyridine": "c1ccncc1",
    "pyrrole": "c1cc[nH]c1",
    "furan": "c1ccoc1",
    "pyridone": "O=c1cccc[nH]1",
    "nitromethane": "C[N+](=O)[O-]",
    "glycine zwitterion": "[NH3+]CC(=O)[O-]",
    "carbon monoxide": "[C-]#[O+]",
    "isocyanide": "C[N+]#[C-]",
    "imidazole": "c1c[nH]cn1",
    "indole": "c1ccc2[nH]ccc2c1",
    "norbornane": "C1CC2CCC1C2",
    "bicyclobutane": "C1C2CC12",
    "propellane": "C1C23CC1(C2)C3",
    "ethynyl": "C#CC(=O)N",
}


@pytest.mark.parametrize("smiles", REAL.values(), ids=REAL.keys())
def test_a_real_molecule_comes_back_from_a_spoilt_prediction(smiles: str) -> None:
    arrays = arrays_of(smiles)
    charges = int(np.array(FULL.charges)[arrays.charge].sum())
    for seed, (i, j, kind) in enumerate(arrays.bonds.tolist()[:4]):
        beliefs = beliefs_of(arrays, FULL, seed)
        wrong = 2 if FULL.bonds[kind] != "double" else 1
        spoilt = with_bond(beliefs, i, j, wrong, margin=1.0)
        assert spoilt.bond_type[i, j].argmax() == wrong
        found = decode_structured(spoilt, FULL, states_of(FULL), charges).solution
        assert_same(found, arrays)
        assert found is not None
        assert found.lost == pytest.approx(1.0, abs=1e-3)  # the margin is all that has to be given up


@pytest.mark.parametrize("smiles", ["c1cc[nH]c1", "c1ccc2[nH]ccc2c1", "O=c1cccc[nH]1"])
def test_the_orders_are_a_kekule_form(smiles: str) -> None:
    arrays = arrays_of(smiles)
    found = decode_structured(beliefs_of(arrays, FULL, 0), FULL, states_of(FULL), 0).solution
    assert found is not None
    mol = Chem.RWMol()
    for element in found.atom_type:
        mol.AddAtom(Chem.Atom(FULL.elements[element]))
    kinds = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
    for (i, j, _), order in zip(found.bonds.tolist(), found.orders.tolist(), strict=True):
        mol.AddBond(i, j, kinds[order])
    Chem.SanitizeMol(mol)
    assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == Chem.CanonSmiles(smiles)


def test_a_ring_without_pi_electrons_is_not_aromatic() -> None:
    """The prediction calls the ring of cyclopropane aromatic; its atoms have nothing to give to the ring."""
    arrays = arrays_of("C1CC1")
    beliefs = beliefs_of(arrays, FULL, 0)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        beliefs = with_bond(beliefs, i, j, FULL.bonds.index("aromatic"), margin=1.0)
    found = decode_structured(beliefs, FULL, states_of(FULL), 0).solution
    assert_same(found, arrays)
    assert found is not None
    assert found.lost == pytest.approx(3.0, abs=1e-3)


def test_two_sound_molecules_in_one_cloud_are_joined_through_cuts() -> None:
    """Hydrogen and water are each sound, and what the prediction says; a single molecule must be found instead."""
    beliefs = beliefs_of(arrays_of("[H][H].O", SMALL), SMALL, 3, sure=3.0)
    found = decode_structured(beliefs, SMALL, states_of(SMALL), 0, Limits(floor=1e-12)).solution
    assert found is not None
    assert found.cuts > 0
    assert_sound(found, SMALL, 0)
    assert score_of(found, beliefs) == pytest.approx(brute_force(beliefs, SMALL, 0), abs=1e-4)


def test_molecules_that_cannot_be_joined_are_a_reason() -> None:
    hydrogen = states_of(FULL).take(states_of(FULL).element == FULL.elements.index("H"))
    decoded = decode_structured(beliefs_of(arrays_of("[H][H].[H][H]"), FULL, 0), FULL, hydrogen, 0)
    assert (decoded.solution, decoded.reason) == (None, "no molecule obeys valence and connectivity")


@pytest.mark.parametrize("total_charge", [-1, 0, 1])
def test_the_total_charge_is_kept(total_charge: int) -> None:
    beliefs = beliefs_of(arrays_of("CN"), FULL, 0, sure=5.0)
    found = decode_structured(beliefs, FULL, states_of(FULL), total_charge).solution
    assert found is not None
    assert_sound(found, FULL, total_charge)


def test_without_explicit_hydrogens_valences_may_stay_open() -> None:
    heavy = Vocabulary(("C", "N", "O"), (-1, 0, 1), FULL.bonds, explicit_hydrogens=False)
    arrays = arrays_of("Cc1cc[nH]c1", heavy)
    i, j, _ = arrays.bonds[1].tolist()
    spoilt = with_bond(beliefs_of(arrays, heavy, 0), i, j, heavy.bonds.index("triple"), margin=1.0)
    assert_same(decode_structured(spoilt, heavy, states_of(heavy), 0).solution, arrays)


def test_a_vocabulary_without_aromatic_bonds() -> None:
    kekule = Vocabulary(FULL.elements, FULL.charges, FULL.bonds[:4])
    arrays = arrays_of("c1ccncc1", kekule)
    i, j, kind = arrays.bonds[0].tolist()
    spoilt = with_bond(beliefs_of(arrays, kekule, 0), i, j, 3 - kind, margin=1.0)
    assert_same(decode_structured(spoilt, kekule, states_of(kekule), 0).solution, arrays)


def test_a_single_atom_is_an_ion() -> None:
    alone = LogProbabilities(normalised(np.zeros((1, 4))), normalised(np.zeros((1, 3))), np.zeros((1, 1, 5)))
    found = decode_structured(alone, FULL, states_of(FULL), 1).solution
    assert found is not None
    assert (FULL.elements[found.atom_type[0]], FULL.charges[found.charge[0]], len(found.bonds)) == ("H", 1, 0)
    assert decode_structured(alone, FULL, states_of(FULL), 0).solution is None


def test_a_bond_below_the_floor_is_never_formed() -> None:
    arrays = arrays_of("CC")
    beliefs = beliefs_of(arrays, FULL, 0)
    bond = beliefs.bond_type.copy()
    bond[0, 1] = bond[1, 0] = normalised(np.array([0.0, -15.0, -30.0, -30.0, -30.0]))
    beliefs = replace(beliefs, bond_type=bond)
    assert_same(decode_structured(beliefs, FULL, states_of(FULL), 0, Limits(floor=1e-8)).solution, arrays)
    higher = decode_structured(beliefs, FULL, states_of(FULL), 0, Limits(floor=1e-6)).solution
    assert higher is None or [0, 1] not in higher.bonds[:, :2].tolist()


@pytest.mark.parametrize("total_charge", [0, 3])
def test_no_such_molecule_is_a_reason(total_charge: int) -> None:
    """Nothing is made of hydrogens alone, three of them, and no charge can be had that no atom has."""
    states = states_of(FULL).take(states_of(FULL).element == 0)
    decoded = decode_structured(random_beliefs(3, FULL, 0), FULL, states, total_charge)
    assert decoded.solution is None
    assert decoded.reason == (
        "no molecule with a total charge of +3 obeys valence and connectivity"
        if total_charge
        else "no molecule obeys valence and connectivity"
    )


def test_meeting_a_limit_is_a_reason() -> None:
    beliefs = random_beliefs(8, FULL, 0)
    late = decode_structured(beliefs, FULL, states_of(FULL), 0, Limits(seconds=0.01))
    assert (late.solution, late.reason) == (None, "time limit of 0.01 s")
    far = decode_structured(beliefs, FULL, states_of(FULL), 0, Limits(nodes=1))
    assert (far.solution, far.reason) == (None, "limit of 1 nodes")


def test_a_search_during_which_the_process_was_stopped_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    beliefs, calls = random_beliefs(5, FULL, 0), 0
    expected = decode_structured(beliefs, FULL, states_of(FULL), 0)
    solve, monotonic = scipy.optimize.milp, time.monotonic

    def stopped(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 1:
            return solve(*arguments, **options)
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 100)  # HiGHS sees that its time is over
        return SimpleNamespace(status=1, x=None, mip_node_count=5)

    monkeypatch.setattr(scipy.optimize, "milp", stopped)
    found = decode_structured(beliefs, FULL, states_of(FULL), 0)
    assert calls > 1 and expected.solution is not None and found.solution is not None
    assert found.reason == expected.reason
    assert np.array_equal(found.solution.bonds, expected.solution.bonds)


def test_what_is_not_a_number_is_a_reason() -> None:
    beliefs = random_beliefs(4, FULL, 0)
    decoded = decode_structured(replace(beliefs, charge=beliefs.charge * np.nan), FULL, states_of(FULL), 0)
    assert (decoded.solution, decoded.reason) == (None, "the prediction is not finite")


def test_forbidden_classes_may_have_probability_zero() -> None:
    arrays = arrays_of("CO")
    beliefs = beliefs_of(arrays, FULL, 0)
    masked = beliefs.atom_type.copy()
    masked[:, FULL.elements.index("N")] = -np.inf
    spoilt = with_bond(replace(beliefs, atom_type=normalised(masked)), 0, 1, 2, margin=1.0)
    assert_same(decode_structured(spoilt, FULL, states_of(FULL), 0).solution, arrays)


def test_the_same_prediction_gives_the_same_molecule() -> None:
    beliefs = random_beliefs(5, FULL, 1)
    one, other = (decode_structured(beliefs, FULL, states_of(FULL), 0).solution for _ in range(2))
    assert one is not None and other is not None
    assert np.array_equal(one.bonds, other.bonds)
    assert np.array_equal(one.orders, other.orders)
    assert (one.lost, one.nodes, one.cuts) == (other.lost, other.nodes, other.cuts)


HEAVY = Vocabulary(("C", "O"), (0,), ("none", "single", "double"), explicit_hydrogens=False)


def hydrogens_of(solution: Solution, n: int) -> int:
    """Hydrogens that the valences of carbon and oxygen leave."""
    used = np.zeros(n, dtype=int)
    for (i, j, _), order in zip(solution.bonds.tolist(), solution.orders.tolist(), strict=True):
        used[[i, j]] += order
    return int((np.where(solution.atom_type == 0, 4, 2) - used).sum())


def test_hydrogens_that_are_no_atoms_can_be_demanded() -> None:
    likeliest = -np.inf
    beliefs = random_beliefs(4, HEAVY, 3)
    free = decode_structured(beliefs, HEAVY, states_of(HEAVY), 0).solution
    assert free is not None
    for hydrogens in (2, 4, 6, 8):
        constraints = DecodingConstraints(hydrogens=hydrogens)
        found = decode_structured(beliefs, HEAVY, states_of(HEAVY), 0, constraints=constraints).solution
        assert found is not None
        assert hydrogens_of(found, 4) == hydrogens
        likeliest = max(likeliest, -found.lost)
    assert likeliest == pytest.approx(-free.lost), "one of these numbers is that of the most probable molecule"
    odd = decode_structured(beliefs, HEAVY, states_of(HEAVY), 0, constraints=DecodingConstraints(hydrogens=3))
    assert odd.solution is None


def test_hydrogens_fill_what_kept_atoms_of_a_heavy_atom_model_leave_open() -> None:
    kept = FixedAtoms(
        np.array([0, 0]), np.array([0, 0]), np.array([[0, 1], [1, 0]]), np.array([2, 0]), np.array([1, 0])
    )
    for seed in range(4):
        beliefs = random_beliefs(4, HEAVY, seed)
        found = decode_structured(
            beliefs, HEAVY, states_of(HEAVY), 0, constraints=DecodingConstraints(kept=kept)
        ).solution
        assert found is not None
        leaving = {0: 0, 1: 0}
        for (i, j, _), order in zip(found.bonds.tolist(), found.orders.tolist(), strict=True):
            if i < 2 <= j:
                leaving[i] += order
        assert 1 <= leaving[0] <= 2
        assert leaving[1] == 0
