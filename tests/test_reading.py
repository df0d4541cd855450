"""Files that anybody may have written: what never ends, what fits nowhere, and JSON that is none."""

import gzip
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import moldiff
from moldiff.chem.filters.docking import docking_of
from moldiff.chem.io.records import read_texts
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.files import clear_leftovers
from moldiff.journal import find_journal, journal_path
from moldiff.reading import check_regular, parse_json, read_json, read_whole, sha256_of
from moldiff.screening.runs.draws import Draws
from moldiff.screening.runs.run import status_of
from moldiff.screening.screen import Screening, merge_screens, resume_screen
from moldiff.training.callbacks import read_log


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def giant(path: Path) -> Path:
    """Make a sparse file of 8 GB, which takes no space."""
    with open(path, "wb") as handle:
        handle.truncate(1 << 33)
    return path


def test_a_file_of_the_size_allowed_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_whole(path, 5) == b"12345"
    with pytest.raises(MoldiffError, match="a is larger than the 4 bytes allowed"):
        read_whole(path, 4)


@pytest.mark.parametrize("read", [read_json, check_regular, lambda path: read_whole(path, 10)])
def test_pipes_devices_and_names_that_no_file_has(tmp_path: Path, read: Callable[[Path], object]) -> None:
    for path in (pipe(tmp_path / "a"), Path("/dev/zero")):
        with pytest.raises(MoldiffError, match="is not a regular file"):
            read(path)
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(MoldiffError, match=r"cannot be read|not a regular file"):
            read(path)
    for name, holds in (("a\0b", "a zero byte"), ("a\ud800", "half a character")):
        with pytest.raises(MoldiffError, match=f"cannot be used: no name of a file holds {holds}"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"NaN",
        b"[1, -Infinity]",
        b"[" * 100_000,
        b"1" * 5000,
        b"1" * 400,
        b"1e999",
        b'{"a": [-1e400]}',
        b'{"a": "\\ud800"}',
        b"\xff",
        b'{"a":' * 50_000,
    ],
)
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(MoldiffError, match=r"^here is not valid JSON \(") as caught:
        parse_json(text, "here")
    assert len(str(caught.value)) < 200


def test_characters_of_two_halves_are_json() -> None:
    assert parse_json(b'{"a": "\\ud83d\\ude00", "b": "\\\\ud"}', "here") == {"a": "\U0001f600", "b": "\\ud"}


@pytest.mark.parametrize("make", [pipe, giant])
@pytest.mark.parametrize("name", ["a.yaml", "a.json", "a.sdf", "a.parquet", "a.tar.bz2", "a.smarts", "list.json"])
def test_no_command_waits_or_fills_the_memory(
    run: Callable, sample_path: Path, tmp_path: Path, name: str, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path / name)
    commands: dict[str, list[list[str | Path]]] = {
        "a.yaml": [["train", path], ["filter", sample_path, "--config", path]],
        "a.json": [["evaluate", sample_path, "--reference", path]],
        "a.smarts": [["filter", sample_path, "--smarts", path]],
        "list.json": [["filter", sample_path, "--hazard-list", path]],
    }
    began = time.monotonic()
    for command in commands.get(name, []):
        run(*command, *(["-o", tmp_path / "out.sdf"] if command[0] == "filter" else [])).assert_refused(name)
    if not name.endswith(("yaml", "json", "smarts")):
        with pytest.raises(MoldiffError, match=r"not a regular file|is no text|not a Parquet|damaged"):
            list(read_texts(path))
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", ["dataset.json", "names.txt", "positions.npy"])
def test_pipes_in_a_prepared_folder(sample_folder: Path, tmp_path: Path, name: str) -> None:
    for entry in sample_folder.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / name).unlink()
    pipe(tmp_path / name)
    with pytest.raises(MoldiffError, match=name.partition(".")[0]):
        PreparedDataset.open(tmp_path).names()


def test_halves_of_characters_are_json_where_names_of_files_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('["n\\udcff"]')
    assert read_json(path, halves=True) == ["n\udcff"]
    with pytest.raises(MoldiffError, match="is not valid JSON"):
        read_json(path)


def zeros(path: Path) -> Path:
    """Make a link to a device whose content never ends."""
    path.symlink_to("/dev/zero")
    return path


@pytest.fixture
def soon() -> Iterator[None]:
    """Let a test that waits for a pipe, or reads for ever, fail."""

    def fail(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


READERS: dict[str, Callable[[Path], object]] = {
    "hash": sha256_of,
    "receptor": lambda path: docking_of(path, "0,0,0,9,9,9"),
    "journal": lambda path: find_journal(path.with_name(path.name.removesuffix(".unfinished"))),
    "draws": lambda path: list(Draws("m", "", 1, 0).entries(path, 0, 0)),
    "log of a training": read_log,
    "table of a run": lambda path: Screening(path.parent, {})._table(path.name),
}


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("make", [pipe, zeros])
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_no_reader_waits_or_fills_the_memory(
    tmp_path: Path, read: Callable[[Path], object], make: Callable[[Path], Path]
) -> None:
    path = make(journal_path(tmp_path / "a.sdf"))
    with pytest.raises(MoldiffError, match=r"a\.sdf\.unfinished.* is not a regular file"):
        read(path)


@pytest.mark.usefixtures("soon")
def test_pipes_in_the_folder_of_a_screening_run(tmp_path: Path) -> None:
    library, run, other = tmp_path / "in.smi", tmp_path / "run", tmp_path / "other"
    library.write_text("CCO\nCCN\nCCC\n")
    for folder in (run, other):
        moldiff.screen(library, folder, shard="1/2", shard_size=1)
    moldiff.screen(library, other, shard="2/2", shard_size=1)
    (shard,) = other.glob("rows/*/000001.parquet")
    (own,) = run.glob("rows/*/000000.parquet")
    for path, look in (
        (run / "lock", lambda: resume_screen(run)),
        (run / "lock", lambda: merge_screens([run])),
        (shard, lambda: merge_screens([run, other])),
        (shard, lambda: merge_screens([other])),
        (own, lambda: status_of(run)),
        (run / "plan.json", lambda: resume_screen(run)),
    ):
        path.unlink()
        pipe(path)
        with pytest.raises(MoldiffError, match=rf"{path.name}.* is not a regular file|has no plan\.json"):
            look()
        path.unlink()
        path.touch()


@pytest.mark.usefixtures("soon")
def test_a_pipe_among_leftovers_is_removed(tmp_path: Path) -> None:
    path = pipe(tmp_path / ".a.sdf.00000000.part")
    clear_leftovers(tmp_path / "a.sdf")
    assert not path.exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x1f\x8b\x08", b"[]\n", b"3\n", b"{}\n", b'{"block": 3}\n', b'{"status": "no such"}\n', b"\x1f\x8b" * 9],
)
def test_draws_that_are_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "000000.jsonl.gz"
    path.write_bytes(data if data.startswith(b"\x1f") else gzip.compress(data))
    entries = Draws("m", "", 1, 0).entries(path, 0, 0)
    if not data:
        assert list(entries) == []
        return
    with pytest.raises(MoldiffError, match="remove it to draw again"):
        list(entries)
