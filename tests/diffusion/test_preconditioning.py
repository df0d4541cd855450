"""Karras preconditioning: unit variances at every level, and coordinates that stay in the zero-mean subspace."""

import pytest
import torch
from torch import Tensor, nn

from moldiff.diffusion.levels import Levels
from moldiff.diffusion.preconditioning import PreconditionedDenoiser
from moldiff.molecules import FeatureShifts, MolBatch, MolPrediction

SIGMA_DATA = torch.tensor([9.0, 9.0, 0.7, 1.0, 1.3])  # angstrom, by number of atoms
SIGMAS = torch.tensor([0.01, 0.5, 25.0], dtype=torch.float64)


class Recorder(nn.Module):
    """A raw network that returns a given F and keeps what it was given."""

    def __init__(self, raw: Tensor) -> None:
        super().__init__()
        self.raw = raw

    def forward(
        self,
        batch: MolBatch,
        anchor: Tensor,
        scale: Tensor,
        scaled: Tensor,
        levels: Tensor,
        condition: Tensor,
        previous: MolPrediction | None,
        shifts: FeatureShifts | None = None,
    ) -> MolPrediction:
        self.anchor, self.scale, self.scaled, self.levels = anchor, scale, scaled, levels
        return MolPrediction(self.raw, *(torch.zeros(0) for _ in range(3)))


def batch_of(pos: Tensor, mask: Tensor) -> MolBatch:
    atoms = torch.zeros(mask.shape, dtype=torch.int64)
    bonds = torch.zeros(*mask.shape, mask.shape[1], dtype=torch.int64)
    return MolBatch(pos, atoms, atoms, bonds, mask, torch.zeros(len(pos), 0), torch.arange(len(pos)))


def run(pos: Tensor, raw: Tensor, mask: Tensor) -> tuple[Recorder, Tensor]:
    network = Recorder(raw)
    logits = torch.zeros(len(pos))
    levels = Levels(SIGMAS.log(), logits, logits, logits)
    return network, PreconditionedDenoiser(network, SIGMA_DATA)(
        batch_of(pos, mask), levels, torch.zeros(3, 0), None
    ).pos


@pytest.fixture
def mask() -> Tensor:
    return torch.arange(6)[None] < torch.tensor([2, 4, 6])[:, None]


def test_input_and_target_have_unit_variance_at_every_level(mask: Tensor) -> None:
    unit = torch.zeros(3, 6, 3, dtype=torch.float64)
    unit[:, 0, 0], unit[:, 1, 0] = 1, -1  # zero mean
    network, at_zero = run(unit, torch.zeros_like(unit), mask)
    # larger molecules than the table use its last entry
    data = torch.tensor([0.7, 1.3, 1.3], dtype=torch.float64).float().double()
    c_skip, c_in = at_zero[:, 0, 0], network.scaled[:, 0, 0]
    c_out = network.scale
    total = data**2 + SIGMAS**2
    assert torch.allclose(c_in**2 * total, torch.ones(3, dtype=torch.float64))
    # target (x_0 - c_skip x) / c_out with x = x_0 + sigma n
    target = ((1 - c_skip) ** 2 * data**2 + c_skip**2 * SIGMAS**2) / c_out**2
    assert torch.allclose(target, torch.ones(3, dtype=torch.float64))
    # c_out is as small as it can be (Karras et al. 2022, appendix B.6)
    for wrong in (0.99 * c_skip, 1.01 * c_skip):
        assert bool(((1 - wrong) ** 2 * data**2 + wrong**2 * SIGMAS**2 >= c_out**2 - 1e-12).all())


def test_output_is_the_anchor_plus_the_scaled_raw_output(mask: Tensor) -> None:
    pos, raw = torch.randn(2, 3, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network, found = run(pos * mask[..., None] + 5, raw, mask)
    assert float((found * mask[..., None]).sum(1).abs().max()) < 1e-12
    assert not found[~mask].any()
    raw = raw * mask[..., None]
    centred = raw - raw.sum(1, keepdim=True) / mask.sum(1)[:, None, None]
    expected = network.anchor + network.scale[:, None, None] * centred
    assert torch.allclose(found[mask], expected[mask])
    assert torch.allclose(network.levels[:, 0], SIGMAS.log())
