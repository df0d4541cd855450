"""Molecules that RDKit sanitises and that are none."""

import pytest

from moldiff.chem.io.records import parse
from moldiff.chem.io.text_records import TextRecord


@pytest.mark.parametrize(("order", "reason"), [(0, "bond type"), (4, "kekulize"), (5, "bond type"), (8, "bond type")])
@pytest.mark.parametrize("end", ["C", "H"])
def test_a_bond_without_an_order_is_not_given_one(order: int, reason: str, end: str) -> None:
    """Query bonds, and aromatic ones outside rings: RDKit sanitises them, and takes one to a hydrogen for a bond."""
    block = (
        "query\n  test    3D\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n"
        "    0.0000    0.0000    0.3000 C   0  0\n"
        f"    1.2000    0.0000    0.0000 {end}   0  0\n  1  2  {order}  0\nM  END\n"
    )
    record = parse(TextRecord(0, "sdf", "query", block))
    assert record.mol is None
    assert record.reason.startswith(reason)
    whole = parse(TextRecord(0, "sdf", "query", block.replace(f"  1  2  {order}", "  1  2  1")))
    assert whole.mol is not None


@pytest.mark.parametrize("smiles", ["CC~C", "CC:C"])
def test_a_smiles_with_a_bond_without_an_order_is_refused(smiles: str) -> None:
    record = parse(TextRecord(0, "smiles", "", smiles))
    assert record.mol is None
    assert record.reason.startswith(("bond type", "kekulize"))
    assert parse(TextRecord(0, "smiles", "", "c1ccccc1-c1ccccc1")).mol is not None
    assert parse(TextRecord(0, "smiles", "", "C1:C:C:C:C:C1")).mol is not None
