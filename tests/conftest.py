"""Fixtures that several folders of tests use."""

import logging
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from moldiff.cli import main as cli
from moldiff.config import CurveConfig, NetworkConfig, PropertyNetworkConfig
from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.datasets.statistics import DatasetStatistics, PropertyStatistics
from moldiff.interruption import ENDING
from moldiff.models.folder import save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel
from moldiff.randomness import USES, NoiseSource, Stream
from moldiff.vocabulary import Vocabulary


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compiler", action="store_true", help="Really compile layers in tests/nn, which takes minutes.")
    parser.addoption("--kills", type=int, default=2, help="Kills of each command that is killed at random moments.")
    parser.addoption("--chains", type=int, default=10_000, help="Molecules drawn by each solver whose law is known.")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--kills"))


@pytest.fixture
def chains(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--chains"))


@pytest.fixture(scope="session")
def build_tiny_model() -> Callable[[int], MoleculeModel]:
    """Build a model of H, C, N, O with 5 to 15 atoms and random weights, none zero, that knows logp, by l_max."""

    def build(l_max: int) -> MoleculeModel:
        torch.manual_seed(0)
        model = MoleculeModel.build(
            NetworkConfig(
                layers=2, node_width=32, pair_width=16, pair_hidden=16, vectors=8, heads=4, global_width=16, l_max=l_max
            ),
            CurveConfig(),
            Vocabulary(("H", "C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic")),
            DatasetStatistics(
                size_counts={5: 10, 9: 20, 12: 20, 15: 10},
                marginals={
                    "atom_type": [0.5, 0.3, 0.1, 0.1],
                    "charge": [0.1, 0.8, 0.1],
                    "bond_type": [0.8, 0.1, 0.05, 0.02, 0.03],
                },
                position_std={5: 1.0, 9: 1.2, 12: 1.3, 15: 1.4},
                properties={"logp": PropertyStatistics("", 0.5, 1.0, -3.0, 4.0, -2.25, 2.75, 60)},
            ),
            ["logp"],
        )
        for parameter in model.denoiser.parameters():
            if not parameter.any():  # layers that start at zero would hide what is behind them
                nn.init.normal_(parameter, std=0.1)
        model.denoiser.eval().requires_grad_(False)
        return model

    return build


@pytest.fixture(scope="session")
def tiny_model(build_tiny_model: Callable[[int], MoleculeModel]) -> MoleculeModel:
    """A model of `build_tiny_model` with vectors alone (l_max 1)."""
    return build_tiny_model(1)


@pytest.fixture(scope="session")
def tiny_property_model(tiny_model: MoleculeModel) -> PropertyModel:
    """A property network for `tiny_model` with random weights, none zero, that knows logp and colour."""
    torch.manual_seed(1)
    config = PropertyNetworkConfig(
        layers=2, node_width=16, pair_width=8, pair_hidden=8, vectors=4, heads=2, global_width=8
    )
    known = {
        "logp": PropertyStatistics("", 0.5, 1.0, -3.0, 4.0, -2.25, 2.75, 60),
        "colour": PropertyStatistics("nm", 400.0, 50.0, 300.0, 500.0, 310.0, 490.0, 60),
    }
    data = replace(tiny_model.statistics, properties=known)
    model = PropertyModel.guiding(tiny_model, config, data, ["logp", "colour"])
    for parameter in model.predictor.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=2.0)
    model.predictor.eval().requires_grad_(False)
    return model


@pytest.fixture
def property_folder(tmp_path: Path, tiny_property_model: PropertyModel) -> Path:
    """A model folder of `tiny_property_model`; its training molecules of 9 atoms have colours that those of 12 lack."""
    folder = tmp_path / "property"
    save_model_folder(
        folder,
        weights=tiny_property_model.predictor.state_dict(),
        config=tiny_property_model.config_json(),
        references={"condition_rows": torch.tensor([[9.0, 0.5, 350.0], [9.0, 1.5, 360.0], [12.0, 2.5, 450.0]])},
        card="# Test",
        half=True,
    )
    return folder


@pytest.fixture
def packed(tmp_path: Path, tiny_model: MoleculeModel) -> Path:
    """A model folder that carries sizes and logp of training molecules."""
    rows = torch.tensor([[5.0, 0.7], [5.0, 0.5], [9.0, 0.9], [12.0, 2.0], [15.0, 2.5], [15.0, torch.nan]])
    folder = tmp_path / "packed"
    save_model_folder(
        folder,
        weights=tiny_model.denoiser.state_dict(),
        config=tiny_model.config_json(),
        references={"condition_rows": rows},
        card="# Test",
        half=True,
    )
    return folder


@pytest.fixture
def model(tmp_path: Path, tiny_model: MoleculeModel) -> Path:
    """A model folder whose name has the brackets of rich's markup."""
    folder, weights = tmp_path / "model[1]", tiny_model.denoiser.state_dict()
    card = "# Test card\n\nFor tests."
    save_model_folder(folder, weights=weights, config=tiny_model.config_json(), references={}, card=card, half=True)
    return folder


@pytest.fixture
def noise_uses(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], set[str]]:
    """Watch all random numbers; the function asserts that those of a kind of run are in the table, and says which."""
    calls: list[tuple[Stream, int, list[int]]] = []
    words = NoiseSource._words

    def watched(
        self: NoiseSource, ids: torch.Tensor, counter: int | torch.Tensor, stream: Stream, elements: torch.Tensor
    ) -> object:
        calls.extend((Stream(one), int(counter), ids.tolist()) for one in torch.as_tensor(stream).unique().tolist())
        return words(self, ids, counter, stream, elements)

    monkeypatch.setattr(NoiseSource, "_words", watched)

    def found(run: str) -> set[str]:
        seen = set()
        for stream, counter, ids in calls:
            uses = [use for use in USES if use.run == run and stream in use.streams and counter in use.counters]
            uses = [use for use in uses if all(number in use.ids for number in ids)]
            assert uses, f"{run}: {stream!r} at {counter} is in no use of the table"
            seen.update(use.what for use in uses)
        return seen

    return found


class Result(NamedTuple):
    """What a command left: its exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    def assert_refused(self, *words: str) -> None:
        """Assert that it ended with status 2 and one line on the standard error that holds the words."""
        assert self.status == 2
        assert self.out == ""
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1
        for word in words:
            assert word in self.err


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """The command line sets up logging and warnings for its process; undo it for the next test."""
    root, package = logging.getLogger(), logging.getLogger("moldiff")
    handlers, level, package_level = root.handlers[:], root.level, package.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)
    package.setLevel(package_level)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], restored_logging: None) -> Callable[..., Result]:
    """Run the command line in this process: ``run("generate", "-n", "3")``."""

    def call(*arguments: str | Path) -> Result:
        status = cli.main([str(argument) for argument in arguments])
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def run_python() -> Callable[..., Result]:
    """Run Python in a process of its own: ``run_python("-c", code, cwd=folder)``."""

    def call(*arguments: str | Path, cwd: Path) -> Result:
        process = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, check=False)
        return Result(process.returncode, process.stdout, process.stderr)

    return call


SAMPLE = Path(__file__).parents[1] / "data" / "sample.sdf"

Atoms = Sequence[tuple[str, float, float, float]]
Bonds = Sequence[tuple[int, int, int]]

WATER: Atoms = [("O", 0.0, 0.0, 0.0), ("H", 0.96, 0.0, 0.0), ("H", -0.24, 0.93, 0.0)]


def sdf_record(name: str, atoms: Atoms, bonds: Bonds, extra: str = "") -> str:
    """Return a V2000 record; bonds are (i, j, order) from 1, extra holds whole property lines."""
    lines = [name, "     test          3D", "", f"{len(atoms):3d}{len(bonds):3d}  0  0  0  0  0  0  0  0999 V2000"]
    lines += [
        f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0  0  0  0  0  0  0  0  0  0  0  0" for symbol, x, y, z in atoms
    ]
    lines += [f"{i:3d}{j:3d}{order:3d}  0" for i, j, order in bonds]
    return "\n".join(lines) + "\n" + extra + "M  END\n$$$$\n"


@pytest.fixture(scope="session")
def record() -> Callable[..., str]:
    """The function that writes one SDF record."""
    return sdf_record


@pytest.fixture(scope="session")
def water() -> str:
    """One valid record."""
    return sdf_record("water", WATER, [(1, 2, 1), (1, 3, 1)])


@pytest.fixture(scope="session")
def sample_path() -> Path:
    """200 real QM9 molecules, DFT geometries."""
    return SAMPLE


@pytest.fixture(scope="session")
def sample_texts() -> list[str]:
    """Their records, each with its terminator."""
    return [text + "$$$$\n" for text in SAMPLE.read_text().split("$$$$\n")[:-1]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes records into a fresh SDF and returns its path."""

    def writer(*records: str, name: str = "molecules.sdf") -> Path:
        path = tmp_path / name
        path.write_text("".join(records))
        return path

    return writer


PROPERTIES = ["logp", "gfn2_gap_eV", "heavy_atom_count"]


@pytest.fixture(scope="session")
def sample_sdf() -> Path:
    return SAMPLE


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "sample"
    prepare([SAMPLE], folder, properties=PROPERTIES)
    return folder


@pytest.fixture(scope="session")
def sample(sample_folder: Path) -> PreparedDataset:
    return PreparedDataset.open(sample_folder)


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Signals have the effect that Python gives them, also behind a shell or nohup that lets them be ignored."""
    usual = {signal.SIGINT: signal.default_int_handler, **dict.fromkeys(ENDING, signal.SIG_DFL)}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which Matplotlib finds no folder that it may write into."""
    for name in [one for one in sys.modules if one.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
