"""A prepared folder of the 200 sample molecules, made once."""

from pathlib import Path

import pytest

from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"
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
