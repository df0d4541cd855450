"""GFN2-xTB single points against reference values (xtb's own conventions; geometries of QM9, values by tblite)."""

import pytest
from rdkit import Chem

from moldiff.chem.descriptors import xtb
from moldiff.chem.descriptors.xtb import GFN2_PROPERTIES, gfn2_properties

pytest.importorskip("tblite")

WATER = """water
     RDKit          3D

  3  2  0  0  0  0  0  0  0  0999 V2000
   -0.0344    0.9775    0.0076 O   0  0
    0.0648    0.0206    0.0015 H   0  0
    0.8718    1.3008    0.0007 H   0  0
  2  1  1  0
  3  1  1  0
M  END
"""


def test_water() -> None:
    values = gfn2_properties(Chem.MolFromMolBlock(WATER, removeHs=False))
    assert tuple(values) == GFN2_PROPERTIES
    assert values["gfn2_homo_eV"] == pytest.approx(-12.1780, abs=2e-3)
    assert values["gfn2_lumo_eV"] == pytest.approx(2.3017, abs=2e-3)
    assert values["gfn2_gap_eV"] == pytest.approx(14.4798, abs=2e-3)
    assert values["gfn2_dipole_D"] == pytest.approx(2.2887, abs=1e-3)
    assert values["gfn2_energy_Eh"] == pytest.approx(-5.070280, abs=1e-5)


def test_atoms_on_top_of_each_other_have_no_values() -> None:
    mol = Chem.MolFromMolBlock(WATER, removeHs=False)
    mol.GetConformer().SetAtomPosition(1, mol.GetConformer().GetAtomPosition(0))
    assert gfn2_properties(mol) == {}


def test_a_single_point_computes_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    from tblite.interface import Calculator
    from threadpoolctl import threadpool_info, threadpool_limits

    seen: list[set[int]] = []
    single_point = Calculator.singlepoint

    def watched(self: Calculator) -> object:
        seen.append({pool["num_threads"] for pool in threadpool_info()})
        return single_point(self)

    monkeypatch.setattr(Calculator, "singlepoint", watched)
    xtb._thread_pools.cache_clear()  # other tests may have loaded more libraries since
    with threadpool_limits(3):
        gfn2_properties(Chem.MolFromMolBlock(WATER, removeHs=False))
        assert any(pool["num_threads"] == 3 for pool in threadpool_info()), "given back afterwards"
    assert seen == [{1}]
