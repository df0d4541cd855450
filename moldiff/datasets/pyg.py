"""A prepared data set as a PyTorch Geometric `Dataset`, for those who want `Data` objects."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Data, Dataset

from moldiff.datasets.prepared import PreparedDataset
from moldiff.vocabulary import ELEMENTS


class PyGDataset(Dataset):
    """The molecules of a prepared folder, or of one split of it, as `torch_geometric.data.Data`.

    A molecule of n atoms and m bonds has

    - ``pos`` (n, 3) float32 angstrom, ``z`` (n,) int64 atomic numbers, ``charge`` (n,) int64 formal charges;
    - ``edge_index`` (2, 2 m) int64 with each bond in both directions, ``edge_attr`` (2 m,) int64 class of the bond in
      ``dataset.vocabulary.bonds``;
    - ``y`` (1, P) float32 properties in natural units, NaN = unknown;
    - ``name`` and ``idx``, its row in the prepared folder.

    Graphs for message passing over distances are made from ``pos`` by the transform of your choice.
    """

    def __init__(self, dataset: PreparedDataset, split: str | None = None) -> None:
        """Wrap ``dataset``, all of it or one split ("train", "validation" or "test")."""
        super().__init__()
        self.prepared = dataset
        self.rows = np.arange(len(dataset)) if split is None else dataset.indices(split)
        self._names = dataset.names()
        self._atomic_numbers = np.array([ELEMENTS.index(symbol) + 1 for symbol in dataset.vocabulary.elements])
        self._charges = np.array(dataset.vocabulary.charges)

    def len(self) -> int:
        """Return the number of molecules."""
        return len(self.rows)

    def get(self, idx: int) -> Data:
        """Build the molecule at place ``idx`` of the split."""
        row = int(self.rows[idx])
        molecule = self.prepared.molecule(row)
        i, j, bond = torch.from_numpy(molecule.bonds).unbind(1)
        return Data(
            pos=torch.from_numpy(molecule.pos),
            z=torch.from_numpy(self._atomic_numbers[molecule.atom_type]),
            charge=torch.from_numpy(self._charges[molecule.charge]),
            edge_index=torch.stack([torch.cat([i, j]), torch.cat([j, i])]),
            edge_attr=torch.cat([bond, bond]),
            y=torch.from_numpy(np.array(self.prepared.arrays["properties"][row : row + 1])),
            name=self._names[row],
            idx=row,
        )
