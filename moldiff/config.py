"""Training files (YAML) as pydantic models: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from moldiff.arguments import MOST_COUNT, MOST_EVALUATIONS, MOST_SEED, repeated
from moldiff.choices import CONFORMER_DEFAULTS, DEFAULTS, TEMPERATURES, Sampler, TimeGrid
from moldiff.deprecations import logger as deprecated
from moldiff.deprecations import renamed_keys, renamed_override
from moldiff.errors import MoldiffError, nearest_name
from moldiff.sections import Section, parse_yaml, read_mapping, validate

MOST_RATE = 1000.0  # of an optimizer, by which no weight stays what it was
Positive = Annotated[float, Field(gt=0, le=1e12)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=MOST_COUNT)]
Depth = Annotated[int, Field(ge=1, le=64)]
Width = Annotated[int, Field(ge=1, le=4096)]
Atoms = Annotated[float, Field(gt=0, le=10_000)]
Angstrom = Annotated[float, Field(gt=0, le=10_000)]
Exponent = Annotated[float, Field(gt=0, le=100)]
Temperature = Annotated[float, Field(ge=TEMPERATURES[0], le=TEMPERATURES[1])]
Evaluations = Annotated[int, Field(ge=1, le=MOST_EVALUATIONS)]
TrainedEvaluations = Annotated[int, Field(ge=3, le=MOST_EVALUATIONS)]
Switch = Literal["auto"] | bool


class LayersConfig(Section):
    """Sizes of a stack of equivariant layers (`moldiff.nn.layers`), and the scales of what goes in.

    The defaults of the scales are QM9's. A training file that leaves them out gets those of its data.

    Attributes:
        typical_atoms: sums over the atoms of a molecule are divided by it, or by its root.
        size_unit: numbers of atoms are seen in this unit.
    """

    layers: Depth = 6
    node_width: Width = 192
    pair_width: Width = 64
    pair_hidden: Width = 96
    vectors: Width = 32
    heads: Width = 8
    l_max: Annotated[int, Field(ge=1, le=2)] = 1
    global_width: Width = 128
    typical_atoms: Atoms = 18
    size_unit: Atoms = 20

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> LayersConfig:
        if self.node_width % self.heads:
            raise ValueError(f"heads {self.heads} must divide node_width {self.node_width}")
        return self


class PropertyNetworkConfig(LayersConfig):
    """Sizes of a property network (`moldiff.nn.property`), which is far smaller than what it guides."""

    layers: Depth = 4
    node_width: Width = 96
    pair_width: Width = 32
    pair_hidden: Width = 48
    vectors: Width = 16
    heads: Width = 4
    global_width: Width = 64


class FeedbackConfig(Section):
    """Feedback of a denoiser (`moldiff.nn.feedback`): what its estimator tells, and sizes.

    Attributes:
        properties: that the estimator tells, all of them conditions of the model.
        estimator: its sizes.
        width: of the adapter's hidden layers.
    """

    properties: Annotated[tuple[str, ...], Field(min_length=1)]
    estimator: PropertyNetworkConfig
    width: Width = 192


class NetworkConfig(LayersConfig):
    """Sizes of the denoising network (`moldiff.nn.network`), and of its feedback if it has one."""

    geometry_every: Depth = 1
    feedback: FeedbackConfig | None = None


class CurveConfig(Section):
    """Noise levels along t (`moldiff.diffusion.schedule.NoiseSchedule`).

    Attributes:
        sigma_reference: where the coordinates' noise passes the middle of its angle range, angstrom: about how wide
            molecules are. The default is QM9's; a training file that leaves it out gets that of its data.
    """

    sigma_min: Angstrom = 0.01
    sigma_max: Angstrom = 25.0
    sigma_reference: Angstrom = 1.3
    abar_end: Annotated[float, Field(gt=0, lt=0.5)] = 1e-4
    exponent_pos: Exponent = 1.65
    exponent_atom_type: Exponent = 1.0
    exponent_charge: Exponent = 1.0
    exponent_bond_type: Exponent = 1.3

    @model_validator(mode="after")
    def _noise_grows(self) -> CurveConfig:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} must be below sigma_max {self.sigma_max:g}")
        return self


class MethodConfig(Section):
    """Method by which molecules are drawn where a user does not say."""

    evaluations: Evaluations = DEFAULTS.evaluations
    sampler: Sampler = DEFAULTS.sampler
    grid: TimeGrid = DEFAULTS.grid
    temperature: Temperature = 1.0


class ConformersConfig(MethodConfig):
    """The same of conformers, whose graph is given."""

    evaluations: Evaluations = CONFORMER_DEFAULTS.evaluations
    sampler: Sampler = CONFORMER_DEFAULTS.sampler
    grid: TimeGrid = CONFORMER_DEFAULTS.grid


class SamplingConfig(MethodConfig):
    """Defaults of a model's sampling: new molecules, variations, conformers.

    Attributes:
        evaluations, sampler, grid, temperature: for new molecules and variations.
        conformers: for conformers.
        rows: molecules of a micro-batch on a CPU in float32; `moldiff.sampling.microbatches` has the others.
        window_start: coordinate noise at which the grid "window" begins, in units of the spread of the largest
            molecules that are drawn.
        fragment_redraw: around a fragment, a share 1 - (sigma_s / sigma_t)^this of the variables is drawn anew at every
            step (`moldiff.diffusion.inpainting.PartialDiffusion`).
    """

    conformers: ConformersConfig = ConformersConfig()
    rows: Annotated[int, Field(ge=1, le=1024)] = 32
    window_start: Annotated[float, Field(gt=0, le=100)] = 1.35
    fragment_redraw: Annotated[float, Field(ge=0, le=1000)] = 15.0


DEFAULT_SAMPLING = SamplingConfig()


class DensityConfig(Section):
    """Density of training along the schedule (`moldiff.diffusion.schedule.TrainingDensity`)."""

    lognormal_share: Share = 0.65
    sigma_median: Positive = 0.3
    sigma_spread: Positive = 1.2
    independent_share: Share = 0.22
    clean_graph_share: Share = 0.33


class LossConfig(Section):
    """Weights of the four fields' losses."""

    pos: Positive = 1.0
    atom_type: Positive = 0.5
    charge: Positive = 0.5
    bond_type: Positive = 2.0


class OptimizerConfig(Section):
    """Optimiser, learning rate (warm-up, stable, decay), EMA and guards."""

    learning_rate: Annotated[float, Field(gt=0, le=MOST_RATE)] = 1.2e-3
    warmup_steps: Annotated[int, Field(ge=0, le=MOST_COUNT)] = 500
    decay_steps: Annotated[int, Field(ge=0, le=MOST_COUNT)] = 0
    weight_decay: Annotated[float, Field(ge=0, le=MOST_RATE)] = 0.0
    gradient_clip: Positive = 1.0
    ema_decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    muon_learning_rate: Annotated[float, Field(ge=0, le=MOST_RATE)] = 0.0


class PaceConfig(Section):
    """Length and pace of a training run.

    Attributes:
        compile: layers through PyTorch's compiler; "auto": on a CUDA device whose compiler is there.
        graphs: steps captured once and replayed (`moldiff.training.step_graphs`); "auto": on one CUDA device.
    """

    steps: Count = 100_000
    batch_size: Count = 48
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = 0
    bf16: bool = True
    log_every: Count = 50
    validate_every: Count = 2000
    validation_molecules: Count = 1024
    checkpoint_every: Count = 1000
    device: str = "auto"
    devices: Annotated[int, Field(ge=1, le=4096)] = 1
    threads: Annotated[int, Field(ge=0, le=4096)] = 0
    compile: Switch = False
    graphs: Switch = "auto"

    @model_validator(mode="after")
    def _processes_share_the_batch(self) -> Self:
        if self.batch_size % self.devices:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of devices {self.devices}")
        return self


class TrainingConfig(PaceConfig):
    """The same of a denoiser, and what it is shown."""

    self_conditioning: Share = 0.5
    self_conditioning_gap: Share = 0.1
    property_dropout: Share = 0.5
    p_unconditional: Share = 0.5
    p_single_property: Share = 0.0

    @model_validator(mode="after")
    def _shares_are_of_one_whole(self) -> Self:
        if self.p_unconditional + self.p_single_property > 1:
            raise ValueError(
                f"p_unconditional {self.p_unconditional} and p_single_property {self.p_single_property} are shares of "
                "the same rows: together at most 1"
            )
        return self


class OnPolicyConfig(Section):
    """Training on what the model itself draws (`moldiff.training.on_policy.states`)."""

    share: Share = 0.0
    draws: Count = 6000
    sampler_evaluations: Annotated[tuple[TrainedEvaluations, ...], Field(min_length=1)] = (20,)
    states: Count = 8
    reweight: Annotated[float, Field(ge=0)] = 1.0
    known: Share = 0.0
    teacher: str | None = None
    teacher_start: Annotated[float, Field(gt=0, le=1)] = 0.2
    teacher_evaluations: TrainedEvaluations = 20


class FeedbackTrainingConfig(Section):
    """Training of a model's feedback alone; its other weights stay as they are.

    Attributes:
        property_model: folder of a property network, the estimator of a model that has no feedback yet.
    """

    property_model: str | None = None


class RunConfig(Section):
    """Parts of every training file: data folder, output folder and the sections that all share."""

    data: Path
    output: Path
    density: DensityConfig = DensityConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: PaceConfig = PaceConfig()

    def record(self) -> dict[str, Any]:
        """Return the plain JSON of a training file that says the same; what is left out there is left out here."""
        return {name: value for name, value in self.model_dump(mode="json").items() if value is not None}

    @model_validator(mode="after")
    def _names_stand_once(self) -> Self:
        for key in ("conditions", "properties"):
            if (twice := repeated(getattr(self, key, ()))) is not None:
                raise ValueError(f"{key}: '{twice}' stands twice")
        return self


class TrainConfig(RunConfig):
    """A training file of a model that generates molecules."""

    kind: Literal["denoiser"] = "denoiser"
    conditions: tuple[str, ...] = ()
    init_from: str | None = None
    network: NetworkConfig = NetworkConfig()
    curve: CurveConfig = CurveConfig()
    loss: LossConfig = LossConfig()
    sampling: SamplingConfig = DEFAULT_SAMPLING
    on_policy: OnPolicyConfig = OnPolicyConfig()
    feedback: FeedbackTrainingConfig | None = None
    training: TrainingConfig = TrainingConfig()

    @field_validator("feedback", mode="before")
    @classmethod
    def _empty_is_no_section(cls, value: object) -> object:
        if value is None:  # as if it were not there, all weights would be trained
            raise ValueError("it is empty; feedback: {} is a section without keys")
        return value


class PropertyTrainConfig(RunConfig):
    """A training file of a property network, which guides the model ``guided_model``."""

    kind: Literal["property"]
    guided_model: str
    properties: Annotated[tuple[str, ...], Field(min_length=1)]
    network: PropertyNetworkConfig = PropertyNetworkConfig()


_KINDS: dict[str, type[TrainConfig] | type[PropertyTrainConfig]] = {
    "denoiser": TrainConfig,
    "property": PropertyTrainConfig,
}


def load_training(path: Path, overrides: list[str]) -> TrainConfig | PropertyTrainConfig:
    """Read a training file of the kind that its key ``kind`` names, and apply ``key=value`` overrides (dotted keys,
    YAML values).

    Raises:
        MoldiffError: unreadable or unsafe YAML, unknown key (names the nearest), value of a wrong type or range.
    """
    values = renamed_keys(read_mapping(path), str(path), warn=deprecated.warning)
    given: dict[str, str] = {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            reason = f"set {override!r} must look like key=value, for example training.steps=1000"
            raise MoldiffError(reason, argument="overrides", word="set")
        new = renamed_override(key.strip(), given, warn=deprecated.warning)
        _set(values, new, parse_yaml(text, f"set {key}"), override)
    kind = str(values.get("kind", "denoiser"))
    if kind not in _KINDS:
        raise MoldiffError(f"{path}: unknown kind '{kind}'{nearest_name(kind, _KINDS)}; known are {', '.join(_KINDS)}")
    values = renamed_keys(values, str(path), warn=deprecated.warning)  # a section may have come with --set
    return validate(_KINDS[kind], values, str(path))


def _set(values: dict[str, Any], dotted: str, value: object, override: str) -> None:
    """Set a dotted key in nested dictionaries."""
    *parents, last = dotted.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            reason = f"set {override!r}: '{parent}' is a value, not a section"
            raise MoldiffError(reason, argument="overrides", word="set")
    values[last] = value
