"""R1: mutated SMILES, SDF records, training files, garbage graphs, model folders and checkpoints, read as commands
read them. Whatever comes is read, or refused in one line; an exception, a crash or a hang is a fault, and is named by
its kind and number, from which `moldiff` meets it again:

    python -c "from scripts.scoreboard import fuzz; print(fuzz.KINDS['SMILES'].again(123))"
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from rdkit import Chem

from moldiff.arrays import MolArrays
from moldiff.chem.convert import decode
from moldiff.chem.filters.validity import is_valid_and_connected
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.capped import smiles_record
from moldiff.chem.io.records import Record, judge, mol_to_sdf_record, parse, read_block, read_texts
from moldiff.config import load_training
from moldiff.errors import MoldiffError
from moldiff.processes import Lost, WorkerPool
from moldiff.vocabulary import BOND_ORDERS, DUMMY, ELEMENTS, Vocabulary
from scripts.scoreboard import mutated
from scripts.scoreboard.commands import run_moldiff
from scripts.scoreboard.findings import Finding, Share
from scripts.scoreboard.folders import read_checkpoint, read_folder
from scripts.scoreboard.named_tests import ROOT

READ, REFUSED, WRONG = "read", "refused", "wrong"
_SAMPLE = ROOT / "data" / "sample.sdf"
_SHOWN = 3  # faults of a kind that are told


@dataclass(frozen=True)
class Kind:
    """A kind of hostile input.

    Attributes:
        name: in the figure.
        count: of the full target.
        judge: makes and reads the input of a number, below a folder of its own; READ or REFUSED, once or more.
        each: inputs that are one number: records of a file.
        chunk: numbers sent to the worker at once.
    """

    name: str
    count: int
    judge: Callable[[random.Random, Path], Sequence[str]]
    each: int = 1
    chunk: int = 200

    def again(self, number: int) -> Sequence[str]:
        """Read the input of a number once more, in this process, where its exception is seen."""
        with tempfile.TemporaryDirectory() as folder:
            return self.judge(random.Random(f"{self.name} {number}"), Path(folder))


def measure(share: Share) -> Iterator[Finding]:
    """Read mutated inputs of every kind in one worker process: what kills it or hangs costs one and is counted."""
    for kind in KINDS.values():
        count = share.of(kind.count // kind.each)
        yield told(kind, tally(kind, count), count * kind.each, whole=share.whole)


def tally(kind: Kind, count: int) -> tuple[Counter[str], list[str]]:
    """Return how many inputs were read, refused, wrong or lost, and the faults, each with its number."""
    found, faults = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder, WorkerPool(1) as pool:
        function = partial(_outcomes, kind.name, folder)
        outcomes = pool.map_items(function, range(count), chunk=kind.chunk, timeout_s=60.0)
        for number, outcome in enumerate(outcomes):
            words = [outcome.reason] if isinstance(outcome, Lost) else outcome
            found.update(word.partition(":")[0] for word in words)
            faults += [f"{number} {word}" for word in words if word not in (READ, REFUSED)]
    return found, faults


def told(kind: Kind, found: tuple[Counter[str], list[str]], count: int, *, whole: bool) -> Finding:
    """Return the finding of a kind: it holds where nothing but reading and refusing happened."""
    words, faults = found
    bad = {word: number for word, number in words.items() if word not in (READ, REFUSED)}
    figure = f"{count:,} {kind.name}: {words[READ]:,} read, {words[REFUSED]:,} refused"
    figure += "".join(f", {number} {word}" for word, number in bad.items()) if bad else ", nothing else"
    figure += f" ({'; '.join(faults[:_SHOWN])})" if faults else ""
    return Finding(figure, holds=not bad, whole=whole)


def _outcomes(name: str, folder: str, number: int) -> Sequence[str]:
    """Return what became of the input of a number. Runs in the worker."""
    own = Path(folder) / str(os.getpid())
    own.mkdir(exist_ok=True)
    try:
        return KINDS[name].judge(random.Random(f"{name} {number}"), own)
    except MoldiffError as error:
        return [REFUSED] if str(error) and "\n" not in str(error) else [f"{WRONG}: the refusal {str(error)!r:.80}"]
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - which are what is looked for
        return [f"{WRONG}: {type(error).__name__}: {error!s:.100}"]


@cache
def _seeds() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """SMILES and records of real molecules, of QM9 and drug-like ones."""
    texts = [text for file in (_SAMPLE, ROOT / "tests" / "fixtures" / "drugs.sdf") for text in read_texts(file)]
    mols = [parse(text).mol for text in texts]
    return tuple(Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in mols if mol), tuple(text.text for text in texts)


@cache
def _training_files() -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8") for path in sorted((ROOT / "configs").glob("*.yaml")))


def _of_record(record: Record) -> str:
    if record.mol is None:
        assert record.reason and "\n" not in record.reason, f"no molecule and the reason {record.reason!r}"
        return REFUSED
    canonical_smiles(record.mol, stereo=True)
    return READ


def _smiles(chance: random.Random, folder: Path) -> list[str]:
    return [_of_record(parse(smiles_record(0, mutated.smiles(chance, _seeds()[0]), "", {})))]


def _sdf(chance: random.Random, folder: Path) -> list[str]:
    """A file of ten records, read as any command does, each judged as `evaluate` does."""
    path, outcomes = folder / "records.sdf", list[str]()
    content = "".join(mutated.sdf_record(chance, _seeds()[1]) for _ in range(10))
    path.write_bytes(content.encode("utf-8", errors="replace"))
    for text in read_texts(path):
        outcomes.append(_of_record(parse(text)))
        raw, _ = read_block(text)
        if raw is not None:
            conversion = judge(raw, explicit_hydrogens=True)
            is_valid_and_connected(conversion)
            assert (conversion.mol is None) == bool(conversion.reason), "neither a molecule nor a reason"
    return outcomes


def _yaml(chance: random.Random, folder: Path) -> list[str]:
    path = folder / "training.yaml"
    path.write_bytes(mutated.yaml_text(chance, _training_files()).encode("utf-8", errors="replace"))
    load_training(path, [])
    return [READ]


def _graph(chance: random.Random, folder: Path) -> list[str]:
    """Random elements, metals and dummies among them, coordinates that may not be finite, any bonds."""
    rng = np.random.default_rng(chance.getrandbits(64))
    elements = tuple(sorted({DUMMY, "H", "C", *rng.choice(ELEMENTS, 5).tolist()}, key=(DUMMY, *ELEMENTS).index))
    charges = (-99, -1, 0, 1, 9) if chance.random() < 0.1 else (-1, 0, 1)
    vocabulary = Vocabulary(elements, charges, BOND_ORDERS, explicit_hydrogens=chance.random() < 0.5)
    n = 10_000 if chance.random() < 0.002 else chance.randrange(120)
    most = chance.choice((0, n, 2 * n, n * n // 4 if n < 200 else n))
    pairs = np.sort(rng.integers(0, max(n, 1), (most, 2)), axis=1)
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
    pos = rng.normal(size=(n, 3)) * 10.0 ** chance.randint(-3, 5)
    if n and chance.random() < 0.2:
        pos[rng.integers(n)] = chance.choice((np.nan, np.inf, 1e300, pos[0]))
    bonds = np.column_stack([pairs, rng.choice([1, 1, 1, 2, 3, 4], len(pairs))]).astype(np.int64)
    share = rng.dirichlet([0.3] * len(elements))
    arrays = MolArrays(pos, rng.choice(len(elements), n, p=share), rng.integers(0, len(charges), n), bonds)
    conversion = decode(arrays, vocabulary)
    is_valid_and_connected(conversion)
    assert (conversion.mol is None) == bool(conversion.reason), "neither a molecule nor a reason"
    if (writable := conversion.mol or conversion.raw) is not None:
        try:
            record = mol_to_sdf_record(writable, "x", {})
        except ValueError:  # RDKit cannot write all that is invalid, and has an error for it
            assert conversion.mol is None, "a molecule that cannot be written"
            return [REFUSED]
        assert "nan" not in record.lower(), "NaN in a record"
    return [READ if conversion.mol is not None else REFUSED]


def _folder(chance: random.Random, folder: Path) -> list[str]:
    """A model folder or a checkpoint with one file changed and the hashes made to agree."""
    if chance.random() < 0.5:
        read_folder(chance, folder)
    else:
        read_checkpoint(chance, folder)
    return [READ]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("SMILES", 1_000_000, _smiles, chunk=2000),
        Kind("SDF records", 500_000, _sdf, each=10, chunk=50),
        Kind("YAML files", 100_000, _yaml),
        Kind("model folders and checkpoints", 50_000, _folder, chunk=100),
        Kind("garbage graphs", 100_000, _graph),
    )
}


def measure_commands(share: Share) -> Iterator[Finding]:
    """Hand files of mutated records to commands, each a process: status 0 or 2, nothing said that is a traceback."""
    chance, count = random.Random("commands"), share.of(2_500)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [mutated.smiles(chance, _seeds()[0]).replace("\n", " ") for _ in range(count)]
        (folder / "in.smi").write_text("CCO ethanol\n" + "\n".join(lines) + "\n", encoding="utf-8")
        records = _SAMPLE.read_text(encoding="utf-8").split("$$$$\n")[:2]
        records += [mutated.sdf_record(chance, _seeds()[1]).removesuffix("$$$$\n") for _ in range(count)]
        (folder / "in.sdf").write_bytes("$$$$\n".join([*records, ""]).encode("utf-8", errors="replace"))
        asked = [command for command in _COMMANDS if share.long or command.startswith(_QUICK)]
        told = {command: run_moldiff(command.split(), folder) for command in asked}
    bad = [command for command, run in told.items() if run.status not in (0, 2) or "Traceback" in run.said]
    figure = f"{len(asked)} commands over files of {count:,} mutated records: " + (
        f"faults in {', '.join(bad)}" if bad else "status 0 or 2, no traceback"
    )
    yield Finding(figure, holds=not bad, whole=share.whole)


_QUICK = ("filter in.sdf", "evaluate")
_COMMANDS = (
    "filter in.smi --where mw<500 --workers 1 -o f.smi",
    "filter in.sdf --where mw<500 --workers 1 -o f.sdf",
    "describe in.smi --workers 1 -o d.csv",
    "evaluate in.sdf -o e",
    "data prepare in.sdf -o p",
    "likelihood in.sdf --model qm9_fast --device cpu --evaluations 1 -o l.csv",
    "vary in.sdf --model qm9_fast --device cpu -n 1 -o v.sdf",
    "conformers in.smi --model qm9_fast --device cpu -n 1 -o c.sdf",
)
