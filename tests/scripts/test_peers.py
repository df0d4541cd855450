"""Networks of clones beside ours: sizes are read from the clone, what is absent or fails is one line."""

import os
import sys
from pathlib import Path

import pytest
import torch
from script import SCRIPTS, load_script

peers, networks = load_script("benchmarks/peers"), load_script("benchmarks/peer_networks")

SCRIPT = """
parser.add_argument('--n_layers', type=int, default=6)
parser.add_argument("-n", "--norm-constant", type=float, default=1, help="a number")
for name in ("nf", "attention"):
    parser.add_argument("--" + name)
parser.add_argument("--nf", default=8)
for name in ("attention", "tanh", "inv_sublayers", "sin_embedding", "normalization_factor", "aggregation_method"):
    pass
parser.add_argument("--attention", type=eval, default=True)
parser.add_argument("--tanh", type=eval, default=True)
parser.add_argument("--inv_sublayers", default=1)
parser.add_argument("--sin_embedding", default=False)
parser.add_argument("--normalization_factor", default=1)
parser.add_argument("--aggregation_method", default="sum")
"""
README = "Text\n```python main_qm9.py --exp_name edm --nf 16 --n_layers 3 --lr 1e-4```\n"
NETWORK = """
import torch
from torch import nn


class EGNN_dynamics_QM9(nn.Module):
    def __init__(self, in_node_nf, hidden_nf, n_layers, norm_constant, **others):
        super().__init__()
        assert others["attention"] is True and norm_constant == 1
        self.layers = nn.ModuleList([nn.Linear(hidden_nf, hidden_nf, bias=False) for _ in range(n_layers)])

    def _forward(self, t, xh, node_mask, edge_mask, context):
        rows, atoms, _ = xh.shape
        assert t.shape == (rows, 1) and node_mask.shape == (rows, atoms, 1)
        assert edge_mask.shape == (rows * atoms * atoms, 1) and edge_mask.sum() == rows * atoms * (atoms - 1)
        x = torch.ones(rows, self.layers[0].in_features)
        for layer in self.layers:
            x = layer(x)
        return x
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that is laid out as EDM's, with a network of three matrices, and without a script for drugs."""
    folder = tmp_path / "edm"
    (folder / "egnn").mkdir(parents=True)
    for name, text in (("README.md", README), ("main_qm9.py", SCRIPT), ("egnn/models.py", NETWORK)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_sizes_are_read_and_nothing_is_run(clone: Path, tmp_path: Path) -> None:
    found = networks.defaults(clone / "main_qm9.py")
    assert (found["n_layers"], found["norm_constant"], found["nf"], found["tanh"]) == (6, 1, 8, True)
    path = tmp_path / "train.py"
    path.write_text("import nothing\nWIDTH = 3\nNAME = 'length'\nrun(WIDTH)\nLATER = WIDTH + 1\n", encoding="utf-8")
    assert networks.constants(path) == {"WIDTH": 3, "NAME": "length"}


def test_molecules_are_symmetric_and_centred() -> None:
    inputs = networks.Inputs(3, 5, torch.device("cpu"))
    assert torch.equal(inputs.bonds, inputs.bonds.transpose(1, 2))
    assert float(inputs.pos.mean(1).abs().max()) < 1e-6
    assert [tuple(one.shape) for one in (inputs.elements, inputs.charges)] == [(3, 5, 16), (3, 5, 6)]


def test_a_clone_stands_beside_ours_and_what_is_absent_is_one_line(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SCRIPTS.parent), *sys.path]))
    out = tmp_path / "peers.md"
    words = ["--model", "qm9_fast", "--edm", str(clone), "--midi", str(tmp_path / "nowhere"), "--atoms", "9"]
    peers.main([*words, "--rows", "4", "--rounds", "1", "--seconds", "0.01", "-o", str(out)])
    text = out.read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["| network", "| moldiff, qm9_fast", "| EDM, for QM9"]
    assert rows[1][2].endswith("(1.00) |")
    assert rows[2][1] == str(3 * 16 * 16), "hidden_nf and n_layers of the README, not the defaults"
    said = capsys.readouterr().out
    for line in (
        "SemlaFlow: no clone is named (--semlaflow)",
        f"MiDi: no folder {tmp_path / 'nowhere'}",
        "EDM, for drugs: FileNotFoundError",
    ):
        assert f"skipped {line}" in said
        assert f"- Skipped {line}" in text


def test_a_network_that_fails_says_why_in_its_last_line(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SCRIPTS.parent), *sys.path]))
    arguments = peers.parse(["--rows", "1"])
    with pytest.raises(peers.Skipped, match=r"^ModuleNotFoundError: No module named 'semlaflow'"):
        peers.evaluated("semlaflow", str(clone), 3, arguments)
