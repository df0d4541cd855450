"""What is asked of a generation, and whether it makes sense."""

from __future__ import annotations

from dataclasses import dataclass

from moldiff.arguments import check_flag, check_known, check_text, whole_number
from moldiff.devices import DEFAULT_PRECISION, PRECISIONS
from moldiff.errors import MoldiffError
from moldiff.generation.decoding.decoders import DECODERS, DEFAULT_DECODER
from moldiff.generation.options.steering import NO_WISHES, Steering, Wishes
from moldiff.generation.renoise import MAX_ATTEMPTS
from moldiff.generation.smc_run import Reweighting
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.fragments import with_fragment
from moldiff.sampling.molecule_sampler import Drawer
from moldiff.sampling.solvers import SOLVERS, Resampled
from moldiff.sampling.time_grids import DEFAULT_GRID, GRIDS
from moldiff.threads import INLINE, Workers


@dataclass(frozen=True)
class Request:
    """What is asked for; see `moldiff.generation.generate.generate` for the meaning of each field."""

    n: int
    model: str
    n_atoms: tuple[int, int] | None
    steps: int
    sampler: str
    seed: int
    batch_size: int
    device: str
    until_valid: bool
    decode: str = DEFAULT_DECODER
    grid: str = DEFAULT_GRID
    renoise: int = 0
    wishes: Wishes = NO_WISHES
    precision: str = DEFAULT_PRECISION
    reweighting: Reweighting | None = None

    def drawer(
        self, model: MoleculeModel, keep_predictions: bool, steering: Steering, workers: Workers = INLINE
    ) -> Drawer:
        """Return what makes the draws."""
        solver, grid = SOLVERS[self.sampler], GRIDS[self.grid]
        if steering.resample > 1:
            solver = Resampled(solver, steering.resample)
        if steering.fragment is not None:
            model = with_fragment(model, steering.fragment)
        return Drawer(
            model, solver, self.steps, self.seed, self.n_atoms, keep_predictions, grid,
            steering.starts, steering.guidance, steering.constraints, workers, steering.gradient,
        )  # fmt: skip


def check_request(request: Request, trajectories: bool = False) -> None:
    """Raise MoldiffError for the first argument that is out of range or of a wrong type.

    Args:
        request: to check.
        trajectories: whether the way of a molecule is asked for as well.
    """
    for name in ("n", "steps", "batch_size", "seed", "renoise"):
        whole_number(getattr(request, name), name)
    for name in ("sampler", "grid", "device", "precision", "decode"):
        check_text(getattr(request, name), name)
    check_flag(request.until_valid, "until_valid")
    for name in ("n", "steps", "batch_size"):
        if getattr(request, name) < 1:
            raise MoldiffError(f"{name} must be at least 1, not {getattr(request, name)}")
    if not 0 <= request.renoise <= MAX_ATTEMPTS:
        raise MoldiffError(f"renoise must be in 0 .. {MAX_ATTEMPTS}, not {request.renoise}")
    if not 0 <= request.seed < 1 << 64:
        raise MoldiffError(f"seed must be in 0 .. 2^64 - 1, not {request.seed}")
    check_known("sampler", request.sampler, SOLVERS)
    check_known("grid", request.grid, GRIDS)
    check_known("precision", request.precision, PRECISIONS)
    check_known("decoding", request.decode, DECODERS)
    if request.n_atoms is not None and not 1 <= request.n_atoms[0] <= request.n_atoms[1] <= 999:
        raise MoldiffError(f"n_atoms must be a range within 1 .. 999, not {request.n_atoms}")
    if request.reweighting is not None:
        _check_reweighted(request)
        if trajectories:
            raise MoldiffError(
                "a score and a trajectory do not go together: a molecule's way leads through several draws"
            )


def _check_reweighted(request: Request) -> None:
    if not SOLVERS[request.sampler].is_stochastic:
        able = ", ".join(name for name, solver in SOLVERS.items() if solver.is_stochastic)
        raise MoldiffError(
            f"the sampler {request.sampler} is deterministic: copies of a molecule would stay alike; a score works "
            f"with {able}"
        )
    if request.wishes.property_model is not None:
        raise MoldiffError(
            "a score and the gradient of a property network (--property-model) do not go together; "
            "--score network:FOLDER:name=2.5 scores by such a network"
        )
    if request.renoise:
        raise MoldiffError("a score and renoise do not go together: what fails has weight zero as it is")
