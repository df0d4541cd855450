"""Numbers that conditions can be put on: geometry, references, functions, commands."""

import math
import os
import pickle
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from rdkit import Chem

import moldiff
from moldiff.chem.descriptors.xtb import gfn2_properties
from moldiff.chem.filters.checks import Check, CheckResult, Measure, Subject, examine
from moldiff.chem.filters.commands import TAIL, command_measures, parse_commands
from moldiff.chem.filters.criteria import Criteria
from moldiff.chem.filters.geometry_measures import failed_checks
from moldiff.chem.filters.measures import MeasureCheck, measure_named
from moldiff.chem.filters.reference_measures import known_check, overlays_on, similarity_to
from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import read_records
from moldiff.chem.isomers import isomers, placed
from moldiff.chem.relax import relax
from moldiff.choices import EnergyMethod
from moldiff.errors import MoldiffError
from moldiff.extras import XTB

DRUGS = Path(__file__).parents[2] / "fixtures" / "drugs.sdf"
EXAMPLE = Path(__file__).parents[3] / "scripts" / "example_score.py"


def subject(smiles: str) -> Subject:
    return Subject(Chem.MolFromSmiles(smiles))


def drug() -> Chem.Mol:
    return next(record.mol for record in read_records(DRUGS))


def asked(check: Check, one: Subject) -> CheckResult:
    (result,) = examine(one, [check]).results
    return result


def test_posebusters_counts_and_names_what_fails() -> None:
    mol = drug()
    good = measure_named("posebusters")(Subject(mol))
    assert (good.value, good.detail) == (0.0, "")
    bad = Chem.Mol(mol)
    conformer = bad.GetConformer()
    for atom in range(bad.GetNumAtoms()):
        conformer.SetAtomPosition(atom, 0.6 * conformer.GetPositions()[atom])
    found = measure_named("posebusters")(Subject(bad))
    assert found.value == len(failed_checks(bad)) > 0
    assert "bond_lengths" in found.detail
    (check,) = Criteria.of(where="posebusters=0").checks()
    assert asked(check, Subject(bad)).reason.startswith(f"posebusters: {found.value:g} (")


def test_strain_is_what_a_relaxation_sets_free() -> None:
    mol = drug()
    expected = relax(mol, EnergyMethod.MMFF94S).values["relaxed_by_kcal_mol"]
    assert measure_named("mmff_strain_kcal_mol")(Subject(mol)).value == expected > 0
    embedded = measure_named("mmff_strain_kcal_mol")(subject("CCO"))
    assert embedded.value == pytest.approx(0.0, abs=0.01)  # it was just relaxed
    unknown = measure_named("mmff_strain_kcal_mol")(subject("[U]"))
    assert math.isnan(unknown.value)
    assert "embedding" in unknown.detail


@pytest.mark.parametrize("smiles", ["CC(C)Cc1ccc(cc1)C(C)C(=O)O", "NCC(=O)OC1CCCC1", "CC#CC(C)(C)S"])
def test_hydrogens_that_a_record_leaves_out_make_no_strain(smiles: str) -> None:
    start, _ = embed(Chem.MolFromSmiles(smiles), seed=2, timeout_s=20)
    whole = relax(start, EnergyMethod.MMFF94S).mol
    bare = Chem.RemoveHs(whole)
    assert bare.GetNumAtoms() < whole.GetNumAtoms()
    assert measure_named("mmff_strain_kcal_mol")(Subject(whole)).value == pytest.approx(0.0, abs=0.05)
    assert measure_named("mmff_strain_kcal_mol")(Subject(bare)).value < 4.0  # a hydroxyl may point another way


@pytest.mark.skipif(not XTB.is_installed(), reason="tblite is not installed")
def test_gfn2_at_the_own_coordinates() -> None:
    mol = Chem.AddHs(placed(Chem.MolFromSmiles("CO"), 0, 10)[0])
    one = Subject(mol)
    found = {name: measure_named(name)(one).value for name in ("gfn2_gap_eV", "gfn2_dipole_D")}
    expected = gfn2_properties(mol)
    assert found == {name: expected[name] for name in found}
    assert measure_named("gfn2_strain_kcal_mol")(one).value > 0


def test_open_centres_get_the_isomer_of_the_lowest_energy() -> None:
    closed, two = Chem.MolFromSmiles("C[C@H](O)F"), Chem.MolFromSmiles("CC(O)C(F)C")
    assert [Chem.MolToSmiles(one) for one in isomers(closed)] == [Chem.MolToSmiles(closed)]
    names = [Chem.MolToSmiles(one) for one in isomers(two)]
    assert len(names) == 4 == len(set(names))
    assert len(isomers(two, 2)) == 2
    mol, reason = placed(two, 0, 10)
    assert (reason, mol is not None) == ("", True)
    assert Chem.MolToSmiles(Chem.RemoveHs(mol)) in names
    again, _ = placed(Chem.MolFromSmiles("CC(O)C(F)C"), 0, 10)
    assert (again.GetConformer().GetPositions() == mol.GetConformer().GetPositions()).all()  # type: ignore[union-attr]
    decalin = Chem.MolFromSmiles("C1CCC2CCCCC2C1")
    lowest, _ = placed(decalin, 0, 10)
    assert lowest is not None
    energies = {
        Chem.MolToSmiles(one): relax(embed(one, 0, 10)[0], EnergyMethod.MMFF94S).values["mmff94s_energy_kcal_mol"]
        for one in isomers(decalin)
    }
    assert len(energies) == 2
    assert max(energies.values()) - min(energies.values()) > 1  # cis and trans
    assert Chem.MolToSmiles(Chem.RemoveHs(lowest)) == min(energies, key=lambda name: energies[name])


def test_similarity_is_to_the_most_similar_reference() -> None:
    measure = similarity_to(["CCO", "c1ccccc1C(=O)O"])
    same = measure(subject("OC(=O)c1ccccc1"))
    assert (same.value, same.detail) == (1.0, "to O=C(O)c1ccccc1")
    assert 0 < measure(subject("Cc1ccccc1C(=O)O")).value < 1
    assert measure(Subject(Chem.AddHs(Chem.MolFromSmiles("CCO")))).value == 1.0
    criteria = Criteria.of(where="similarity>=0.3", similar_to=["CCO"])
    assert [check.name for check in criteria.checks()] == ["similarity"]
    assert criteria.record()["similar_to"] == ["CCO"]
    with pytest.raises(MoldiffError, match="'similarity' needs the argument similar_to"):
        Criteria.of(where="similarity>=0.3")
    with pytest.raises(MoldiffError, match="similar_to: record 1 cannot be read"):
        similarity_to(["CCO", "C(("])


def test_an_overlay_on_itself_is_perfect() -> None:
    mol = drug()
    shape, colour = overlays_on([mol])
    one = Subject(mol)
    assert shape(one).value == pytest.approx(1.0, abs=0.01)
    assert colour(one).value == pytest.approx(1.0, abs=0.01)
    other = subject("CCCCCCCC")
    assert 0 < shape(other).value < 0.9
    assert colour(other).value < 0.5
    flat, _ = overlays_on(["OC(=O)c1ccccc1"])
    assert flat(subject("OC(=O)c1ccccc1")).value == pytest.approx(1.0, abs=0.01)


def test_what_is_known_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "known.smi"
    path.write_text("CCO\nC((\nC[C@H](O)F\n")
    check = known_check(path)
    result = asked(check, subject("OCC"))
    assert (result.passed, result.reason) == (False, "known: in known.smi")
    assert asked(check, subject("CCN")).passed
    assert asked(check, subject("C[C@@H](O)F")).passed  # the other enantiomer is not
    assert Criteria.of(known=path).record()["known"]["molecules"] == 2  # type: ignore[index]
    with pytest.raises(MoldiffError, match="known: there is no molecule"):
        known_check(["C(("])


def test_a_users_function_is_a_number() -> None:
    name = f"{EXAMPLE}:primary_amine"
    (check,) = Criteria.of(where=f"{name}>0.5").checks()
    assert asked(check, subject("CCN")).passed
    failed = asked(check, subject("CCO"))
    assert (failed.value, failed.limit) == (0.0, ">0.5")
    with pytest.raises(MoldiffError, match="has no 'primary_amin'"):
        measure_named(f"{EXAMPLE}:primary_amin")


def command(code: str, timeout_s: float = 20.0, place: str = "{smiles}") -> Measure:
    (measure,) = command_measures({"mine": f"{sys.executable} -c '{code}' {place}"}, timeout_s)
    return measure


def test_a_command_prints_a_number_for_smiles_or_sdf() -> None:
    length = command('import sys; print("score:", len(sys.argv[1]), "of it")')
    assert length(subject("CCO")).value == 3.0
    atoms = command("import sys; print(open(sys.argv[1]).read().splitlines()[3][:3])", place="{sdf}")
    assert atoms(subject("CCO")).value == 9.0
    assert command('print("score 7.5 of run 2024_01")')(subject("CCO")).value == 7.5
    assert not list(Path.cwd().glob("molecule.sdf"))


def test_what_a_command_does_costs_one_number() -> None:
    fails = command('import sys; sys.exit("no such receptor")')(subject("CCO"))
    assert math.isnan(fails.value)
    assert (fails.detail, fails.broken) == ("exit status 1: no such receptor", True)
    nothing = command('print("nothing")')(subject("CCO"))
    assert (nothing.detail, nothing.broken) == ("it printed no number", False)
    slow = command("import time; time.sleep(60)", timeout_s=0.3)(subject("CCO"))
    assert (math.isnan(slow.value), slow.detail, slow.broken) == (True, "not done within 0.3 s", True)
    check = MeasureCheck(command("import sys; sys.exit(3)"))  # without a condition, which would not hold either
    found = asked(check, subject("CCO"))
    assert (found.passed, found.broken, found.reason) == (False, True, "mine: exit status 3: no message")
    # no shell reads a molecule
    assert command("print(1)", place="{smiles};false")(subject("CCO")).value == 1.0
    (missing,) = command_measures({"mine": "no_such_program_here {sdf}"}, 1.0)
    (check,) = Criteria.of(commands={"mine": "no_such_program_here {smiles}"}).checks()
    assert asked(check, subject("C")).broken
    with pytest.raises(FileNotFoundError):
        missing(subject("C"))


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ({"mine": "vina"}, r"with \{sdf\} or \{smiles\} in it"),
        ({"mine": "vina 'x {sdf}"}, "No closing quotation"),
        ({"mw": "vina {sdf}"}, "a property has that name"),
        ({"a<b": "vina {sdf}"}, "'a<b': the name of its number has a blank"),
        ({"a b": "vina {sdf}"}, "'a b': the name of its number has a blank"),
    ],
)
def test_commands_that_cannot_be(commands: dict[str, str], words: str) -> None:
    with pytest.raises(MoldiffError, match=words) as caught:
        Criteria.of(commands=commands)
    assert caught.value.argument == "commands"


def test_names_of_commands() -> None:
    assert parse_commands(["dock = vina --ligand={sdf}"]) == {"dock": "vina --ligand={sdf}"}
    with pytest.raises(MoldiffError, match="commands: two of the name 'a'"):
        parse_commands(["a=b {sdf}", "c=d {sdf}", "a = e {sdf}"])
    with pytest.raises(MoldiffError, match="expected NAME=COMMAND"):
        parse_commands(["vina {sdf}"])


def test_all_of_it_travels_to_workers() -> None:
    criteria = Criteria.of(
        where=["similarity>0.1", "shape>0.1", "posebusters=0", "mine<3"], similar_to=["CCO"], shape_of=["CCO"],
        known=["CCN"], commands={"mine": "program {sdf}"},
    )  # fmt: skip
    assert pickle.loads(pickle.dumps(criteria)) == criteria
    names = [check.name for check in criteria.checks()]
    assert names == ["similarity", "known", "shape", "colour", "posebusters", "mine"]


def test_commands_share_the_time_of_a_molecule() -> None:
    measures = command_measures(dict.fromkeys("abc", "program {sdf}"), 6.0)
    assert [measure.timeout_s for measure in measures] == [2.0] * 3


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_ends_with_the_run(number: signal.Signals, tmp_path: Path) -> None:
    """Also where nobody is left to end it."""
    (tmp_path / "one.smi").write_text("CCO a\n")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "slow.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path(__file__).with_name('pid').write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    program = f"{sys.executable} {tmp_path}/slow.py {{smiles}}"
    found = {"PYTHONPATH": str(Path(moldiff.__file__).parents[1]), "TMPDIR": str(tmp_path / "tmp")}
    words = ["filter", "one.smi", "-o", "a.csv", "--command", f"mine={program}", "--workers", "1"]
    run = subprocess.Popen(
        [sys.executable, "-m", "moldiff", *words], cwd=tmp_path, env={**os.environ, **found},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
        pid = (tmp_path / "pid").read_text()
        run.send_signal(number)
        run.wait(30)
        until(lambda: not Path(f"/proc/{pid}").exists(), 20)
        until(lambda: not list((tmp_path / "tmp").iterdir()), 20)
    finally:
        run.kill()
        run.wait()


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes there")
@pytest.mark.parametrize("code", ["echo 1", "echo 1; sleep 60", "true"])
def test_what_a_command_leaves_running_ends_with_it(code: str, tmp_path: Path) -> None:
    script = tmp_path / "wrapper.sh"
    script.write_text(f"sleep 612 > /dev/null & echo $! > {tmp_path}/pid\n{code}\n")
    (measure,) = command_measures({"mine": f"sh {script} {{smiles}}"}, 2.0)
    measure(subject("CCO"))
    pid = (tmp_path / "pid").read_text().strip()
    until(lambda: not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text(), 20)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes there")
def test_a_command_ends_before_its_worker_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would run on, in a folder that nobody removes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "slow.sh").write_text(f"echo $$ > {tmp_path}/pid; exec sleep 613\n")
    (tmp_path / "late.py").write_text("import time\n\n\ndef one(molecules):\n    time.sleep(6)\n    return [1]\n")
    asked = [f"{tmp_path}/late.py:one>0", "mine>0"]
    found = moldiff.filter(
        ["CCO"], where=asked, commands={"mine": f"sh {tmp_path}/slow.sh {{smiles}}"}, timeout_s=10.0, isolated=True
    )
    assert "not done within what was left of the molecule's time" in found.table["reason"][0]
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    assert not list(tmp_path.glob("moldiff-*"))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("yes 12345", "not done within 3 s"),
        ("yes 12345 >&2", "not done within 3 s"),
        ("yes 12345 & yes 6 >&2 & exec sleep 60", "not done within 3 s"),
        ("while :; do :; done", "not done within 3 s"),
        ("head -c 400000000 /dev/zero; echo; echo 7", 7.0),
        ("echo 3; yes words of no use | head -c 1000000", "it printed no number"),
        ("head -c 400000000 /dev/zero >&2; echo >&2; echo no luck >&2; exit 4", "exit status 4: no luck"),
        ("yes 12345678 | head -c 90000000", 12345678.0),
        ("exec >&- 2>&-; sleep 60", "not done within 3 s"),
    ],
)
def test_a_command_may_print_without_end(code: str, told: float | str, tmp_path: Path) -> None:
    """All of it would fill the memory of the worker, which would end late or not at all."""
    (tmp_path / "loud.sh").write_text(code + "\n")
    (measure,) = command_measures({"mine": f"sh {tmp_path}/loud.sh {{smiles}}"}, 3.0)
    tracemalloc.start()
    try:
        started = time.monotonic()
        found = measure(subject("CCO"))
        assert time.monotonic() - started < 6.0
        assert tracemalloc.get_traced_memory()[1] < 50 * TAIL
    finally:
        tracemalloc.stop()
    assert (found.value if isinstance(told, float) else found.detail) == told


def test_a_number_whose_beginning_is_forgotten_is_none() -> None:
    cut = command(f'print("2" * 9 + " x" * ({TAIL} // 2 - 2))')
    assert cut(subject("CCO")).detail == "it printed no number"
    whole = command(f'print("1" * 99, "2" * 9 + " x" * ({TAIL} // 2 - 20))')
    assert whole(subject("CCO")).value == 222222222.0


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("code", ["kill -9 $PPID", "kill -9 $PPID; exec sleep 3", "yes 1", "exec sleep 60", "exit 3"])
def test_nothing_of_a_command_is_left(code: str, tmp_path: Path) -> None:
    """Not even where it ends its own worker, or that is ended by its time limit (the function that will not stop)."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (tmp_path / "two.smi").write_text("CCO a\nCC b\n")
    (tmp_path / "odd.sh").write_text(f"echo begun >> {tmp_path}/log\n{code}\n")
    found = {"PYTHONPATH": str(Path(moldiff.__file__).parents[1]), "TMPDIR": str(temporary)}
    words = ["filter", "two.smi", "-o", "a.csv", "--command", f"mine=sh {tmp_path}/odd.sh {{sdf}}", "--timeout", "3"]
    command = [sys.executable, "-m", "moldiff", *words, "--workers", "2"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, **found}, check=True, timeout=120)
    assert (tmp_path / "log").read_text().count("begun") >= 2
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("seconds", [1.0, 2.0])
def test_a_command_has_its_share_of_a_short_time(seconds: float) -> None:
    words = {"mine": f"sh -c 'sleep {0.35 * seconds}; echo 7' {{smiles}}"}
    found = moldiff.filter(["CCO", "CC"], where="mine>0", commands=words, timeout_s=seconds, isolated=True)
    assert list(found.table["mine"]) == [7.0, 7.0], list(found.table["reason"])


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("smiles", ["CC12CC3CC(C)(C1)CC(N)(C3)C2", "NC12CC3CC(CC(C3)C1)C2", "CC1(C)C2CCC1(C)C(=O)C2"])
def test_a_cage_whose_stereo_is_not_written_is_placed(smiles: str) -> None:
    """Memantine, amantadine, camphor: most of their isomers on paper are impossible, of memantine all tried."""
    mol = Chem.MolFromSmiles(smiles)
    begun = time.process_time()
    found, reason = placed(mol, 0, 30)
    assert reason == ""
    assert Chem.MolToSmiles(Chem.RemoveHs(found), isomericSmiles=False) == Chem.MolToSmiles(mol)
    assert relax(found, EnergyMethod.MMFF94S).values["relaxed_by_kcal_mol"] < 0.1
    assert time.process_time() - begun < 15, "each impossible one would take seconds"
