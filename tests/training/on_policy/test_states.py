"""Training on one's own draws: what is kept of a walk, what it is labelled with, and how it comes back as a batch."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit.Chem import Mol
from safetensors import safe_open
from safetensors.torch import save_file

from moldiff.arrays import MolArrays, RawSample
from moldiff.chem.convert import decode
from moldiff.chem.descriptors.motifs import motifs
from moldiff.chem.descriptors.rdkit_descriptors import compute
from moldiff.chem.filters.validity import is_valid_and_connected
from moldiff.config import TrainConfig, load_training
from moldiff.datasets.chemistry import training_chemistry
from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.generation.decoding.decoders import ArgmaxDecoder, StructuredDecoder
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.loaded import load_model
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, MolPrediction, unbatch
from moldiff.sampling.molecule_sampler import MoleculeSampler, TrajectoryState
from moldiff.sampling.solvers import SOLVERS
from moldiff.training import references
from moldiff.training.checkpoint import load_state
from moldiff.training.denoiser_run import ON_POLICY_DATA, TrainingRun
from moldiff.training.on_policy.collect import Collector, aligned, collect, made_by
from moldiff.training.on_policy.labels import Traits
from moldiff.training.on_policy.states import OnPolicyData
from moldiff.training.train import train
from moldiff.vocabulary import Vocabulary

Write = Callable[..., Path]
SAMPLE = Path(__file__).parents[3] / "data" / "sample.sdf"
VOCABULARY = Vocabulary(("H", "C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"))
EVALUATIONS, STATES = 6, 3  # so few that some draws fail
FEW = [
    "on_policy.share=0.5", "on_policy.draws=12", "on_policy.sampler_evaluations=[6,10]", "on_policy.states=3",
    "training.log_every=100", "training.validate_every=100",
]  # fmt: skip

FEWER = ["on_policy.draws=4", "on_policy.sampler_evaluations=[8]"]  # where one sound draw is enough


@pytest.fixture(scope="module")
def like_qm9(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sample"
    prepare([SAMPLE], folder, properties=["logp", "tpsa"], vocabulary=VOCABULARY)
    return folder


@pytest.fixture(scope="module")
def qm9() -> MoleculeModel:
    return MoleculeModel.from_folder(load_model_folder("qm9"))


@pytest.fixture(scope="module")
def walked(qm9: MoleculeModel) -> list[tuple[RawSample, list[TrajectoryState]]]:
    molecule_sampler = MoleculeSampler(qm9, SOLVERS["dpmpp_sde"], EVALUATIONS, seed=5, keep_predictions=True)
    return sorted(molecule_sampler.walks(0, 24, STATES), key=lambda item: item[0].number)


@pytest.fixture(scope="module")
def made(like_qm9: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of own draws as `FEW` asks for them, for runs that find it where they would write it."""
    folder = tmp_path_factory.mktemp("own")
    path = folder / "run.yaml"
    values = {"data": str(like_qm9), "output": str(folder / "run"), "init_from": "qm9", "training": {"device": "cpu"}}
    path.write_text(json.dumps(values), encoding="utf-8")  # which is YAML
    TrainingRun(load_training(path, FEW), None, None)
    return folder / "run" / ON_POLICY_DATA


def put(made: Path, run: Path) -> None:
    """Give a run that is to begin its own draws."""
    run.mkdir()
    shutil.copy(made, run / ON_POLICY_DATA)


def config_of(write: Write, data: Path, *overrides: str, **changes: object) -> TrainConfig:
    path = write(data=str(data), init_from="qm9", **changes)
    return load_training(path, [*FEW, *overrides])


def is_at(draw: RawSample, pos: np.ndarray) -> bool:
    """Whether a draw has these coordinates."""
    return draw.arrays is not None and len(draw.arrays.pos) == len(pos) and np.allclose(draw.arrays.pos, pos, atol=1e-6)


def same_molecules(one: MolBatch, other: MolBatch) -> bool:
    return all(torch.equal(getattr(one, field), getattr(other, field)) for field in FIELDS)


def test_walks_are_the_draws_and_their_states_are_those_passed(
    qm9: MoleculeModel, walked: list[tuple[RawSample, list[TrajectoryState]]]
) -> None:
    molecule_sampler = MoleculeSampler(qm9, SOLVERS["dpmpp_sde"], EVALUATIONS, seed=5, keep_predictions=True)
    plain = {draw.number: draw for draw in molecule_sampler.draw(0, 4)}
    kept: set[float] = set()
    for draw, passed in walked[:4]:
        other = plain[draw.number]
        assert draw.arrays is not None
        assert other.arrays is not None
        assert np.array_equal(draw.arrays.pos, other.arrays.pos)
        assert np.array_equal(draw.arrays.bonds, other.arrays.bonds)
        path: list[tuple[MolBatch, MolPrediction]] = []
        molecule_sampler.watch(draw.number, lambda _, state, prediction, path=path: path.append((state, prediction)))  # type: ignore[misc]
        times = molecule_sampler.grid.tolist()
        assert [one.t for one in passed] == sorted((one.t for one in passed), reverse=True)
        assert len({one.t for one in passed}) == STATES
        for one in passed:
            step = times.index(one.t)  # step k leads to the k-th time
            assert 1 <= step <= len(times) - 2
            state, prediction = path[step - 1]
            assert same_molecules(one.state, state[:1])
            assert torch.equal(one.previous.bond_type, prediction.bond_type[:1])
        kept |= {one.t for one in passed}
    assert len(kept) > STATES, "different draws keep different steps"


def test_what_is_kept_of_a_walk_does_not_depend_on_its_company(
    qm9: MoleculeModel, walked: list[tuple[RawSample, list[TrajectoryState]]]
) -> None:
    alone = list(MoleculeSampler(qm9, SOLVERS["dpmpp_sde"], EVALUATIONS, seed=5).walks(7, 1, STATES))
    _, passed = alone[0]
    assert [one.t for one in passed] == [one.t for one in walked[7][1]]
    assert all(same_molecules(a.state, b.state) for a, b in zip(passed, walked[7][1], strict=True))


def test_every_label_is_sound_and_every_draw_is_counted(
    qm9: MoleculeModel, walked: list[tuple[RawSample, list[TrajectoryState]]], like_qm9: Path
) -> None:
    dataset = PreparedDataset.open(like_qm9)
    collector = Collector(qm9, dataset)
    for draw, passed in walked:
        collector.take(draw, passed)
    plain = ArgmaxDecoder(qm9.vocabulary)
    assert sum(collector.counts.values()) == STATES * 24
    assert all(collector.counts.values()), "the seed should give draws of all kinds"
    own = collector.result({})
    assert len(own) == STATES * 24 - collector.counts["left out"]
    drawn = {draw.number: draw for draw, _ in walked}
    mended = 0
    for width in np.unique(own.sizes).tolist():
        rows = torch.from_numpy(np.flatnonzero(own.sizes == width))
        batch = own.batch(rows, width)
        for row, arrays in enumerate(unbatch(batch.clean)):
            conversion = decode(arrays, qm9.vocabulary)
            assert is_valid_and_connected(conversion) == (True, "")
            assert conversion.mol is not None
            logp = compute(conversion.mol, ["logp"])["logp"]
            assert float(batch.clean.properties[row, qm9.conditions.index("logp")]) == pytest.approx(logp, abs=1e-5)
            draw = next(draw for draw in drawn.values() if is_at(draw, arrays.pos))
            if plain.decode(draw).status != "valid":
                decoder = StructuredDecoder(qm9.vocabulary, training_chemistry(dataset), fitted=True)
                found = decoder.decode(draw).arrays
                assert found is not None
                assert np.array_equal(found.atom_type, arrays.atom_type)
                mended += 1
    assert mended == collector.counts["sound after decoding"]


def mol_of(arrays: MolArrays, vocabulary: Vocabulary) -> Mol:
    """Return the molecule of arrays that are sound."""
    mol = decode(arrays, vocabulary).mol
    assert mol is not None
    return mol


def molecules_of(own: OnPolicyData) -> list[MolArrays]:
    """Return what each state is labelled with."""
    return [
        arrays
        for width in np.unique(own.sizes).tolist()
        for arrays in unbatch(own.batch(torch.from_numpy(np.flatnonzero(own.sizes == width)), width).clean)
    ]


def test_calibrated_draws_are_made_of_what_the_data_is_made_of(
    qm9: MoleculeModel, walked: list[tuple[RawSample, list[TrajectoryState]]], like_qm9: Path
) -> None:
    collector = Collector(qm9, PreparedDataset.open(like_qm9))
    for draw, passed in walked:
        collector.take(draw, passed, part=int(draw.number >= 12))
    plain = collector.result({})
    collector.reweight([Traits({"ring 3": 1}), Traits({})] * 100)  # asked for: a ring of three in every other molecule
    calibrated = collector.result({})
    part = {draw.arrays.pos.tobytes(): int(draw.number >= 12) for draw, _ in walked if draw.arrays is not None}
    shares: list[list[float]] = []
    for own in (plain, calibrated):
        found: dict[int, list[bool]] = {0: [], 1: []}
        for arrays in molecules_of(own):
            found[part[arrays.pos.tobytes()]].append(motifs(mol_of(arrays, qm9.vocabulary))["ring 3"] > 0)
        shares.append([float(np.mean(found[k])) for k in (0, 1)])
    assert len(calibrated) == len(plain), "as many states as before"
    assert shares[0][0] < 0.4
    assert shares[0][1] > 0.6
    assert shares[1] == pytest.approx([0.5, 0.5], abs=0.1), "each part for itself"
    collector.reweight(
        [Traits({"ring 3": 1})] * 3 + [Traits({})], 0.5
    )  # half of the way to three of four, on the scale of the odds
    further = [motifs(mol_of(one, qm9.vocabulary))["ring 3"] > 0 for one in molecules_of(collector.result({}))]
    assert float(np.mean(further)) == pytest.approx(math.sqrt(3) / (1 + math.sqrt(3)), abs=0.1)


@pytest.mark.parametrize(("reweight", "known"), [(0, 0), (1, 0), (1.5, 0), (0, 0.5), (1, 1)])
def test_draws_are_calibrated_if_asked_for(
    training_file: Write, like_qm9: Path, monkeypatch: pytest.MonkeyPatch, reweight: float, known: float
) -> None:
    asked: list[tuple[list[Traits], float, float]] = []
    monkeypatch.setattr(Collector, "reweight", lambda _, *args: asked.append(args))
    dataset = PreparedDataset.open(like_qm9)
    keys = [f"on_policy.reweight={reweight}", f"on_policy.known={known}"]
    collect(load_model("qm9"), dataset, config_of(training_file, like_qm9, *FEWER, *keys))
    if not reweight and not known:
        assert asked == []
        return
    ((wanted, *settings),) = asked
    assert (len(wanted), settings) == (len(dataset.indices("train")), [reweight, known])
    assert any(one.bond for one in wanted) == bool(known), "rarity is counted where it is asked for"


def test_labels_chosen_by_rarity_are_kept_and_told(training_file: Write, like_qm9: Path, tmp_path: Path) -> None:
    rates = ["training.steps=1", "on_policy.known=0.5"]
    folder = load_model_folder(train(training_file(data=str(like_qm9), init_from="qm9"), [*FEW, *FEWER, *rates]))
    assert "50% of the labels were chosen by how usual" in folder.card
    with pytest.raises(MoldiffError, match=r"other settings \(known\)"):
        train(tmp_path / "run.yaml", [*FEW, *FEWER, "training.steps=2"], resume="auto")


def test_tables_that_the_model_carries_of_the_same_data_are_not_counted_again(
    training_file: Write, like_qm9: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, dataset = load_model_folder("qm9"), PreparedDataset.open(like_qm9)
    counted = references.rarity_tables(dataset)
    carried = {name: torch.from_numpy(values) for name, values in counted.to_tensors().items()}
    known = replace(folder, references=folder.references | carried)
    own = replace(known, config={**folder.config, "training": {"data_sha256": dataset.info["data_hash"]}})
    monkeypatch.setattr(references, "_rarity_tables", lambda folder, data_hash: "counted anew")
    assert references.rarity_tables(dataset, own) == counted
    assert references.rarity_tables(dataset, known) == references.rarity_tables(dataset) == "counted anew"
    assert references.rarity_tables(dataset, replace(own, references={})) == "counted anew"


def test_no_sound_draw_at_all_is_an_error(tiny_model: MoleculeModel, like_qm9: Path) -> None:
    collector = Collector(tiny_model, PreparedDataset.open(like_qm9))
    for draw, passed in MoleculeSampler(tiny_model, SOLVERS["ddpm"], 4, 0, keep_predictions=True).walks(0, 3, 2):
        collector.take(draw, passed)
    with pytest.raises(MoldiffError, match="none of the own draws came to a sound molecule"):
        collector.result({})


def test_the_file_gives_back_every_row(training_file: Write, like_qm9: Path, tmp_path: Path) -> None:
    config = config_of(training_file, like_qm9)
    folder, dataset = load_model_folder("qm9"), PreparedDataset.open(like_qm9)
    own, known = collect(load_model("qm9"), dataset, config), made_by(folder, dataset, config)
    own.save(tmp_path / "own.safetensors")
    again = OnPolicyData.load(tmp_path / "own.safetensors", known)
    assert np.array_equal(own.sizes, again.sizes)
    assert len(own) > 0
    for row, width in enumerate(own.sizes.tolist()):
        one, other = (found.batch(torch.tensor([row]), width) for found in (own, again))
        assert same_molecules(one.clean, other.clean)
        assert same_molecules(one.noisy, other.noisy)
        assert torch.equal(one.previous.pos, other.previous.pos)
        assert torch.equal(one.t, other.t)
    with pytest.raises(MoldiffError, match=r"own\.safetensors holds draws made with other settings \(seed\)"):
        OnPolicyData.load(tmp_path / "own.safetensors", known | {"seed": 1})
    (tmp_path / "own.safetensors").write_bytes(b"damaged")
    with pytest.raises(MoldiffError, match=r"own\.safetensors is damaged"):
        OnPolicyData.load(tmp_path / "own.safetensors", known)


def test_a_row_is_the_same_in_every_batch() -> None:
    groups = {}
    for width, count in ((4, 3), (6, 5)):
        group = {"t": torch.linspace(0, 1, count, dtype=torch.float64) + width, "properties": torch.zeros(count, 1),
                 "mask": torch.ones(count, width, dtype=torch.bool)}  # fmt: skip
        for name in ("clean", "noisy", "previous"):
            group |= {f"{name}.{field}": torch.zeros(count, width) for field in FIELDS}
        groups[width] = group
    own = OnPolicyData(dict(reversed(groups.items())), {})
    assert own.sizes.tolist() == [4, 4, 4, 6, 6, 6, 6, 6]
    assert own.batch(torch.tensor([2, 0]), 4).t.tolist() == [5.0, 4.0]
    assert own.batch(torch.tensor([3, 7, 4]), 6).t.tolist() == [6.0, 7.0, 6.25]


def test_a_batch_of_own_draws_is_what_a_sampler_meets(training_file: Write, like_qm9: Path) -> None:
    config = config_of(training_file, like_qm9, "training.property_dropout=0", "training.p_unconditional=0")
    task = TrainingRun(config, None, None).task
    assert task.own is not None
    steps = [step for step in range(30) if task.is_own(step)]
    clean, levels, noisy, previous = task.example(task.inputs(steps[0]))
    again = task.example(task.inputs(steps[0]))
    assert same_molecules(clean, again[0])
    assert same_molecules(noisy, again[2])
    assert not same_molecules(clean, task.example(task.inputs(steps[1]))[0])
    own = task.own[0].batch(*task.own[1].batch(steps[0]))
    assert torch.equal(levels.sigma, task.model.schedule.levels(own.t).sigma)
    assert torch.equal(previous.atom_type, own.previous.atom_type)
    assert same_molecules(noisy, own.noisy)
    # asked for what came out, so far as it is known: the data knows no electronic properties, the calculators may
    torch.testing.assert_close(noisy.properties, clean.properties, rtol=0, atol=0, equal_nan=True)
    assert bool(torch.isfinite(noisy.properties[:, :2]).all())
    for step in steps:
        assert torch.equal(task.inputs(step).turns, task.own[1].turns(step)), "copies of a state are told apart"


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_own_batches_are_as_frequent_as_asked(
    training_file: Write, like_qm9: Path, made: Path, tmp_path: Path, share: float
) -> None:
    put(made, tmp_path / "run")
    task = TrainingRun(config_of(training_file, like_qm9, f"on_policy.share={share}"), None, None).task
    found = sum(task.is_own(step) for step in range(2000)) / 2000
    assert abs(found - share) <= 3 * math.sqrt(share * (1 - share) / 2000)
    # a coin of its own: own batches are not those without self-conditioning
    both = sum(task.is_own(step) and task._self_conditioned(step) for step in range(2000)) / 2000
    assert abs(both - share / 2) <= 3 * math.sqrt(share / 2 * (1 - share / 2) / 2000)


def test_a_resumed_refinement_equals_an_uninterrupted_one(
    training_file: Write, like_qm9: Path, made: Path, tmp_path: Path
) -> None:
    put(made, tmp_path / "whole")
    steps = ["training.steps=4", "training.checkpoint_every=2"]
    for name in ("whole", "parts"):
        training_file(name, data=str(like_qm9), init_from="qm9")
    train(tmp_path / "whole.yaml", [*FEW, *steps])
    train(tmp_path / "parts.yaml", [*FEW, "training.steps=2", "training.checkpoint_every=2"])
    written = (tmp_path / "parts" / ON_POLICY_DATA).stat().st_mtime_ns
    # on a card, steps are captured: they are the same
    folder = train(tmp_path / "parts.yaml", [*FEW, *steps, "training.graphs=true"], resume="auto")
    assert (tmp_path / "parts" / ON_POLICY_DATA).stat().st_mtime_ns == written, "draws are made once"
    states = [load_state(tmp_path / name / "checkpoints/step-00000004") for name in ("whole", "parts")]
    assert all(torch.equal(value, states[1].average[name]) for name, value in states[0].average.items())
    with pytest.raises(MoldiffError, match=r"\(model to start from [0-9a-f]+\.\.\., now [0-9a-f]+"):
        train(tmp_path / "parts.yaml", [*FEW, *steps], resume="auto", init_from="qm9_fast")
    card = load_model_folder(folder).card
    assert "Refined on its own draws: 12 walks of 6, 10 evaluations, in 50% of the batches" in card


def as_older(value: Any) -> Any:
    """Return keys and values with the words of the release before."""
    older = {
        "on_policy": "own_draws", "sampler_evaluations": "evaluations", "reweight": "calibrate", "ema_decay": "ema",
        "p_unconditional": "unconditional_share",
    }  # fmt: skip
    return {older.get(key, key): as_older(one) for key, one in value.items()} if isinstance(value, dict) else value


def test_a_run_of_the_release_before_goes_on(
    training_file: Write, like_qm9: Path, made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(made, tmp_path / "run")
    path = training_file("run", data=str(like_qm9), init_from="qm9")
    train(path, [*FEW, "training.steps=1"])
    new, old = tmp_path / "run" / ON_POLICY_DATA, tmp_path / "run" / "own_draws.safetensors"
    with safe_open(new, framework="pt") as handle:
        metadata = {key: json.dumps(as_older(json.loads(text))) for key, text in handle.metadata().items()}
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a mapping
    save_file(tensors, old, metadata)
    new.unlink()
    state = tmp_path / "run/checkpoints/step-00000001/state.json"
    before = as_older(json.loads(state.read_text())) | {"format": 1}
    del before["state_sha256"]
    state.write_text(json.dumps(before))
    assert "own_draws" in state.read_text()
    written = old.stat().st_mtime_ns
    caplog.clear()
    train(path, [*FEW, "training.steps=2"], resume="auto")
    assert (old.stat().st_mtime_ns, new.exists()) == (written, False), "draws are made once"
    assert not any("is now" in message for message in caplog.messages)


def labels_by_state(own: OnPolicyData) -> dict[bytes, tuple[float, torch.Tensor]]:
    """Return for each state its time and the coordinates that it is labelled with."""
    found = {}
    for row, width in enumerate(own.sizes.tolist()):
        batch = own.batch(torch.tensor([row]), width)
        key = batch.noisy.pos.numpy().tobytes()
        found[key] = float(batch.t), batch.clean.pos[batch.clean.mask]
    return found


def test_a_teacher_mends_draws(training_file: Write, like_qm9: Path) -> None:
    loaded, dataset = load_model("qm9"), PreparedDataset.open(like_qm9)
    few = [
        "on_policy.draws=24", "on_policy.sampler_evaluations=[5]", "on_policy.teacher_start=0.3", "on_policy.reweight=0"
    ]  # fmt: skip
    alone, taught = (
        labels_by_state(collect(loaded, dataset, config_of(training_file, like_qm9, *few, *more)))
        for more in ([], ["on_policy.teacher=qm9"])
    )
    assert len(taught) > len(alone), "more states come to something sound once the draw is mended"
    for state in alone.keys() & taught.keys():
        (t, own), (_, other) = alone[state], taught[state]
        moved = float((own - other).square().sum(-1).mean().sqrt())
        assert (0 < moved < 1) if t >= 0.3 else moved == 0, "a late state keeps its own molecule, however it was made"


def test_what_a_teacher_made_is_turned_back(walked: list[tuple[RawSample, list[TrajectoryState]]]) -> None:
    draw = walked[0][0]
    assert draw.arrays is not None
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    turn = (turn * torch.det(turn)).numpy()  # a rotation
    turned = replace(draw, arrays=replace(draw.arrays, pos=draw.arrays.pos @ turn + 0.5))
    back = aligned(turned, draw)
    assert back.arrays is not None
    assert not np.allclose(turned.arrays.pos, draw.arrays.pos, atol=0.1)  # type: ignore[union-attr]
    assert np.allclose(back.arrays.pos, draw.arrays.pos, atol=1e-5)
    assert aligned(replace(draw, arrays=None), draw).arrays is None


def test_a_student_starts_as_its_teacher(training_file: Write, like_qm9: Path, tmp_path: Path) -> None:
    rates = ["optimizer.learning_rate=1e-12", "optimizer.muon_learning_rate=1e-12"]
    frozen = [*FEWER, "training.steps=1", *rates, "on_policy.teacher_start=0.3"]
    path = training_file(data=str(like_qm9), init_from=None)
    student = load_model_folder(train(path, [*FEW, *frozen, "on_policy.teacher=qm9"]))
    assert "Distilled: each draw was noised to t = 0.3 and walked down again by qm9" in student.card
    weights, given = student.weights, load_model_folder("qm9").weights
    assert all(torch.allclose(weights[name], value.float(), atol=1e-6) for name, value in given.items())
    again = train(tmp_path / "run.yaml", [*FEW, *frozen, "training.steps=2"], resume="auto")
    assert "walked down again by qm9" in load_model_folder(again).card, "the teacher that it had"
    train(tmp_path / "run.yaml", [*FEW, *frozen, "training.steps=3"], resume="auto", teacher="qm9")


def test_a_teacher_of_another_chemistry_is_refused(
    training_file: Write, like_qm9: Path, tiny_model: MoleculeModel, tmp_path: Path
) -> None:
    weights, description = tiny_model.denoiser.state_dict(), tiny_model.config_json()
    save_model_folder(tmp_path / "tiny", weights=weights, config=description, references={}, card="", half=False)
    config = config_of(training_file, like_qm9, f"on_policy.teacher={tmp_path / 'tiny'}")
    with pytest.raises(MoldiffError, match="must know the same elements, charges, bonds and conditions"):
        collect(load_model("qm9"), PreparedDataset.open(like_qm9), config)


@pytest.mark.parametrize(("name", "value"), [("sigma_reference", 2.6), ("exponent_bond_type", 1.9)])
def test_a_teacher_of_other_noise_is_refused(
    training_file: Write, like_qm9: Path, tmp_path: Path, name: str, value: float
) -> None:
    """Its times are other levels, and a state would get a label of another one."""
    qm9 = load_model("qm9")
    description = {**qm9.model.config_json(), "curve": {**qm9.model.curve_config.model_dump(), name: value}}
    weights = qm9.model.denoiser.state_dict()
    save_model_folder(tmp_path / "other", weights=weights, config=description, references={}, card="", half=True)
    config = config_of(training_file, like_qm9, f"on_policy.teacher={tmp_path / 'other'}")
    with pytest.raises(
        MoldiffError, match=rf"must have the same noise curve; the teacher has {name} {value}, not 1\.3$"
    ):
        collect(qm9, PreparedDataset.open(like_qm9), config)


def test_a_teacher_without_own_draws_is_an_error(training_file: Write, like_qm9: Path) -> None:
    with pytest.raises(MoldiffError, match=r"set on_policy\.share"):
        train(training_file(data=str(like_qm9)), [], teacher="qm9")


def test_own_draws_need_a_model_that_draws(training_file: Write, like_qm9: Path) -> None:
    with pytest.raises(MoldiffError, match=r"on_policy\.share needs a trained model"):
        train(training_file(data=str(like_qm9)), ["on_policy.share=0.5"])


def test_several_processes_need_draws_that_are_there(training_file: Write, like_qm9: Path) -> None:
    with pytest.raises(MoldiffError, match=r"on_policy\.safetensors is not there yet"):
        TrainingRun(config_of(training_file, like_qm9, "training.devices=2"), None, None)
