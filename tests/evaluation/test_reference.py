"""References: what they keep, how they travel, and that the floor separates real from distorted molecules."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from moldiff.chem.graph import MolGraph
from moldiff.chem.identity import text_key
from moldiff.chem.io.records import mol_to_sdf_record, read_records, write_sdf
from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.evaluation.assess import Assessment, assess_file
from moldiff.evaluation.compare import compare
from moldiff.evaluation.distributions import summarise, wasserstein
from moldiff.evaluation.load_reference import load_reference, reference_from_dataset, reference_from_sdf
from moldiff.evaluation.measurements import KINDS, Measurements
from moldiff.evaluation.reference import Reference, build_reference, distances, weighted_average
from moldiff.models.folder import save_model_folder
from moldiff.models.references import TrainingKeys


@pytest.fixture(scope="module")
def rows(sample_path: Path) -> list[Assessment]:
    return assess_file(sample_path)[0]


@pytest.fixture(scope="module")
def sample(rows: list[Assessment]) -> Measurements:
    return Measurements.of([row.mol for row in rows if row.mol is not None])


@pytest.fixture(scope="module")
def halves(sample: Measurements) -> tuple[Measurements, Measurements]:
    return sample.take(np.arange(0, 200, 2)), sample.take(np.arange(1, 200, 2))


@pytest.fixture(scope="module")
def reference(halves: tuple[Measurements, Measurements]) -> Reference:
    keys = TrainingKeys.of(np.array([[3, 30], [1, 10], [2**64 - 1, 20]], dtype=np.uint64))
    return build_reference("held-out half", halves[0], halves[1], keys)


def distorted(sample: Measurements, noise: float) -> Measurements:
    generator = np.random.default_rng(0)
    graphs = (
        MolGraph(g.numbers, g.charges, g.positions + noise * generator.normal(size=g.positions.shape), g.bonds)
        for g in sample.graphs
    )
    return Measurements(tuple(graphs), sample.properties, sample.motifs)


def test_real_molecules_sit_at_the_floor_and_distorted_ones_above(
    reference: Reference, halves: tuple[Measurements, Measurements]
) -> None:
    real, noisy = compare(halves[1], reference), compare(distorted(halves[1], 0.05), reference)
    for kind in ("bond", "angle"):
        w1, floor = real.geometry[kind].w1, real.geometry[kind].floor
        assert w1 is not None
        assert floor == pytest.approx(w1, rel=0.05)  # the same 100 training molecules
        assert noisy.geometry[kind].w1 > 2 * floor
    assert real.geometry["bond"].measured > 0.9
    assert real.geometry["bond"].types["C-C"].w1 < 0.01


def test_the_reference_itself_has_distance_zero(
    reference: Reference, halves: tuple[Measurements, Measurements]
) -> None:
    own = compare(halves[0], reference)
    assert own.geometry["bond"].w1 < 5e-4
    assert own.geometry["bond"].unknown == 0.0
    assert all(value == 0.0 for value in own.composition.values())
    assert own.proportions is not None
    assert own.proportions.deviation == pytest.approx(0, abs=1e-4)
    for name, distance in own.properties.items():
        assert distance.w1 == pytest.approx(0.0, abs=0.02 * max(1.0, abs(distance.reference_mean))), name


def test_a_part_of_a_sample_takes_all_that_belongs_to_it(sample: Measurements) -> None:
    part = sample.take(np.array([7, 3]))
    for row, one in ((7, 0), (3, 1)):
        assert part.graphs[one] is sample.graphs[row]
        assert part.motifs[one] is sample.motifs[row]
        assert part.properties["logp"][one] == sample.properties["logp"][row]
    assert sample.motifs[7] != sample.motifs[0]


def test_json_round_trip_is_small_and_exact(reference: Reference) -> None:
    text = json.dumps(reference.to_json(), allow_nan=False)
    assert len(text) < 300_000
    back = Reference.from_json(json.loads(text), reference.keys)
    assert back.to_json() == reference.to_json()
    assert list(back.geometry["bond"]) == list(reference.geometry["bond"])


def test_tensors_carry_keys_with_all_64_bits(reference: Reference) -> None:
    back = Reference.from_tensors(reference.to_tensors())
    assert back.to_json() == reference.to_json()
    assert back.keys is not None
    assert back.keys.graph.tolist() == [1, 3, 2**64 - 1]
    assert back.keys.stereo.tolist() == [10, 20, 30]


def test_tensors_without_keys(reference: Reference) -> None:
    tensors = {name: value for name, value in reference.to_tensors().items() if name == "reference_json"}
    assert Reference.from_tensors(tensors).keys is None
    with pytest.raises(MoldiffError, match="no reference distributions"):
        Reference.from_tensors({})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not one of moldiff's"),
        ({"version": 99}, "version 99"),
        ({"geometry": {}}, "damaged"),
        ({"properties": {"logp": {"cells": [None], "count": 1, "mean": 0, "std": 0}}}, "damaged"),
        ({"composition": {"size": {"3": "many"}}}, "damaged"),
        ({"motifs": {"ring 3": [0.1]}}, "damaged"),
    ],
)
def test_damaged_references_are_refused(change: dict, message: str, reference: Reference) -> None:
    with pytest.raises(MoldiffError, match=message):
        Reference.from_json(reference.to_json() | change)
    with pytest.raises(MoldiffError, match="not one of moldiff's"):
        Reference.from_json([])  # type: ignore[arg-type]


def test_the_floor_of_few_molecules_is_what_others_of_their_law_come_to(sample: Measurements) -> None:
    """Without training molecules it is measured among them, and for more molecules than there are."""
    generator = np.random.default_rng(0)
    few, floors = sample.take(np.arange(40)), []
    for seed in range(20):
        own = Measurements(few.graphs, {**few.properties, "logp": generator.normal(size=40)}, few.motifs)
        floor = build_reference("few", own, None, None, seed=seed).properties["logp"].floor
        floors.append([floor.at(n) for n in (20, 1000)])
    true = [
        np.mean([wasserstein(generator.normal(size=n), summarise(generator.normal(size=40))) for _ in range(2000)])
        for n in (20, 1000)
    ]
    assert np.mean(floors, axis=0) == pytest.approx(true, rel=0.1)


def test_a_single_molecule_has_no_floor_and_can_be_kept(sample: Measurements) -> None:
    one = build_reference("one", sample.take(np.array([0])), None, None)
    assert Reference.from_json(one.to_json()).properties["logp"].floor.at(5) is None


def test_types_are_the_most_frequent_ones_in_order(reference: Reference) -> None:
    counts = [entry.distribution.count for entry in reference.geometry["torsion"].values()]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) == 60
    assert next(iter(reference.geometry["bond"])) == "C-H"


def test_average_is_weighted_by_the_reference() -> None:
    assert weighted_average({"C-C": 0.1, "C-H": 0.4}, {"C-C": 30, "C-H": 10, "N-N": 99}) == pytest.approx(0.175)
    assert weighted_average({}, {"C-C": 30}) is None


def test_rare_types_get_no_distance() -> None:
    many, few = np.linspace(1, 2, 20), np.linspace(1, 2, 19)
    targets = {"C-C": summarise(many), "C-N": summarise(many), "C-O": summarise(few), "N-N": summarise(many)}
    found = distances({"C-C": many, "C-N": few, "C-O": many}, targets)
    assert set(found) == {"C-C"}


def test_types_that_the_reference_does_not_know_are_reported(reference: Reference) -> None:
    far = [[float(2 * k), 0.0, 0.0] for k in range(4)]
    strange = MolGraph(np.array([14, 9, 6, 1]), np.zeros(4, int), np.array(far), np.array([[0, 1, 1], [2, 3, 1]]))
    found = compare(Measurements((strange,), {name: np.zeros(1) for name in reference.properties}, ({},)), reference)
    assert found.geometry["bond"].unknown == 0.5
    assert found.geometry["bond"].w1 is None
    assert found.geometry["bond"].measured == 0.0
    assert 0.3 < found.composition["element"] < 1.0


def test_nothing_to_build_from(sample: Measurements) -> None:
    with pytest.raises(MoldiffError, match="no valid molecule"):
        build_reference("nothing", sample.take(np.array([], dtype=int)), None, None)


def test_failed_calculators_leave_nan_and_are_left_out(sample: Measurements, monkeypatch: pytest.MonkeyPatch) -> None:
    from moldiff.evaluation import measurements as module

    def compute(mol: object, names: list[str]) -> dict[str, float]:
        return {name: np.nan if name == "qed" else 2.0 for name in names}

    monkeypatch.setattr(module, "compute", compute)
    monkeypatch.setattr(module, "graph", lambda mol: sample.graphs[0])
    monkeypatch.setattr(module, "motifs", lambda mol: sample.motifs[0])
    found = Measurements.of([None, None])  # type: ignore[list-item]
    assert np.isnan(found.properties["qed"]).all()
    assert found.properties["logp"].tolist() == [2.0, 2.0]
    assert len(found.known_properties()["qed"]) == 0
    assert "qed" not in build_reference("two", found, None, None).properties


def test_from_an_sdf_the_floor_comes_from_splits(sample_path: Path, rows: list[Assessment]) -> None:
    reference = reference_from_sdf(sample_path)
    assert (reference.molecules, set(reference.geometry)) == (200, set(KINDS))
    assert reference.averages["bond"].sizes == (30, 100)
    assert 0 < reference.averages["bond"].at(100) < 0.01
    assert reference.keys is not None
    assert text_key(rows[7].smiles) in reference.keys.graph.tolist()


def test_an_sdf_without_a_valid_molecule_is_no_reference(
    record: Callable[..., str], write: Callable[..., Path]
) -> None:
    path = write(record("lone", [("C", 0.0, 0.0, 0.0), ("H", 9.0, 0.0, 0.0)], []))
    with pytest.raises(MoldiffError, match="no valid molecule"):
        load_reference(path)


@pytest.fixture(scope="module")
def prepared(sample_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare([sample_path], folder, workers=1)
    return folder


def test_from_a_prepared_set_it_is_the_held_out_molecules(prepared: Path) -> None:
    dataset = PreparedDataset.open(prepared)
    reference = reference_from_dataset(dataset)
    held_out = len(dataset.indices("validation")) + len(dataset.indices("test"))
    assert 0 < reference.molecules == held_out < 60
    assert reference.keys is not None
    assert len(reference.keys.graph) == len(dataset.indices("train"))
    assert reference.rates["novel"].value == 1.0, "no held-out molecule is in the training split"
    train = dataset.indices("train")[0]
    assert dataset.arrays["keys"][train, 0] in reference.keys.graph
    assert reference.averages["bond"].sizes == (30, 100)
    assert str(prepared.parent) not in reference.source


def test_drawing_fewer_molecules_is_reproducible(prepared: Path) -> None:
    dataset = PreparedDataset.open(prepared)
    one, two, other = (reference_from_dataset(dataset, most=8, seed=seed).to_json() for seed in (0, 0, 1))
    assert one == two != other
    assert one["molecules"] == 8


def test_every_kind_of_path(prepared: Path, reference: Reference, tmp_path: Path) -> None:
    assert load_reference(prepared).molecules < 60
    model = tmp_path / "model"
    tensors = reference.to_tensors()
    save_model_folder(model, weights={"w": torch.ones(1)}, config={}, references=tensors, card="x", half=False)
    assert load_reference(str(model)).to_json() == reference.to_json()
    (tmp_path / "run").mkdir()
    model.rename(tmp_path / "run" / "model")
    assert load_reference(tmp_path / "run").to_json() == reference.to_json(), "the folder of a training run"
    file = tmp_path / "reference.json"
    file.write_text(json.dumps(reference.to_json()))
    assert load_reference(file).keys is None


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere", "does not exist"), ("folder", "is no reference"), ("x.txt", "is no")]
)
def test_what_is_no_reference_is_one_line(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.txt").write_text("no")
    with pytest.raises(MoldiffError, match=message):
        load_reference(tmp_path / name)


def test_a_model_without_a_reference_or_with_a_damaged_one_is_one_line(tmp_path: Path) -> None:
    model = tmp_path / "model"
    save_model_folder(model, weights={"w": torch.ones(1)}, config={}, references={}, card="x", half=False)
    with pytest.raises(MoldiffError, match="no reference distributions"):
        load_reference(model)
    tensors = {"reference_json": torch.zeros(9, dtype=torch.uint8)}
    save_model_folder(
        model, weights={"w": torch.ones(1)}, config={}, references=tensors, card="x", half=False, overwrite=True
    )
    with pytest.raises(MoldiffError, match="damaged"):
        load_reference(model)
    (model / "reference.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(MoldiffError, match="corrupt"):
        load_reference(model)


def test_hydrogens_of_a_set_of_heavy_atoms_are_those_of_its_draws(tmp_path: Path) -> None:
    """Placed and relaxed, not of one length; so that a draw's do not lie far from what it is compared with."""
    minima = Path(__file__).parents[2] / "data" / "drugs_gfn2" / "0003.parquet"
    found = [record.mol for record in itertools.islice(read_records(minima), 120)]
    write_sdf(tmp_path / "m.sdf", [mol_to_sdf_record(mol, str(place), {}) for place, mol in enumerate(found)])
    bonds = {}
    for hydrogens in ("explicit", "implicit"):
        prepare([tmp_path / "m.sdf"], tmp_path / hydrogens, hydrogens=hydrogens)
        reference = reference_from_dataset(PreparedDataset.open(tmp_path / hydrogens))
        bonds[hydrogens] = reference.geometry["bond"]["C-H"].distribution
        assert reference.molecules == len(reference.smiles)
    assert bonds["implicit"].mean == pytest.approx(bonds["explicit"].mean, abs=0.001)
    assert bonds["implicit"].std == pytest.approx(bonds["explicit"].std, rel=0.3)
