"""How checks are got ready before the first molecule, and that a user's code is not run for it."""

import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

import moldiff
from moldiff.chem.filters import alerts, geometry_measures
from moldiff.chem.filters.checks import CheckResult, Subject
from moldiff.chem.filters.criteria import Criteria
from moldiff.chem.filters.measures import _function
from moldiff.chem.filters.preparation import ethanol, prepare
from moldiff.choices import AlertFamily

SLOW = """
import time
from pathlib import Path
from rdkit.Chem import MolToSmiles
time.sleep(2.5)
def f(molecules):
    with Path(__file__).with_name("seen").open("a") as handle:
        handle.writelines(f"{MolToSmiles(mol)}\\n" for mol in molecules)
    if molecules[0].GetNumAtoms() == 3:
        time.sleep(60)
    return [float(mol.GetNumAtoms()) for mol in molecules]
"""


def test_catalogues_and_libraries_are_built_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    alerts._screen.cache_clear()
    geometry_measures._checker.cache_clear()
    criteria = Criteria.of(where=["posebusters<1", "sa<3"], alerts="pains", smarts={"acid": "C(=O)[OH]"})
    prepare(criteria.checks(), ethanol(0))
    assert alerts._screen.cache_info().currsize == geometry_measures._checker.cache_info().currsize == 1
    assert alerts._screen(AlertFamily.PAINS) is alerts._screen(AlertFamily.PAINS)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_check_that_breaks_on_the_way_leaves_the_others_ready() -> None:
    asked = []

    @dataclass(frozen=True)
    class Broken:
        name = "broken"
        cost = 1.0
        is_text = False

        def __call__(self, subject: Subject) -> CheckResult:
            asked.append(subject.mol.GetNumAtoms())
            raise RuntimeError("no licence")

    prepare([Broken(), Broken()], ethanol(3))
    assert asked == [3, 3]


@pytest.mark.parametrize("screens", [False, True])
def test_the_import_of_a_users_module_costs_no_molecule(
    screens: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer than a molecule may; nor does it when the one that hung has cost a worker. The function itself is
    called with molecules of the user alone."""
    monkeypatch.chdir(tmp_path)
    Path("slow.py").write_text(SLOW)
    _function.cache_clear()
    chain = ["C", "CC", "CCC", "CCCC", "CCCCC"]
    if screens:
        Path("chain.smi").write_text("\n".join(chain))
        table = moldiff.screen("chain.smi", "run", where="slow.py:f<9", workers=2, timeout_s=2.0).records
    else:
        table = moldiff.filter(chain, where="slow.py:f<9", workers=2, timeout_s=2.0).table
    assert list(table["status"]) == ["valid", "valid", "failed", "valid", "valid"], table["reason"]
    assert set(Path("seen").read_text().split()) == {"C", "CC", "CCC", "CCCC", "CCCCC"}
