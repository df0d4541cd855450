"""A chain of checks: its key, and what an earlier one tells about another."""

from pathlib import Path
from typing import Any

import pytest

from moldiff.chem.filters.checks import by_cost
from moldiff.screening.entries import library_of
from moldiff.screening.filter_run import FilterRun
from moldiff.screening.runs.chain import Chain, Earlier
from moldiff.screening.runs.options import screen_options
from moldiff.screening.runs.shards import ShardTables

SMILES = "CCO\nnot_a_smiles\nCCCCCCCCCCCC\nc1ccccc1O\nO=[N+]([O-])c1ccccc1\nC(C)(C)(C)(C)C\n"


def chain(**words: Any) -> Chain:
    return Chain.of(screen_options(words).filter_options())


def test_the_key_is_that_of_all_that_decides_about_rows() -> None:
    plain = chain(where=["mw<200"])
    assert plain.key == chain(where=["mw<200"], top=3, ranked=7, shard_size=5, dedup=False).key
    assert plain == Chain.from_record(plain.record())
    others = [
        chain(where=["mw<201"]),
        chain(where=["mw<=200"]),
        chain(where=["mw<200"], alerts=["pains"]),
        chain(where=["mw<200"], rank=["qed"]),
        chain(where=["mw<200"], seed=1),
        chain(where=["mw<200"], all_checks=True),
        chain(where=["mw<200"], standardise=True),
    ]
    assert len({one.key for one in [plain, *others]}) == 8


def test_a_function_is_asked_again_when_its_file_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def atoms(mols):\n    return [mol.GetNumAtoms() for mol in mols]\n")
    before = chain(where=[f"{file}:atoms>5"])
    assert before == chain(where=[f"{file}:atoms>5"])
    file.write_text("def atoms(mols):\n    return [2 * mol.GetNumAtoms() for mol in mols]\n")
    assert before.shared(chain(where=[f"{file}:atoms>5"])) == {"inchikey"}


@pytest.mark.parametrize(
    "later",
    [
        {"where": ["mw<100"], "alerts": ["brenk"]},
        {"where": ["mw<200"], "alerts": ["brenk"], "rank": ["qed"]},
        {"where": ["mw<200", "logp<1"], "alerts": ["brenk", "pains"]},
        {"where": ["mw<200", "mw>20"], "alerts": ["brenk"]},
        {"alerts": ["brenk"]},
        {"where": ["mw<200"], "alerts": ["brenk"], "all_checks": True},
        {"where": ["tpsa<10"]},
    ],
)
def test_what_is_told_by_an_earlier_chain_is_what_would_be_found(later: dict[str, Any], tmp_path: Path) -> None:
    library = tmp_path / "library.smi"
    library.write_text(SMILES)
    earlier, wanted = ({"where": ["mw<200"], "alerts": ["brenk"]}, later)
    options = [screen_options(words).filter_options() for words in (earlier, wanted)]
    rows = [list(FilterRun(library_of([library]), one).rows()) for one in options]
    findings = Earlier(Chain.of(options[0]), Chain.of(options[1]))
    work = options[1].work(by_cost(options[1].checks()))
    settled = [findings.settled(row) for row in rows[0]]
    assert settled[1] is not None, "what is no molecule is none for any check"
    for entry, before, told, found in zip(library_of([library]), rows[0], settled, rows[1], strict=True):
        if told is not None:
            assert told == found
        known = findings.known(before)
        assert set(known) <= findings.chain.shared(findings.wanted)
        asked_anew = work.row(type(entry)(entry.number, entry.file, entry.text, known=known))
        assert asked_anew == found


def test_rows_come_back_from_a_shard_as_they_were(tmp_path: Path) -> None:
    library = tmp_path / "library.smi"
    library.write_text(SMILES)
    options = screen_options({"where": ["mw<140.123456789"], "alerts": ["brenk"]}).filter_options()
    tables = ShardTables.opened(tmp_path / "rows", Chain.of(options))
    rows = options.work(options.checks())(library_of([library]))
    tables.write(0, rows)
    assert tables.read(0) == rows
    assert tables.numbers() == {0}
