"""Re-noising: who gets another attempt, what it depends on, and that attempts are counted and paid for."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from generating import generate_files, nonzero
from methane import METHANE, METHYL

from moldiff.arrays import MolArrays, RawSample
from moldiff.errors import MoldiffError
from moldiff.generation.decoding.decoders import ArgmaxDecoder
from moldiff.generation.molecule_result import assess_all
from moldiff.generation.renoise import MAX_ATTEMPTS, Renoiser, settled_by
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.partial_walks import PartialWalks
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


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw 0 is methane, 1 a radical that turns into methane at the third attempt, 2 never finite, 3 always a radical.

    An attempt that fails anew gives a radical with one hydrogen less.
    """

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        for number in range(first, first + count):
            yield RawSample(number, (METHANE, METHYL, None, METHYL)[number % 4], 5 if number % 4 == 2 else -1)

    def run(self: PartialWalks, draws: list[RawSample], walk: int) -> Iterator[RawSample]:
        worse = MolArrays(METHYL.pos[:3], METHYL.atom_type[:3], METHYL.charge[:3], METHYL.bonds[:2])
        assert all(draw.number % 4 for draw in draws)
        for draw in draws:
            if draw.arrays is not None:
                yield replace(draw, arrays=METHANE if (draw.number, walk) == (1, LATE) else worse)

    monkeypatch.setattr(MoleculeSampler, "draw", draw)
    monkeypatch.setattr(PartialWalks, "run", run)


@pytest.mark.parametrize("attempts", [0, 2, 3, 4])
def test_only_what_is_not_valid_is_tried_again_and_only_so_often(
    scripted: None, tiny_model: MoleculeModel, molecule_sampler: MoleculeSampler, attempts: int
) -> None:
    draws = list(molecule_sampler.draw(0, 4))
    judge = partial(assess_all, decoder=ArgmaxDecoder(tiny_model.vocabulary))
    settled = [one.result for one in Renoiser(molecule_sampler, judge).settle(settled_by(judge, draws), attempts)]
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
