"""Re-noising: who gets another attempt, what it depends on, and that attempts are counted and paid for."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from generating import generate_files, nonzero
from methane import METHANE, METHYL

from moldiff.arrays import MolArrays, RawSample
from moldiff.errors import MoldiffError
from moldiff.generation.decoding.decoders import ArgmaxDecoder
from moldiff.generation.renoise import MAX_ATTEMPTS, Renoiser
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS

LATE = 3  # the attempt at which a failed draw of `scripted` succeeds


def same(one: MolArrays | None, other: MolArrays | None) -> bool:
    assert one is not None
    assert other is not None
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


@pytest.fixture
def molecule_sampler(tiny_model: MoleculeModel) -> MoleculeSampler:
    return MoleculeSampler(tiny_model, SOLVERS["ddpm"], 10, 0, grid=GRIDS["uniform"])


def test_an_attempt_starts_at_the_last_time_of_the_grid_before_the_start(molecule_sampler: MoleculeSampler) -> None:
    renoiser = Renoiser(molecule_sampler, start=0.35)
    assert renoiser.grid.tolist() == pytest.approx([0.3, 0.2, 0.1, 0.0])
    assert renoiser.evaluations == 3
    assert Renoiser(molecule_sampler, start=0.01).evaluations == 1


def test_with_next_to_no_noise_the_coordinates_hardly_move(
    tiny_model: MoleculeModel, molecule_sampler: MoleculeSampler
) -> None:
    """Only the preconditioning holds an untrained network to its input, so only small noise is a test."""
    renoiser = Renoiser(molecule_sampler)
    renoiser.grid = torch.tensor([0.001, 0.0], dtype=torch.float64)
    sigma = float(tiny_model.schedule.levels(renoiser.grid[:1]).sigma)
    again = renoiser.attempt([RawSample(0, METHANE, -1)], 1)[0].arrays
    assert again is not None
    assert np.abs(again.pos - METHANE.pos).max() < 6 * sigma


@pytest.mark.parametrize("mates", [0, 3, 9])
def test_an_attempt_does_not_depend_on_its_batch(molecule_sampler: MoleculeSampler, mates: int) -> None:
    renoiser = Renoiser(molecule_sampler)
    others = [RawSample(100 + k, METHYL, -1) for k in range(mates)]
    alone = renoiser.attempt([RawSample(7, METHANE, -1)], 1)[7]
    together = renoiser.attempt([*others, RawSample(7, METHANE, -1)], 1)
    assert together.keys() == {7, *(draw.number for draw in others)}
    assert same(alone.arrays, together[7].arrays)


def test_attempts_draws_and_seeds_differ(tiny_model: MoleculeModel, molecule_sampler: MoleculeSampler) -> None:
    first = Renoiser(molecule_sampler).attempt([RawSample(7, METHANE, -1)], 1)[7].arrays
    assert not same(first, Renoiser(molecule_sampler).attempt([RawSample(7, METHANE, -1)], 2)[7].arrays)
    assert not same(first, Renoiser(molecule_sampler).attempt([RawSample(8, METHANE, -1)], 1)[8].arrays)
    other_seed = Renoiser(MoleculeSampler(tiny_model, SOLVERS["ddpm"], 10, 1))
    assert not same(first, other_seed.attempt([RawSample(7, METHANE, -1)], 1)[7].arrays)


def test_predictions_are_handed_on(tiny_model: MoleculeModel) -> None:
    molecule_sampler = MoleculeSampler(tiny_model, SOLVERS["ddpm"], 4, 0, keep_predictions=True)
    new = Renoiser(molecule_sampler).attempt([RawSample(7, METHANE, -1)], 1)[7]
    assert new.log_probabilities is not None
    assert new.arrays is not None
    assert np.array_equal(new.log_probabilities.atom_type.argmax(-1), new.arrays.atom_type)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw 0 is methane, 1 a radical that turns into methane at the third attempt, 2 never finite, 3 always a radical.

    An attempt that fails anew gives a radical with one hydrogen less.
    """

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        for number in range(first, first + count):
            yield RawSample(number, (METHANE, METHYL, None, METHYL)[number % 4], 5 if number % 4 == 2 else -1)

    def attempt(self: Renoiser, draws: list[RawSample], number: int) -> dict[int, RawSample]:
        worse = MolArrays(METHYL.pos[:3], METHYL.atom_type[:3], METHYL.charge[:3], METHYL.bonds[:2])
        assert all(draw.number % 4 for draw in draws)
        return {
            draw.number: replace(draw, arrays=METHANE if (draw.number, number) == (1, LATE) else worse)
            for draw in draws
            if draw.arrays is not None
        }

    monkeypatch.setattr(MoleculeSampler, "draw", draw)
    monkeypatch.setattr(Renoiser, "attempt", attempt)


@pytest.mark.parametrize("attempts", [0, 2, 3, 4])
def test_only_what_is_not_valid_is_tried_again_and_only_so_often(
    scripted: None, tiny_model: MoleculeModel, molecule_sampler: MoleculeSampler, attempts: int
) -> None:
    draws = list(molecule_sampler.draw(0, 4))
    settled = list(Renoiser(molecule_sampler).settle(draws, ArgmaxDecoder(tiny_model.vocabulary), attempts))
    assert [outcome.number for outcome in settled] == [0, 1, 2, 3]
    found = [outcome.status for outcome in settled]
    assert found == ["valid", "valid" if attempts >= LATE else "invalid", "failed", "invalid"]
    assert [outcome.renoised for outcome in settled] == [0, min(attempts, LATE), 0, attempts]
    assert settled[3].mol is not None
    assert settled[3].mol.GetNumAtoms() == 4  # the draw's own outcome stands


def test_attempts_are_counted_and_paid_for(scripted: None, model: Path, tmp_path: Path) -> None:
    summary = generate_files(tmp_path / "m.sdf", n=4, model=str(model), evaluations=10, grid="uniform", renoise=4)
    assert nonzero(summary.counts) == {"valid": 2, "invalid": 1, "failed": 1}
    assert summary.results.renoised == {"draws": 2, "attempts": 7, "valid": 1}
    assert "1 of the valid by re-noising 2 failed ones" in summary.line()
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert [row["renoised"] for row in rows] == ["0", "3", "0", "4"]
    assert [int(row["evaluations"]) for row in rows] == [10, 10 + 3 * 5, 10, 10 + 4 * 5]
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert record["network_evaluations_per_molecule"] == pytest.approx((4 * 10 + 7 * 5) / 4)
    assert record["renoised"] == summary.results.renoised
    assert record["options"]["renoise"] == 4


@pytest.mark.parametrize("renoise", [-1, MAX_ATTEMPTS + 1])
def test_too_many_attempts_are_refused(model: Path, tmp_path: Path, renoise: int) -> None:
    with pytest.raises(MoldiffError, match=f"renoise must be in 0 .. {MAX_ATTEMPTS}, not {renoise}"):
        generate_files(tmp_path / "m.sdf", n=1, model=str(model), renoise=renoise)
