"""Measurements of training: the same losses by graph as eagerly and when repeated, molecules/s, and parts of a step.

Steps are the package's own (`moldiff.training.lightning_module.TrainingTask.unguarded_step`), Lightning apart. Without
graphs, a run also looks at the gradient of every step and waits for it; that is not in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch

from moldiff.config import OptimizerConfig, TrainConfig, TrainingConfig
from moldiff.datasets.batching import BatchPlan, bucket_width
from moldiff.datasets.layout import POSITION_UNIT
from moldiff.datasets.prepared import DeviceArrays, PreparedDataset, PropertyInfo
from moldiff.diffusion.joint import draw_noise
from moldiff.models.molecule_model import MoleculeModel
from moldiff.nn.compiled import compile_layers
from moldiff.randomness import NoiseSource
from moldiff.training.denoiser_module import DenoisingTask
from moldiff.training.optimizers import build_optimizers, set_learning_rates
from moldiff.training.step_graphs import Kind, StepGraphs, StepInputs
from scripts.device.cost import BACKWARD, cost_of, noisy_batch
from scripts.device.setting import Figure, Setting, common_widths

MOLECULES = 4096
SELF_CONDITIONED = 0.5  # share of the steps; these take one more evaluation, without a gradient
STEPS = 10  # between two looks at the clock
RATE = 0.1  # of the full learning rates, as in a warm-up


def random_molecules(model: MoleculeModel, widths: list[int]) -> PreparedDataset:
    """Return a data set of chains of random atoms, in a model's proportions, of the sizes that have these widths."""
    generator, statistics = np.random.default_rng(0), model.statistics
    sizes = [size for size in statistics.size_counts if bucket_width(size) in widths]
    weights = np.array([statistics.size_counts[size] for size in sizes], dtype=np.float64)
    n_atoms = generator.choice(sizes, MOLECULES, p=weights / weights.sum())
    atoms, starts = int(n_atoms.sum()), np.concatenate([[0], np.cumsum(n_atoms)])
    spread = np.repeat([statistics.position_std[int(n)] for n in n_atoms], n_atoms) / POSITION_UNIT
    positions = spread[:, None] * generator.normal(size=(atoms, 3))
    chains = [np.stack([np.arange(n - 1), np.arange(1, n), np.ones(n - 1)], axis=1) for n in n_atoms]

    def drawn(field: str) -> np.ndarray:
        shares = np.array(statistics.marginals[field])
        return generator.choice(len(shares), atoms, p=shares / shares.sum()).astype(np.uint8)

    arrays = {
        "positions": positions.clip(-32767, 32767).astype(np.int16),
        "atom_type": drawn("atom_type"),
        "charge": drawn("charge"),
        "bonds": np.concatenate(chains).astype(np.uint8),
        "atom_offsets": starts.astype(np.int64),
        "bond_offsets": (starts - np.arange(MOLECULES + 1)).astype(np.int64),
        "properties": generator.normal(size=(MOLECULES, len(model.conditions))).astype(np.float32),
        "split": np.zeros(MOLECULES, dtype=np.uint8),
    }
    properties = tuple(PropertyInfo(name, "", "tag") for name in model.conditions)
    return PreparedDataset(Path("random"), arrays, model.vocabulary, statistics, properties, {})


class Training:
    """A network under training, from fresh weights that are always the same.

    Args:
        setting: of the check.
        graphs: steps are captured and replayed.
        compiled: layers go through PyTorch's compiler.
    """

    def __init__(self, setting: Setting, *, graphs: bool = False, compiled: bool = False) -> None:
        base, device = setting.model(setting.models[0], device=torch.device("cpu"), exact=True), setting.device
        torch.manual_seed(0)
        self.model = MoleculeModel.build(
            setting.network or base.network_config, base.curve_config, base.vocabulary, base.statistics, base.conditions
        )
        self.model.denoiser.to(device).train()
        training = TrainingConfig(
            batch_size=setting.batch, bf16=device.type == "cuda", self_conditioning=SELF_CONDITIONED
        )
        optimizer = OptimizerConfig(learning_rate=1e-3, muon_learning_rate=4e-3)
        config = TrainConfig(data=Path(), output=Path(), training=training, optimizer=optimizer)
        self.widths = common_widths(base.statistics, setting.widths)
        data = random_molecules(base, self.widths)
        arrays = DeviceArrays(data, device, properties=base.conditions, vocabulary=base.vocabulary)
        plan = BatchPlan(data.sizes, setting.batch, training.seed)
        self.task = DenoisingTask(self.model, config, arrays, plan, 0)
        self.task.averaged.to(device)
        if compiled:
            compile_layers(self.task.trained)
        self.optimizers = build_optimizers(self.task, optimizer)
        self.task.trainer = cast("pl.Trainer", SimpleNamespace(optimizers=self.optimizers))
        set_learning_rates(self.optimizers, RATE)
        self._graphs = StepGraphs(device, self.task.unguarded_step, self.task.step_state) if graphs else None
        self.setting, self.taken = setting, 0

    def step(self) -> int:
        """Take the next step; return its molecules."""
        inputs = self.task.inputs(self.taken)
        # the first step makes the state of the optimisers, which must be there when a later one is captured
        if self._graphs is None or not self.taken:
            self.task.unguarded_step(inputs.to(self.setting.device))
        else:
            self._graphs.run(inputs)
        self.taken += 1
        return len(inputs.rows)

    def steps(self, count: int) -> dict[str, float]:
        """Take so many steps; return the sums of the losses and of the gradient's norm."""
        for _ in range(count):
            self.step()
        return self.task.take_sums()

    def warm_up(self) -> int:
        """Take steps until all kinds in all widths have been; return how many."""
        wanted = {(kind, width) for kind in (Kind.DATA, Kind.SELF_CONDITIONED) for width in self.widths}
        while wanted:
            inputs = self.task.inputs(self.taken)
            wanted.discard((inputs.kind, inputs.width))
            self.step()
        return self.taken

    def some_inputs(self, kind: Kind) -> StepInputs:
        """Return what a step of a kind and of the largest width reads, on the device."""
        number = 0
        while (found := self.task.inputs(number)).kind is not kind or found.width != self.widths[-1]:
            number += 1
        return found.to(self.setting.device)


def difference(one: Training, other: Training, name: str) -> Iterator[Figure]:
    """Compare two trainings after some steps: their losses, and their weights bit by bit."""
    count = one.setting.compared
    ours, theirs = one.steps(count), other.steps(count)
    loss = max(abs(theirs[key] / ours[key] - 1) for key in ours)
    pairs = zip(one.task.trained.parameters(), other.task.trained.parameters(), strict=True)
    same = all(torch.equal(first, second) for first, second in pairs)
    note = f"{count} steps of {one.setting.batch} molecules"
    yield Figure(f"losses, {name}", loss, "relative", f"{note}; the largest of the losses and the gradient's norm")
    yield Figure(f"weights, {name}", "the same bits" if same else "not the same bits", note=note)


def equality(setting: Setting, seconds: float) -> Iterator[Figure]:
    """Compare training repeated, and by graph, with eager training."""
    yield from difference(Training(setting), Training(setting), "repeated")
    yield from difference(Training(setting), Training(setting, graphs=True), "by graph and eagerly")


def speed(setting: Setting, seconds: float, *, graphs: bool) -> Iterator[Figure]:
    """Measure how many molecules are trained on a second."""
    yield from _rate(Training(setting, graphs=graphs), seconds, "by graph" if graphs else "eagerly")


def compiled(setting: Setting, seconds: float) -> Iterator[Figure]:
    """Compare compiled training by graph with eager training, and measure it."""
    training, start = Training(setting, graphs=True, compiled=True), setting.now()
    yield from difference(Training(setting), training, "compiled and eagerly")
    yield Figure("start of the comparison", setting.now() - start, "s", "compilation, and the steps of both")
    yield from _rate(training, seconds / 4, "by graph, compiled")


def _rate(training: Training, seconds: float, name: str) -> Iterator[Figure]:
    """Measure a training's molecules/s once all kinds and widths have been."""
    setting = training.setting
    setting.forget_peak()
    start = setting.now()
    steps = training.warm_up()
    warmed = setting.now() - start
    # several steps at a time: a look at the clock waits for the device, which a training does not
    rate = setting.rate(lambda _: sum(training.step() for _ in range(STEPS)), max(seconds - warmed, seconds / 4))
    note = f"batch {setting.batch}, widths {training.widths}, half of the steps self-conditioned"
    yield Figure(f"trained {name}", rate, "molecules/s", f"{note}, {setting.peak():.2f} GiB")
    yield Figure(f"start {name}", warmed, "s", f"all kinds and widths once, until step {steps}")


def parts(setting: Setting, seconds: float) -> Iterator[Figure]:
    """Measure the parts of an eager step, each by itself, and put the network's floor beside them."""
    training = Training(setting)
    training.step()
    task, inputs, share = training.task, training.some_inputs(Kind.DATA), seconds / 8
    keys = task.arrays.assemble(inputs.rows, inputs.width).ids
    here = inputs.to(torch.device("cpu"))

    def forward_and_backward() -> None:
        task.trained.zero_grad(set_to_none=True)
        task.losses(inputs)[0].backward()

    def optimise() -> None:
        for optimizer in training.optimizers:
            optimizer.step()

    whole = setting.median(lambda: task.unguarded_step(inputs), 2 * share)
    works: dict[str, Callable[[], object]] = {
        "assembly of the batch": lambda: task.arrays.assemble(inputs.rows, inputs.width),
        "noise": lambda: draw_noise(NoiseSource(0), keys, 1, inputs.width),
        "network and loss": forward_and_backward,
        "optimisers": optimise,
    }
    took = {part: setting.median(work, share) for part, work in works.items()}
    took["clipping, average and the rest"] = whole - took["network and loss"] - took["optimisers"]
    took["network and loss"] -= took["assembly of the batch"] + took["noise"]
    took["transfer, before the step"] = setting.median(lambda: here.to(setting.device), share)
    note = f"{setting.batch} molecules of width {inputs.width}, eager, not self-conditioned: {1e3 * whole:.3g} ms"
    for part, value in took.items():
        yield Figure(f"share of {part}", value / whole, note=note)
    yield from _floor(training, inputs.width)


def _floor(training: Training, width: int) -> Iterator[Figure]:
    """Return the network's floor in training."""
    setting, denoiser = training.setting, training.task.trained
    batch, levels = noisy_batch(training.model, width, setting.batch, setting.device)
    with torch.autocast(setting.device.type, torch.bfloat16, enabled=setting.device.type == "cuda"):
        cost = cost_of(denoiser, lambda: denoiser(batch, levels, batch.properties, None))
    evaluations = 1 + BACKWARD + SELF_CONDITIONED
    return cost.floor(setting, setting.batch, evaluations, "training")
