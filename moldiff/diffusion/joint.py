"""Diffusion of whole molecules: one process per field. The only place that loops over the four fields."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.gaussian import GaussianProcess
from moldiff.diffusion.levels import Levels
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.randomness import NoiseSource

CATEGORIES = FIELDS[1:]


@dataclass(frozen=True)
class JointNoise:
    """Random numbers for one draw of every field: pos (B, N, 3) standard normal, the others uniform in (0, 1) with the
    shape of their field (bond_type symmetric)."""

    pos: Tensor
    atom_type: Tensor
    charge: Tensor
    bond_type: Tensor


def draw_noise(source: NoiseSource, ids: Tensor, counter: int | Tensor, n: int) -> JointNoise:
    """Return the noise of molecules ``ids`` (B,) for a counter (see `moldiff.randomness`), padded to n atoms."""
    return JointNoise(*source.fields(ids, counter, n))


class JointDiffusion:
    """Gaussian diffusion of coordinates and categorical diffusion of atom types, charges and bonds.

    Args:
        limits: limit distribution of each categorical field, by field name.
        position_std: (n_max + 1,) sigma_data of a molecule of n atoms, angstrom, indexed by n.
        temperature: T > 0; on the way back, categories are drawn from the predicted p(x_0)^(1/T), normalised. 1 draws
            from the prediction itself, less prefers what is probable.
    """

    def __init__(self, limits: dict[str, Tensor], position_std: Tensor, temperature: float = 1.0) -> None:
        self.pos = GaussianProcess()
        self.categories = {field: CategoricalProcess(limits[field]) for field in CATEGORIES}
        self.position_std, self.temperature = position_std, temperature

    def to(self, device: torch.device) -> JointDiffusion:
        """Return the process with its tables on a device, so that nothing is copied there at a step."""
        moved = copy.copy(self)
        moved.categories = {field: process.to(device) for field, process in self.categories.items()}
        moved.position_std = self.position_std.to(device)
        return moved

    def at_temperature(self, temperature: float) -> JointDiffusion:
        """Return the process at another temperature."""
        other = copy.copy(self)
        other.temperature = temperature
        return other

    def sample_prior(self, template: MolBatch, levels: Levels, noise: JointNoise) -> MolBatch:
        """Return pure noise with the template's mask, ids and properties; ``levels`` are those of the first time."""
        # the marginal of noisy data there is a little wider than the noise alone
        sigma = torch.sqrt(levels.sigma.double() ** 2 + self.sigma_data(template.mask).double() ** 2).float()
        fields = {"pos": self.pos.sample_prior(sigma, noise.pos, template.mask)}
        for field, process in self.categories.items():
            fields[field] = _keep(process.sample_prior(getattr(noise, field)), field, template)
        return template.replace(**fields)

    def noise(self, clean: MolBatch, levels: Levels, noise: JointNoise) -> MolBatch:
        """Return x_t ~ q(x_t | x_0) of every field at its own level."""
        fields = {"pos": self.pos.sample_marginal(clean.pos, levels.sigma, noise.pos, clean.mask)}
        for field, process in self.categories.items():
            drawn = process.sample_marginal(getattr(clean, field), levels.abar(field), getattr(noise, field))
            fields[field] = _keep(drawn, field, clean)
        return clean.replace(**fields)

    def noise_further(self, noisy: MolBatch, at: Levels, to: Levels, noise: JointNoise) -> MolBatch:
        """Return a draw at the noisier level ``to``, q(x_to | x_at) of every field."""
        sigma = torch.sqrt((to.sigma.double() ** 2 - at.sigma.double() ** 2).clamp(min=0))
        fields = {"pos": self.pos.sample_marginal(noisy.pos, sigma, noise.pos, noisy.mask)}
        for field, process in self.categories.items():
            ratio = to.abar(field) / at.abar(field)
            fields[field] = _keep(
                process.sample_marginal(getattr(noisy, field), ratio, getattr(noise, field)), field, noisy
            )
        return noisy.replace(**fields)

    def reverse_categories(
        self,
        noisy: MolBatch,
        prediction: MolPrediction,
        at: Levels,
        to: Levels,
        noise: JointNoise,
        redraw: Tensor | None = None,
    ) -> MolBatch:
        """Return ``noisy`` with its categories moved from level ``at`` to the cleaner ``to``; coordinates stay.

        Args:
            redraw: (B,) share of the variables that get corrector noise, see `CategoricalProcess.reverse_step`.
        """
        fields = {}
        for field, process in self.categories.items():
            probabilities = torch.softmax(getattr(prediction, field).double() / self.temperature, dim=-1)
            drawn = process.reverse_step(
                getattr(noisy, field), probabilities, at.abar(field), to.abar(field), getattr(noise, field), redraw
            )
            fields[field] = _keep(drawn, field, noisy)
        return noisy.replace(**fields)

    def reverse_step(
        self,
        noisy: MolBatch,
        prediction: MolPrediction,
        at: Levels,
        to: Levels,
        noise: JointNoise,
        eta: float = 1.0,
        redraw: Tensor | None = None,
    ) -> MolBatch:
        """Return a draw at the cleaner level ``to``: ancestral (eta = 1) or DDIM (eta = 0) for coordinates, the exact
        posterior of each variable for categories (``redraw``: see `reverse_categories`)."""
        pos = self.pos.reverse_step(noisy.pos, prediction.pos, at.sigma, to.sigma, noise.pos, noisy.mask, eta)
        return self.reverse_categories(noisy, prediction, at, to, noise, redraw).replace(pos=pos)

    def decode(self, noisy: MolBatch, prediction: MolPrediction) -> MolBatch:
        """Return the most probable clean molecule: predicted coordinates, argmax of every category."""
        fields = {field: _keep(getattr(prediction, field).argmax(-1), field, noisy) for field in CATEGORIES}
        return noisy.replace(pos=prediction.pos, **fields)

    def loss(self, clean: MolBatch, levels: Levels, prediction: MolPrediction) -> dict[str, Tensor]:
        """Return each field's loss per molecule, (B,) float32: means per atom, and per unordered pair for bonds.

        Coordinates: squared error times (sigma^2 + sigma_data^2) / (sigma sigma_data)^2, which gives the raw network's
        target unit variance at every level (Karras et al. 2022, table 1). Categories: cross-entropy in nats.
        """
        sigma, sigma_data = levels.sigma.double(), self.sigma_data(clean.mask).double()
        weight = ((sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2 / 3).float()
        atoms, pairs = clean.mask.float(), torch.triu(clean.pair_mask, diagonal=1).float()
        per_atom = {
            "pos": self.pos.loss(prediction.pos, clean.pos, weight, clean.mask),
            "atom_type": self.categories["atom_type"].loss(prediction.atom_type, clean.atom_type),
            "charge": self.categories["charge"].loss(prediction.charge, clean.charge),
        }
        losses = {field: (value * atoms).sum(1) / atoms.sum(1) for field, value in per_atom.items()}
        bonds = self.categories["bond_type"].loss(prediction.bond_type, clean.bond_type)
        losses["bond_type"] = (bonds * pairs).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)
        return losses

    def sigma_data(self, mask: Tensor) -> Tensor:
        """Return (B,) standard deviation of clean coordinates for molecules of these sizes, angstrom."""
        table = self.position_std.to(mask.device)
        return table[mask.sum(1).clamp(max=len(table) - 1)]


def _keep(drawn: Tensor, field: str, batch: MolBatch) -> Tensor:
    """Zero the padding (and the diagonal, for bonds)."""
    return drawn * (batch.pair_mask if field == "bond_type" else batch.mask)
