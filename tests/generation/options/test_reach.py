"""Reach of targets: warnings before the work, and properties that can be wanted because they can be measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import moldiff
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.datasets.statistics import PropertyStatistics
from moldiff.errors import MoldiffError
from moldiff.evaluation.distributions import summarise
from moldiff.generation.options.reach import measured_statistics, tell_reach
from moldiff.models.references import ConditionRows
from moldiff.scoring.targets import read_targets

LOGP = np.linspace(-2, 2, 401)  # standard deviation 1.16
KNOWN = {
    "logp": PropertyStatistics("1", 0.0, 1.16, -2.0, 2.0, -1.96, 1.96, 401),
    "tpsa": PropertyStatistics("angstrom^2", 50.0, 29.0, 0.0, 100.0, 1.0, 99.0, 401),
    "hbd": PropertyStatistics("1", 1.0, 1.0, 0.0, 4.0, 0.0, 3.0, 401),
}
ROWS = ConditionRows(("logp", "tpsa"), np.stack([np.full(401, 18.0), LOGP, 50 + 25 * LOGP], axis=1))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("logp=1", None),
        ("logp=2.2", None),  # the band begins at 1.91
        ("logp=4", "none of the training molecules lies near logp=4 (the nearest has logp 2)"),
        ("logp>1.975", "0.75% of the training molecules lie near logp>1.975 (the nearest has logp 1.98)"),
        (["logp=1", "tpsa=75"], None),
        (["logp=1", "tpsa=25"], "none of the training molecules lies near logp=1 and tpsa=25 (the nearest has logp"),
        ("hbd=2", None),
        ("hbd>3.5", "target hbd>3.5 lies outside the 1 to 99 % range of known molecules, 0 to 3"),
        ("hbd>3", "target hbd>3 lies outside the 1 to 99 % range"),
        ("hbd>=3", None),
        ("logp>=2", "0.25% of the training molecules lie near logp>=2"),
        ("logp>2", "none of the training molecules lies near logp>2 (the nearest has logp 2)"),
        ("hbd=-1", "target hbd=-1 lies outside the 1 to 99 % range"),
    ],
)
def test_what_lies_out_of_reach_is_said_before_the_work(
    texts: str | list[str], message: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    tell_reach(read_targets(texts), ["logp", "tpsa"], KNOWN, ROWS)
    assert message is None or message in caplog.text
    assert len(caplog.records) == (message is not None)


def test_a_model_without_a_table_is_asked_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    tell_reach(read_targets("logp=40"), ["logp", "tpsa"], KNOWN, None)
    assert not caplog.records


def bytes_of(properties: dict[str, np.ndarray]) -> torch.Tensor:
    entries = {name: summarise(values).to_json(4) for name, values in properties.items()}
    return torch.frombuffer(bytearray(json.dumps({"properties": entries}).encode()), dtype=torch.uint8)


def test_statistics_of_what_is_measured_come_from_held_out_molecules() -> None:
    found = measured_statistics({"reference_json": bytes_of({"sa": LOGP + 3, "gfn2_gap_eV": LOGP})}, "model")
    assert [name for name, row in found.items() if row.known] == ["sa"], "the other is not in the table of properties"
    assert "gfn2_gap_eV" not in found
    assert (found["sa"].mean, found["sa"].std) == (pytest.approx(3), pytest.approx(LOGP.std(), abs=1e-3))
    assert found["sa"].q01 == pytest.approx(np.quantile(LOGP + 3, 0.01), abs=0.02)


def test_what_nobody_took_down_can_be_wanted_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    found = measured_statistics({}, "model")
    assert list(found) == list(PROPERTIES)
    assert {row.known for row in found.values()} == {0}
    assert (found["stereocentres"].std, found["molar_refractivity"].std) == (1, 5)
    tell_reach(read_targets(["stereocentres=40", "formal_charge=-3"]), [], found, None)
    assert not caplog.records, "there is nothing to tell"


@pytest.mark.parametrize("target", ["stereocentres=0", "aromatic_rings=1", "formal_charge=0", "molar_refractivity<40"])
def test_every_property_of_the_table_is_met_by_moves(target: str) -> None:
    name = target.rstrip("0123456789").rstrip("=<")
    result = moldiff.generate(4, model="qm9_fast", targets=target, target_moves=4)
    assert result.table[name].notna().any()
    with pytest.raises(MoldiffError, match=f"target {name}: the model was never told of it"):
        moldiff.generate(1, model="qm9_fast", targets=target, target_method="condition")


def test_a_property_that_the_model_does_not_know_is_wanted_where_measured_values_decide(tmp_path: Path) -> None:
    """The built-in model of QM9 was not trained with the number of rings."""
    result = moldiff.generate(4, model="qm9", n_atoms=12, targets="rings=2", evaluations=8, target_moves=1)
    assert set(result.table["target_rings"]) == {2.0}
    with pytest.raises(MoldiffError, match="target rings: the model was never told of it"):
        moldiff.generate(1, model="qm9", targets="rings=2", target_method="condition")
