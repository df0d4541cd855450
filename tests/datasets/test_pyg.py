"""The PyG view holds what the prepared folder holds."""

import numpy as np
import torch
from torch_geometric.loader import DataLoader

from moldiff.datasets.prepared import PreparedDataset
from moldiff.datasets.pyg import PyGDataset


def test_a_molecule(sample: PreparedDataset) -> None:
    view = PyGDataset(sample)
    assert len(view) == len(sample)
    data, molecule = view[7], sample.molecule(7)
    symbols = {"H": 1, "C": 6, "N": 7, "O": 8}
    assert data.z.tolist() == [symbols[sample.vocabulary.elements[k]] for k in molecule.atom_type]
    assert data.charge.tolist() == [sample.vocabulary.charges[k] for k in molecule.charge]
    assert np.array_equal(data.pos.numpy(), molecule.pos)
    assert data.name == sample.name(7)
    assert data.idx == 7
    assert np.array_equal(data.y.numpy(), sample.arrays["properties"][7:8])
    edges = {(i, j): order for (i, j), order in zip(data.edge_index.t().tolist(), data.edge_attr.tolist(), strict=True)}
    assert len(edges) == 2 * len(molecule.bonds)
    assert all(edges[i, j] == edges[j, i] == order for i, j, order in molecule.bonds.tolist())
    assert not data.is_directed()


def test_a_split_in_a_loader(sample: PreparedDataset) -> None:
    view = PyGDataset(sample, "validation")
    rows = sample.indices("validation")
    batch = next(iter(DataLoader(view, batch_size=len(rows))))
    assert batch.idx.tolist() == rows.tolist()
    assert batch.num_nodes == int(sample.sizes[rows].sum())
    assert batch.y.shape == (len(rows), 3)
    assert torch.isfinite(batch.pos).all()
