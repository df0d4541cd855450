"""Molecules that the benchmark of fragments cuts."""

from pathlib import Path

from script import load_script

from moldiff.chem.identity import canonical_smiles
from moldiff.datasets.prepared import PreparedDataset

fragments = load_script("benchmarks/fragments")


def test_which_molecules_are_cut_follows_the_seed(sample: PreparedDataset) -> None:
    def smiles(seed: int) -> list[str]:
        return [canonical_smiles(cut.mol, stereo=True) for cut in fragments.cuts(sample, fragments.GROW, 4, seed)]

    assert len(smiles(0)) == 4
    assert smiles(0) == smiles(0)
    assert smiles(0) != smiles(1)


def test_a_cut_keeps_the_larger_side_and_draws_the_rest_anew(sample: PreparedDataset) -> None:
    for cut in fragments.cuts(sample, fragments.GROW, 5, 0):
        heavy = [atom.GetAtomicNum() > 1 for atom in cut.mol.GetAtoms()]
        kept = sum(heavy[atom] for atom in cut.kept)
        assert kept >= sum(heavy) - kept >= 2
        assert len(cut.kept) + cut.new == cut.mol.GetNumAtoms()


def test_a_cut_none_of_whose_draws_is_valid_counts_as_none(tmp_path: Path, sample: PreparedDataset) -> None:
    out = tmp_path / "growing.sdf"
    out.touch()
    out.with_suffix(".csv").write_text("status,smiles,evaluations\ninvalid,,50\ninvalid,,50\n", encoding="utf-8")
    tally = fragments.Tally()
    tally.take(out, next(fragments.cuts(sample, fragments.GROW, 1, 0)))
    assert (tally.shares, tally.valid, tally.same) == ([0.0], 0, 0)
