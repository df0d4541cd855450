"""Commands on disks of servers, whose locks are others: all files come, nothing is left, nobody is warned."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import SERVERS

import moldiff
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.writer import RunFiles
from moldiff.journal import journal_path


@pytest.fixture(params=SERVERS)
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    SERVERS[request.param](monkeypatch)
    yield
    assert [message for message in caplog.messages if "locked" in message] == []


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.suffix == ".part"]


@pytest.mark.usefixtures("server")
def test_a_generation_goes_on_and_ends(run: Callable, model: Path, tmp_path: Path) -> None:
    out, dead = tmp_path / "m.sdf", tmp_path / ".m.sdf.0123abcd.part"
    dead.write_text("of a killed run")
    asked = ["generate", "-n", 4, "--model", model, "--evaluations", 2, "--keep-invalid", "-o", out]
    asked = [*map(str, asked), "--batch-size", "1"]
    add, full = RunFiles.add, OSError(errno.ENOSPC, "No space left on device")

    def add_some(self: RunFiles, result: MoleculeResult) -> None:
        add(self, result)
        if result.number == 2:
            raise full

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFiles, "add", add_some)
        run(*asked).assert_refused("m.sdf could not be written: No space left on device; what was made is kept in")
    assert not dead.exists()
    assert journal_path(out).exists()
    assert run(*asked, "--resume").status == 0
    assert sorted(path.name for path in tmp_path.glob("m.*")) == ["m.csv", "m.run.json", "m.sdf"]
    assert left_in(tmp_path) == []


@pytest.mark.usefixtures("server")
def test_a_filter_and_a_screen_end(run: Callable, tmp_path: Path) -> None:
    library = tmp_path / "library.smi"
    library.write_text("CCO ethanol\nCCCCCCCCCCCC dodecane\nOCC again\n")
    assert run("filter", library, "--where", "mw<100", "-o", tmp_path / "few.csv").status == 0
    assert (tmp_path / "few.csv").read_text().count("\n") == 2
    screened = moldiff.screen(library, tmp_path / "run", where="mw<100", shard_size=2)
    assert screened is not None
    assert list(screened.records["status"]) == ["valid", "filtered", "duplicate"]
    again = moldiff.screen(library, tmp_path / "run", where="mw<200", shard_size=2)
    assert again is not None
    assert list(again.records["status"]) == ["valid", "valid", "duplicate"]
    assert left_in(tmp_path) == []
