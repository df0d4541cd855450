"""Which draws become labels: as usual as the data, and made of the same parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from moldiff.chem.descriptors.rarity import RarityTables
from moldiff.chem.io.records import read_records
from moldiff.errors import MoldiffError
from moldiff.training.on_policy.labels import Traits, _features, label_log_weights
from moldiff.training.on_policy.reweight import log_weights

DRUGS = Path(__file__).parents[2] / "fixtures" / "drugs.sdf"


@pytest.fixture(scope="module")
def drugs() -> list[Chem.Mol]:
    return [record.mol for record in read_records(DRUGS) if record.mol is not None]


def population(rings: list[float], bonds: list[float], heads: list[bool]) -> list[Traits]:
    return [
        Traits({"head": 1} if head else {}, ring, bond) for ring, bond, head in zip(rings, bonds, heads, strict=True)
    ]


def of(generator: np.random.Generator, number: int, unseen: float, head: float) -> list[Traits]:
    """Molecules of which a share has a ring that nobody knows; the others' counts are spread."""
    known = generator.uniform(size=number) >= unseen
    return population(
        np.where(known, generator.integers(1, 1000, number), 0).tolist(),
        np.where(known, generator.uniform(0.3, 1.0, number), 0.0).tolist(),
        (generator.uniform(size=number) < head).tolist(),
    )


def share(draws: list[Traits], weights: np.ndarray, what: str) -> float:
    holds = [one.ring == 0 if what == "unseen" else bool(one.motifs) for one in draws]
    return float(np.average(holds, weights=np.exp(weights)))


@pytest.fixture(scope="module")
def both() -> tuple[list[Traits], list[Traits]]:
    generator = np.random.default_rng(0)
    return of(generator, 1500, 0.4, 0.2), of(generator, 3000, 0.05, 0.3)


def test_draws_become_as_usual_and_as_made_as_the_data(both: tuple[list[Traits], list[Traits]]) -> None:
    draws, data = both
    weights = label_log_weights(draws, data, known=1.0)
    assert np.exp(weights).sum() == pytest.approx(len(draws))
    wanted, found = share(data, np.zeros(len(data)), "unseen"), share(draws, weights, "unseen")
    assert 0.4 > 0.15 > found > wanted, "rarer by far, and still there"
    assert share(draws, weights, "head") == pytest.approx(0.3, abs=0.04)


def test_a_share_of_the_labels_is_merely_sound(both: tuple[list[Traits], list[Traits]]) -> None:
    draws, data = both
    none, half, all_ = (label_log_weights(draws, data, known=known) for known in (0.0, 0.5, 1.0))
    unseen = [share(draws, weights, "unseen") for weights in (none, half, all_)]
    assert unseen[0] == pytest.approx(0.4, abs=0.03), "rarity plays no part"
    assert unseen[1] == pytest.approx((unseen[0] + unseen[2]) / 2, abs=0.01)
    assert share(draws, half, "head") == pytest.approx(0.3, abs=0.04), "either part has the data's proportions"
    expected = log_weights([one.motifs for one in draws], [one.motifs for one in data])
    np.testing.assert_allclose(none, expected)


def test_rarity_without_motifs_and_motifs_at_half_strength(both: tuple[list[Traits], list[Traits]]) -> None:
    draws, data = both
    alone = label_log_weights(draws, data, strength=0.0, known=1.0)
    assert share(draws, alone, "head") == pytest.approx(share(draws, np.zeros(len(draws)), "head"), abs=0.02)
    assert share(draws, alone, "unseen") < 0.15
    np.testing.assert_allclose(label_log_weights(draws, data, strength=0.0), 0.0, atol=1e-12)
    whole, half = (label_log_weights(draws, data, strength=strength) for strength in (1.0, 0.5))
    assert np.ptp(whole) > 0.3
    assert np.ptp(half - 0.5 * whole) < 1e-9, "weights to the power of the strength"


def test_no_draw_is_forbidden_by_a_count() -> None:
    generator = np.random.default_rng(1)
    draws = population([0.0] * 300, [0.0] * 300, [True, False] * 150)
    weights = label_log_weights(draws, of(generator, 500, 0.02, 0.5), known=1.0)
    assert np.ptp(weights) < 0.1, "where all are unknown, all stay"


def test_a_training_molecule_is_no_witness_of_itself(drugs: list[Chem.Mol]) -> None:
    tables = RarityTables.of(drugs)
    for drug in drugs[:15]:
        own, others = (Traits.of(drug, tables, counted=counted) for counted in (False, True))
        assert own.motifs == others.motifs
        assert others.ring == own.ring - 1 or (own.ring == len(drugs) and others.ring == len(drugs) - 1)
        without = RarityTables.of([one for one in drugs if one is not drug])
        assert others == Traits.of(drug, without)
    assert Traits.of(drugs[0]).ring == 0.0


@pytest.mark.parametrize("known", [0.0, 0.5])
def test_nothing_to_weigh_is_an_error(known: float) -> None:
    with pytest.raises(MoldiffError, match="there are none"):
        label_log_weights([], [Traits({"a": 1})], known=known)
    with pytest.raises(MoldiffError, match="there are none"):
        label_log_weights([Traits({"a": 1})], [], known=known)


def test_a_level_holds_what_lies_at_its_end() -> None:
    """Ends are often 0: that is the level of what nobody has seen."""
    ends = [np.array([0.0, 5.0]), np.array([0.0])]
    unseen, rare = (_features(Traits({"a": 1}, ring, 0.5), ends, False) for ring in (0.0, 5.0))
    assert dict(unseen) == {"rarity of its ring: level 0": 1, "rarity of its ring: level 1": 1}
    assert dict(rare) == {"rarity of its ring: level 1": 1}
    assert _features(Traits({"a": 2}, 9.0, 0.5), ends, True) == {"a": 2}
