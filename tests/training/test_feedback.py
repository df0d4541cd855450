"""Training runs of a feedback: what learns and what stays, draws without a wish, resume, refusals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from moldiff.config import load_training
from moldiff.datasets.prepare import prepare
from moldiff.diffusion.preconditioning import PreconditionedDenoiser
from moldiff.errors import MoldiffError
from moldiff.models.contents import vocabulary_of_model
from moldiff.models.folder import load_model_folder
from moldiff.models.loaded import load_model, load_property_model
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS
from moldiff.sampling.conditions import ConditionSampler, PinnedConditionSampler, UnconditionalSampler
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.solvers import SOLVERS
from moldiff.training.checkpoint import load_state
from moldiff.training.denoiser_run import TrainingRun
from moldiff.training.train import train
from moldiff.training.validation import validate_denoiser

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"
Write = Callable[..., Path]
TINY = {
    "layers": 2, "node_width": 16, "pair_width": 8, "pair_hidden": 8, "vectors": 4, "heads": 2, "global_width": 8,
}  # fmt: skip
RATES = {"warmup_steps": 2, "ema_decay": 0.9}
PACE = {"steps": 4, "batch_size": 4, "checkpoint_every": 4, "bf16": False, "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> dict[str, Path]:
    """Models that can be asked for logp and the gap, for the gap alone, for logp at other noise; an estimator of logp
    for the first, which has seen other data."""
    folder = tmp_path_factory.mktemp("made")

    def made(name: str, **values: object) -> Path:
        path = folder / f"{name}.yaml"
        values = {"data": str(prepared)} | values | {"output": str(folder / name), "network": TINY, "training": PACE}
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return train(path)

    base = made("base", conditions=["gfn2_gap_eV", "logp"])
    records = SAMPLE.read_text(encoding="utf-8").split("$$$$\n")
    (folder / "some.sdf").write_text("$$$$\n".join([*records[:60], ""]), encoding="utf-8")
    classes = vocabulary_of_model(load_model_folder(base))
    prepare([folder / "some.sdf"], folder / "some", properties=["logp"], vocabulary=classes)
    return {
        "base": base,
        "gap alone": made("gap", conditions=["gfn2_gap_eV"]),
        "other noise": made("noise", conditions=["logp"], curve={"sigma_max": 10.0}),
        "some data": folder / "some",
        "estimator": made(
            "estimator", data=str(folder / "some"), kind="property", guided_model=str(base), properties=["logp"]
        ),
    }


@pytest.fixture
def feedback_file(training_file: Write, folders: dict[str, Path]) -> Write:
    """Write a file that trains feedback of the first model."""

    def write(name: str = "fed", **changes: object) -> Path:
        feedback = {"property_model": str(folders["estimator"])}
        values = {"data": str(folders["some data"]), "init_from": str(folders["base"]), "optimizer": RATES}
        values |= {"feedback": feedback} | changes
        return training_file(name, **values)

    return write


def test_the_adapter_learns_and_everything_else_stays(feedback_file: Write, folders: dict[str, Path]) -> None:
    fed = load_model_folder(train(feedback_file()))
    before, told = load_model_folder(folders["base"]).weights, load_model_folder(folders["estimator"]).weights
    for name, value in fed.weights.items():
        part = name.removeprefix("feedback.")
        if part == name:
            assert torch.equal(value, before[name]), name
        elif part.startswith("estimator."):
            assert torch.equal(value, told[part.replace("estimator", "network", 1)]), name
    assert before.keys() < fed.weights.keys()
    assert fed.weights["feedback.adapter.context.weight"].any() and fed.weights["feedback.adapter.nodes.weight"].any()
    scales = load_property_model(folders["estimator"]).model.statistics.properties["logp"]
    assert float(fed.weights["feedback.property_mean"]) == pytest.approx(scales.mean)
    assert float(fed.weights["feedback.property_std"]) == pytest.approx(scales.std)
    own = load_model_folder(folders["base"])
    assert fed.config["statistics"] == own.config["statistics"]
    assert fed.references.keys() == own.references.keys()
    assert all(torch.equal(fed.references[name], value) for name, value in own.references.items())
    assert fed.config["network"]["feedback"]["properties"] == ["logp"]
    assert "Feedback of: logp" in fed.card and "Feedback" not in load_model_folder(folders["base"]).card


def test_what_is_trained_neither_comes_nor_goes(
    feedback_file: Write, training_file: Write, folders: dict[str, Path], tmp_path: Path
) -> None:
    fed = train(feedback_file(), ["training.steps=1"])
    values = {"data": str(folders["some data"]), "init_from": str(fed), "optimizer": RATES}
    of_feedback, of_all = training_file("one", **values, feedback={}), training_file("other", **values)
    for begun, changed in ((of_feedback, of_all), (of_all, of_feedback)):
        out = tmp_path / f"made of {begun.stem}"
        train(begun, ["training.steps=1"], out=out)
        before = (out / "config.json").read_bytes()
        with pytest.raises(MoldiffError, match=r"is of another run .*what is trained (its feedback|all of it), now "):
            train(changed, ["training.steps=2"], out=out, resume="auto")
        assert (out / "config.json").read_bytes() == before


def test_draws_without_a_wish_stay_bit_by_bit_and_those_with_one_do_not(
    feedback_file: Write, folders: dict[str, Path]
) -> None:
    made = train(feedback_file(), ["optimizer.learning_rate=0.1"])
    plain, fed = (load_model(folder).model for folder in (folders["base"], made))
    nothing = UnconditionalSampler(plain.statistics.size_counts, None, 2)
    wanted = PinnedConditionSampler(nothing, {1: 2.0})
    same, free, other = (
        [drawn(model, condition_sampler) for model in (plain, fed)] for condition_sampler in (None, nothing, wanted)
    )
    assert np.array_equal(*same) and np.array_equal(*free) and not np.array_equal(*other)


@pytest.mark.parametrize("make", [lambda counts: None, lambda counts: UnconditionalSampler(counts, None, 2)])
def test_draws_of_which_nothing_is_wanted_pay_nothing(
    feedback_file: Write, make: Callable[[dict[int, int]], ConditionSampler | None]
) -> None:
    fed = load_model(train(feedback_file(), ["training.steps=1"])).model
    sampler = MoleculeSampler(fed, SOLVERS["ddpm"], 4, 3, condition_sampler=make(fed.statistics.size_counts))
    assert isinstance(sampler.denoiser, PreconditionedDenoiser) and sampler.denoiser.feedback is None


def test_validation_sees_the_feedback_at_work(feedback_file: Write) -> None:
    run = TrainingRun(load_training(feedback_file(), []), None, None)  # type: ignore[arg-type]
    rows = torch.from_numpy(run.dataset.indices("train")[:12])
    sizes = torch.from_numpy(run.dataset.sizes)[rows]
    weights = dict.fromkeys(FIELDS, 1.0)

    def total() -> float:
        return validate_denoiser(run.model.denoiser, run.model, run.arrays, sizes, rows, weights, bf16=False).total

    before, feedback = total(), run.model.denoiser.feedback
    assert feedback is not None
    with torch.no_grad():
        feedback.get_parameter("adapter.nodes.bias").fill_(1.0)
    assert total() != pytest.approx(before, rel=1e-6)


def drawn(model: MoleculeModel, condition_sampler: ConditionSampler | None) -> np.ndarray:
    """Return the coordinates of a few draws, one after the other."""
    sampler = MoleculeSampler(model, SOLVERS["ddpm"], 4, 3, condition_sampler=condition_sampler)
    draws = sorted(sampler.draw(0, 5), key=lambda draw: draw.number)
    assert all(draw.arrays is not None for draw in draws)
    return np.concatenate([draw.arrays.pos for draw in draws if draw.arrays is not None])


def test_feedback_is_trained_on_from_its_own_model(feedback_file: Write, training_file: Write) -> None:
    first = train(feedback_file())
    again = train(training_file("again", init_from=str(first), feedback={}, optimizer=RATES))
    one, other = (load_model_folder(folder).weights for folder in (first, again))
    changed = {name for name in one if not torch.equal(one[name], other[name])}
    assert changed and all(name.startswith("feedback.adapter.") for name in changed)
    tuned = load_model_folder(train(training_file("tuned", init_from=str(first)))).weights
    assert any(not name.startswith("feedback.") and not torch.equal(one[name], tuned[name]) for name in one)


def test_a_resumed_run_equals_an_uninterrupted_one(feedback_file: Write, tmp_path: Path) -> None:
    train(feedback_file("whole"))
    path = feedback_file("parts")
    train(path, ["training.steps=4"])
    train(path, [], resume="auto")
    whole, parts = (load_state(tmp_path / name / "checkpoints" / "step-00000008") for name in ("whole", "parts"))
    assert whole.weights.keys() == parts.weights.keys()
    for name, value in whole.weights.items():
        assert torch.equal(parts.weights[name], value), name


def test_what_makes_no_feedback_is_refused(
    feedback_file: Write, training_file: Write, folders: dict[str, Path]
) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(MoldiffError) as caught:
            train(path)
        assert not (path.with_suffix("") / "checkpoints").exists()
        return str(caught.value)

    assert "name it with init_from" in refused(training_file("nothing", feedback={}))
    stated = TINY | {"feedback": {"properties": ["logp"], "estimator": TINY}}
    assert "name it with init_from" in refused(training_file("stated", network=stated))
    assert "has no feedback yet: set feedback.property_model" in refused(feedback_file("none", feedback={}))
    fed = train(feedback_file())
    assert "has an estimator of its own" in refused(feedback_file("two", init_from=str(fed)))
    model = {"property_model": str(folders["base"])}
    assert "is no property network but a model" in refused(feedback_file("kind", feedback=model))
    unknown = refused(feedback_file("unknown", init_from=str(folders["gap alone"])))
    assert "cannot be asked for 'logp'" in unknown and unknown.endswith("it can be asked for gfn2_gap_eV")
    muon = refused(feedback_file("muon", optimizer=RATES | {"muon_learning_rate": 0.01}))
    assert "optimizer.muon_learning_rate" in muon and muon.endswith("set it to 0")
    assert "its noise curve differs" in refused(feedback_file("noise", init_from=str(folders["other noise"])))
