"""One evaluation of one network, timed: ours, or that of a clone of another project. Started by `peers`, not by hand.

    python -m scripts.benchmarks.peer_networks midi CLONE --atoms 24 --rows 16

Each runs in a process of its own, since the clones have modules of the same names. Nothing of them is in here but the
names of their classes and files; sizes of a network are read from the clone where it has them. Weights and molecules
are random, all molecules are of one size, and products are in float32. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

ELEMENTS, BONDS, CHARGES = 16, 5, 6  # classes; they touch the first and the last layer alone
WARM_UP, LEAST = 2, 5


class Case(NamedTuple):
    """A network and what evaluates it once."""

    network: nn.Module
    evaluate: Callable[[], object]


class Inputs:
    """Random molecules of one size.

    Args:
        rows: B molecules.
        atoms: N of each.
        device: to put them on.
    """

    def __init__(self, rows: int, atoms: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.rows, self.atoms, self.device = rows, atoms, device
        self.pos = torch.randn(rows, atoms, 3, device=device) * 2  # (B, N, 3)
        self.pos -= self.pos.mean(1, keepdim=True)
        self.elements = self.one_hot(torch.randint(ELEMENTS, (rows, atoms)), ELEMENTS)  # (B, N, ELEMENTS)
        self.charges = self.one_hot(torch.randint(CHARGES, (rows, atoms)), CHARGES)  # (B, N, CHARGES)
        upper = torch.randint(BONDS, (rows, atoms, atoms)).triu(1)
        self.bonds = self.one_hot(upper + upper.mT, BONDS)  # (B, N, N, BONDS)
        self.t = torch.full((rows, 1), 0.5, device=device)  # (B, 1)

    def one_hot(self, classes: Tensor, count: int) -> Tensor:
        """Return classes as float vectors."""
        return nn.functional.one_hot(classes, count).float().to(self.device)

    def mask(self, dtype: torch.dtype) -> Tensor:
        """Return (B, N) ones."""
        return torch.ones(self.rows, self.atoms, dtype=dtype, device=self.device)


def constants(path: Path) -> dict[str, Any]:
    """Return the plain values that a module gives to names, without running it."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.targets[0], ast.Name)
        ):
            found[node.targets[0].id] = node.value.value
    return found


def defaults(path: Path) -> dict[str, Any]:
    """Return the defaults of a module's command-line options, without running it."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            keywords = {one.arg: one.value.value for one in node.keywords if isinstance(one.value, ast.Constant)}
            names = [one.value for one in node.args if isinstance(one, ast.Constant)]
            if "default" in keywords:
                found[str(names[-1]).lstrip("-").replace("-", "_")] = keywords["default"]
    return found


def ours(name: Path, inputs: Inputs) -> Case:
    """Return a model of this package, by its name or folder."""
    from moldiff.models.loaded import load_model
    from scripts.device.cost import noisy_batch

    model = load_model(str(name), device=inputs.device, precision="float32").model
    batch, levels = noisy_batch(model, inputs.atoms, inputs.rows, inputs.device)
    with torch.no_grad():
        previous = model.denoiser(batch, levels, batch.properties, None)
    return Case(model.denoiser, lambda: model.denoiser(batch, levels, batch.properties, previous))


def _edm(clone: Path, inputs: Inputs, script: str) -> Case:
    """Return EDM's network (Hoogeboom et al. 2022), in the size of a command of its README."""
    options = defaults(clone / f"{script}.py")
    command = next(line for line in (clone / "README.md").read_text(encoding="utf-8").splitlines() if script in line)
    options |= {name: int(value) for name, value in re.findall(r"--(nf|n_layers|normalization_factor) (\d+)", command)}
    network = import_module("egnn.models").EGNN_dynamics_QM9(
        in_node_nf=ELEMENTS + 1,
        context_node_nf=0,
        n_dims=3,
        device=str(inputs.device),
        hidden_nf=options["nf"],
        act_fn=nn.SiLU(),
        **{name: options[name] for name in ("n_layers", "attention", "tanh", "norm_constant", "inv_sublayers",
                                            "sin_embedding", "normalization_factor", "aggregation_method")},
    )  # fmt: skip
    rows, atoms = inputs.rows, inputs.atoms
    state = torch.cat([inputs.pos, inputs.elements], dim=-1)
    nodes = inputs.mask(torch.float32)[..., None]
    pairs = (1 - torch.eye(atoms, device=inputs.device)).expand(rows, -1, -1).reshape(-1, 1)
    return Case(network, lambda: network._forward(inputs.t, state, nodes, pairs, None))


def edm_qm9(clone: Path, inputs: Inputs) -> Case:
    """Return EDM's network for QM9."""
    return _edm(clone, inputs, "main_qm9")


def edm_drugs(clone: Path, inputs: Inputs) -> Case:
    """Return EDM's network for drugs."""
    return _edm(clone, inputs, "main_geom_drugs")


def semlaflow(clone: Path, inputs: Inputs) -> Case:
    """Return SemlaFlow's network (Irwin et al. 2024), self-conditioned, in the size of its training script."""
    module, size = import_module("semlaflow.models.semla"), constants(clone / "semlaflow" / "train.py")
    edge = size["DEFAULT_D_EDGE"]
    dynamics = module.EquiInvDynamics(
        size["DEFAULT_D_MODEL"],
        size["DEFAULT_D_MESSAGE"],
        size["DEFAULT_N_COORD_SETS"],
        size["DEFAULT_N_LAYERS"],
        n_attn_heads=size["DEFAULT_N_ATTN_HEADS"],
        d_message_hidden=size["DEFAULT_D_MESSAGE_HIDDEN"],
        d_edge=edge,
        bond_refine=True,
        self_cond=True,
        coord_norm=size["DEFAULT_COORD_NORM"],
    )
    network = module.SemlaGenerator(
        size["DEFAULT_D_MODEL"], dynamics, ELEMENTS, ELEMENTS + 1, d_edge=edge, n_edge_types=BONDS, self_cond=True,
        size_emb=size["DEFAULT_SIZE_EMB"], max_atoms=size["DEFAULT_MAX_ATOMS"],
    )  # fmt: skip
    time_of = inputs.t[:, None].expand(-1, inputs.atoms, -1)
    given = {
        "inv_feats": torch.cat([inputs.elements, time_of], dim=-1),
        "edge_feats": inputs.bonds,
        "cond_coords": inputs.pos,
        "cond_atomics": inputs.elements,
        "cond_bonds": inputs.bonds,
        "atom_mask": inputs.mask(torch.int64),
    }
    return Case(network, lambda: network(inputs.pos, **given))


def midi(clone: Path, inputs: Inputs) -> Case:
    """Return MiDi's network (Vignac et al. 2023), in the size of its configuration for drugs."""
    import yaml

    def read(name: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((clone / "configs" / name).read_text(encoding="utf-8"))
        return found

    config = read("model/discrete.yaml") | read("experiment/geom_with_h_adaptive.yaml")["model"]
    holder = import_module("midi.utils").PlaceHolder
    given = {"X": ELEMENTS, "charges": CHARGES, "E": BONDS, "y": 1, "pos": 3}
    network = import_module("midi.models.transformer_model").GraphTransformer(
        input_dims=holder(**given),
        n_layers=config["n_layers"],
        hidden_mlp_dims=config["hidden_mlp_dims"],
        hidden_dims=config["hidden_dims"],
        output_dims=holder(**{**given, "y": 0}),
    )
    data = holder(
        pos=inputs.pos, X=inputs.elements, charges=inputs.charges, E=inputs.bonds, y=inputs.t,
        node_mask=inputs.mask(torch.bool),
    ).mask()  # fmt: skip
    return Case(network, lambda: network(data))


def eqgat(clone: Path, inputs: Inputs) -> Case:
    """Return EQGAT-diff's network (Le et al. 2024), in the size of the paper: 12 layers, 256 scalars, 256 vectors, 128
    of an edge."""
    options = defaults(clone / "eqgat_diff" / "experiments" / "hparams.py")
    network = import_module("e3moldiffusion.coordsatomsbonds").DenoisingEdgeNetwork(
        num_atom_features=ELEMENTS + CHARGES,
        num_bond_types=BONDS,
        hn_dim=(256, 256),
        edge_dim=128,
        num_layers=12,
        recompute_edge_attributes=True,
        recompute_radius_graph=False,
        fully_connected=True,
        local_global_model=False,
        **{name: options[name] for name in ("use_cross_product", "cutoff_local", "vector_aggr", "edge_mp")},
    )
    rows, atoms = inputs.rows, inputs.atoms
    every = torch.arange(rows * atoms, device=inputs.device).view(rows, atoms)
    apart = ~torch.eye(atoms, dtype=torch.bool, device=inputs.device)
    edges = torch.stack(
        [every[:, :, None].expand(-1, -1, atoms)[:, apart], every[:, None].expand(-1, atoms, -1)[:, apart]]
    )
    of_atom = torch.arange(rows, device=inputs.device).repeat_interleave(atoms)
    given = {
        "x": torch.cat([inputs.elements, inputs.charges], dim=-1).flatten(0, 1),
        "t": inputs.t,
        "pos": inputs.pos.flatten(0, 1),
        "edge_index_local": None,
        "edge_index_global": edges.flatten(1),
        "edge_attr_global": inputs.bonds[:, apart].flatten(0, 1),
        "batch": of_atom,
        "batch_edge_global": of_atom[edges[0].flatten()],
    }
    return Case(network, lambda: network(**given))


NETWORKS: dict[str, Callable[[Path, Inputs], Case]] = {
    "ours": ours,
    "edm_qm9": edm_qm9,
    "edm_drugs": edm_drugs,
    "semlaflow": semlaflow,
    "midi": midi,
    "eqgat": eqgat,
}
FOLDERS = {"eqgat": "eqgat_diff"}
"""Folder of a clone that its modules are imported from, where it is not the clone itself."""


def timed(case: Case, device: torch.device, seconds: float) -> dict[str, Any]:
    """Return the median CPU and wall time of an evaluation, s, and the size of the network."""
    case.network.to(device).eval()
    cpu, wall, end = list[float](), list[float](), 0.0
    with torch.no_grad():
        for number in range(10_000):
            if number == WARM_UP:
                end = time.perf_counter() + seconds
            if number >= WARM_UP + LEAST and time.perf_counter() > end:
                break
            started, busy = time.perf_counter(), time.process_time()
            case.evaluate()
            if device.type == "cuda":
                torch.cuda.synchronize()
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - busy)
    return {
        "parameters": sum(parameter.numel() for parameter in case.network.parameters()),
        "cpu": statistics.median(cpu[WARM_UP:]),
        "wall": statistics.median(wall[WARM_UP:]),
    }


def main() -> None:
    """Build, evaluate, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("source", type=Path, help="folder of the clone; of ours the model")
    parser.add_argument("--atoms", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    source = arguments.source
    if arguments.network != "ours":
        source = source.resolve()
        sys.path.insert(0, str(source / FOLDERS.get(arguments.network, "")))
    case = NETWORKS[arguments.network](source, Inputs(arguments.rows, arguments.atoms, device))
    print(json.dumps(timed(case, device, arguments.seconds)))


if __name__ == "__main__":
    main()
