"""Libraries of chemistry leave the logs of RDKit, their handler and the filters of warnings to the program."""

import importlib.util
import io
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import rdkit
from rdkit import Chem, RDLogger, rdBase
from rdkit.Chem import rdDistGeom

from moldiff.chem.filters.checks import Subject, examine
from moldiff.chem.filters.criteria import Criteria
from moldiff.chem.filters.geometry_measures import _checker, failed_checks
from moldiff.chem.libraries import load, unswitched

REPOSITORY = Path(__file__).parents[2]
CHANNELS = ("rdApp.debug", "rdApp.info", "rdApp.warning", "rdApp.error")


def switched_on() -> set[str]:
    return {line.split(":")[0] for line in rdBase.LogStatus().split() if line.endswith(":enabled")}


def switch(on: set[str]) -> None:
    for name in CHANNELS:
        (RDLogger.EnableLog if name in on else RDLogger.DisableLog)(name)


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    before, stream = switched_on(), rdkit.log_handler.stream
    yield
    switch(before)
    rdkit.log_handler.setStream(stream)


def placed(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    return mol


@pytest.mark.parametrize("on", [set(), {"rdApp.error"}, {"rdApp.info", "rdApp.warning"}, set(CHANNELS)])
def test_posebusters_leaves_the_channels_and_the_handler(on: set[str]) -> None:
    mol, (check,), stream = placed("C1CC1"), Criteria.of(where="posebusters<9").checks(), io.StringIO()
    switch(on)
    rdkit.log_handler.setStream(stream)
    assert failed_checks(mol) == ()
    assert switched_on() == on
    assert examine(Subject(mol), [check]).results[0].passed
    assert switched_on() == on
    assert rdkit.log_handler.stream is stream


def test_so_it_does_where_it_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    _checker()
    from posebusters.modules import sanity

    monkeypatch.setattr(sanity, "DetectChemistryProblems", lambda *_, **__: 1 / 0)
    switch({"rdApp.error"})
    with pytest.raises(ZeroDivisionError):
        failed_checks(placed("CCC"))
    assert switched_on() == {"rdApp.error"}


def test_what_it_says_meanwhile_is_not_heard(capfd: pytest.CaptureFixture[str]) -> None:
    switch(set(CHANNELS))
    failed_checks(placed("CC(F)C1CC1"))
    assert capfd.readouterr() == ("", "")


def test_a_program_that_uses_it_itself_has_it_as_it_is() -> None:
    _checker()
    from posebusters import check_chemistry_using_rdkit

    switch(set())
    heard: list[set[str]] = []

    def theirs() -> None:
        check_chemistry_using_rdkit(placed("CO"))
        heard.append(switched_on())

    with unswitched():
        thread = threading.Thread(target=theirs)
        thread.start()
        thread.join()
    assert heard == [set(CHANNELS)]


def test_their_import_leaves_everything() -> None:
    """Also within blocked logs, where they are loaded."""
    script = """
        import sys, warnings
        import pandas, scipy.optimize  # have filters for warnings of their own
        import rdkit
        from rdkit import Chem, rdBase
        from moldiff.chem.libraries import load
        def state():
            handlers = [(one, one.level, one.formatter) for one in rdkit.logger.handlers]
            return rdBase.LogStatus(), handlers, rdBase.LogToPythonLogger
        warnings.filterwarnings("default", category=DeprecationWarning)
        warnings.filterwarnings("error", category=DeprecationWarning, module="mine")
        before, filters = state(), list(warnings.filters)
        for package in sys.argv[1:]:
            with rdBase.BlockLogs():
                load(package)
            assert package in sys.modules
            assert state() == before, state()
            assert warnings.filters[-len(filters):] == filters, warnings.filters
        rdkit.logger.removeHandler(rdkit.log_handler)
        Chem.MolFromSmiles("C(")
    """
    packages = [name for name in ("posebusters", "meeko") if importlib.util.find_spec(name) is not None]
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *packages],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert ended.returncode == 0, ended.stderr
    assert "SMILES Parse Error" in ended.stderr, "RDKit says it by itself, not by a handler of Python's"


def test_a_library_as_careless_as_meeko(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts on a handler, which a program may have taken away; filters for its own warnings stay."""
    (tmp_path / "careless.py").write_text(
        textwrap.dedent("""
            import logging, warnings
            from rdkit import rdBase
            class Careless(Warning): ...
            logging.getLogger("rdkit").handlers[0].setLevel("ERROR")
            warnings.filterwarnings("ignore", category=Careless)
            warnings.filterwarnings("always", category=FutureWarning)
            rdBase.LogToPythonLogger()
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "careless", raising=False)
    monkeypatch.setattr(rdkit.logger, "handlers", [])
    switch({"rdApp.debug", "rdApp.error"})
    with warnings.catch_warnings():
        before = list(warnings.filters)
        load("careless")
        added = [one[2].__name__ for one in warnings.filters[: -len(before)]]
        assert warnings.filters[-len(before) :] == before
    assert (added, rdkit.logger.handlers) == (["Careless"], [])
    assert switched_on() == {"rdApp.debug", "rdApp.error"}
