"""A model folder: weights, configuration, reference data and card, with the SHA-256 of each file.

| file                  | what it holds                                                                      |
|-----------------------|------------------------------------------------------------------------------------|
| model.safetensors     | the network's tensors, float32 or (to travel) float16; float32 once loaded         |
| config.json           | format name and version, and the configuration a stranger needs to build the model |
| reference.safetensors | optional: arrays such as the hashed keys of the training molecules, histograms     |
| card.md               | what the model is, how it was made, what it is for                                 |
| SHA256SUMS            | one line per file above, as `sha256sum -c` reads it                                |

Nothing in a folder is unpickled or imported. A folder is read in one pass: size cap, hash, parse, check; whatever
fails is one `MoldiffError`. The hashes find damage and mix-ups; they are no signature, since whoever writes a folder
writes its hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moldiff.errors import MoldiffError, nearest_name
from moldiff.files import atomic_writer
from moldiff.folders import Ours, new_folder, refuse_folder, standing
from moldiff.foreign_text import readable
from moldiff.hash_sums import parse_sums, sums_text
from moldiff.models.packing import (
    pack_config,
    pack_tensors,
    pack_weights,
    unpack_config,
    unpack_tensors,
    unpack_weights,
)
from moldiff.reading import read_whole

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_MODEL = "qm9"
DENOISER, PROPERTY = "denoiser", "property"  # kinds of models

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
REFERENCE_FILE = "reference.safetensors"
CARD_FILE = "card.md"
SUMS_FILE = "SHA256SUMS"

# Bytes. Far above any model of this package, far below what would trouble a laptop that opens a foreign folder.
SIZE_CAPS = {
    WEIGHTS_FILE: 1 << 30,
    REFERENCE_FILE: 1 << 28,
    CONFIG_FILE: 1 << 22,
    CARD_FILE: 1 << 20,
    SUMS_FILE: 1 << 12,
}
REQUIRED_FILES = (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)
HASHED_FILES = (*REQUIRED_FILES, REFERENCE_FILE)
OURS = Ours("a model folder", SUMS_FILE, HASHED_FILES)


@dataclass(frozen=True)
class ModelFolder:
    """A model folder whose every file was checked.

    Attributes:
        path: the folder.
        weights: tensor name -> tensor on the CPU; floating-point ones are float32 and finite.
        config: the configuration given to `save_model_folder` (plain JSON types).
        references: name -> tensor of reference.safetensors in the type it was saved with; empty if there is none.
        card: the text of card.md.
        sha256: SHA-256 of SHA256SUMS, which names the whole folder; runs record it.
    """

    path: Path
    weights: dict[str, Tensor]
    config: dict[str, Any]
    references: dict[str, Tensor]
    card: str
    sha256: str

    @property
    def name(self) -> str:
        """The folder's own name; of a built-in model, the name it is asked for by."""
        return readable(self.path.resolve().name)

    @property
    def kind(self) -> str:
        """Purpose of the model: "denoiser" generates molecules, "property" predicts properties of noisy ones."""
        return str(self.config.get("kind", DENOISER))


def pretrained_folder() -> Path:
    """Return the folder of the models that are shipped inside the package."""
    return Path(__file__).parents[1] / "pretrained"


def list_models() -> list[str]:
    """Return the names of the built-in models, sorted."""
    folder = pretrained_folder()
    return sorted(path.name for path in folder.iterdir() if (path / SUMS_FILE).is_file()) if folder.is_dir() else []


def built_in_with(references: Iterable[str]) -> list[str]:
    """Return the names of the built-in models that carry all of some reference tensors, sorted."""
    from safetensors import safe_open

    found, wanted = [], set(references)
    for name in list_models():
        path = pretrained_folder() / name / REFERENCE_FILE
        if path.is_file():
            with safe_open(path, framework="numpy") as carried:
                if wanted <= set(carried.keys()):
                    found.append(name)
    return found


def built_in_name(path: str | Path) -> str:
    """Return the name of the built-in model whose folder a path is; "" if it is another folder."""
    return Path(path).name if Path(path).parent == pretrained_folder() else ""


def is_model(name_or_path: str | Path) -> bool:
    """Return whether this is the name of a built-in model, or the folder of a model or of a training run with one."""
    try:
        return (find_model(name_or_path) / SUMS_FILE).is_file()
    except MoldiffError:
        return False


def find_model(name_or_path: str | Path) -> Path:
    """Return the folder of a built-in model or of a path. A built-in name goes first; ./name means a folder.

    Raises:
        MoldiffError: there is neither.
    """
    known = list_models()
    if str(name_or_path) in known:
        return pretrained_folder() / str(name_or_path)
    path = standing(Path(name_or_path))
    if path.is_dir():
        inside = path / "model"  # of the folder of a training run
        return inside if (inside / SUMS_FILE).is_file() and not (path / SUMS_FILE).exists() else path
    if path.exists():
        raise MoldiffError(f"{path} is not a model folder but a file; give the folder that holds {WEIGHTS_FILE}")
    hint = nearest_name(str(name_or_path), known)
    raise MoldiffError(
        f"no model '{name_or_path}'{hint}: neither a folder nor built in ({', '.join(known) or 'none is'})"
    )


def save_model_folder(
    folder: Path,
    *,
    weights: dict[str, Tensor],
    config: dict[str, Any],
    references: dict[str, Tensor],
    card: str,
    half: bool,
    overwrite: bool = False,
) -> str:
    """Write a model folder that appears under its name only when it is complete.

    Args:
        folder: where to; an existing model folder is replaced only with ``overwrite``, any other folder never.
        weights: the network's state; floating-point tensors are stored as float32, matrices as float16 if ``half``.
        config: plain JSON types.
        references: reference arrays, stored as they are; may be empty.
        card: Markdown text of the card.
        half: store matrices in half precision (11 bits of mantissa, at most 65504). Vectors take no space to speak of,
            and some are statistics of the data, in natural units.
        overwrite: replace an existing model folder.

    Returns:
        The SHA-256 that `load_model_folder` will report.

    Raises:
        MoldiffError: the place is taken or cannot be written, or a weight is not finite (in the precision asked for).
        TypeError, ValueError: ``config`` is not plain JSON (ValueError also for NaN and infinity).
    """
    refuse_folder(folder, OURS, overwrite)
    payload = {
        WEIGHTS_FILE: pack_weights(weights, half),
        CONFIG_FILE: pack_config(config),
        CARD_FILE: card.encode("utf-8"),
    }
    if references:
        payload[REFERENCE_FILE] = pack_tensors(references)
    for name, data in payload.items():
        if len(data) > SIZE_CAPS[name]:
            raise MoldiffError(f"{folder}: {name} would be {len(data)} bytes, more than the {SIZE_CAPS[name]} allowed")
    # Hashed before writing, so that damage on the way to the disk is found on reading.
    sums = sums_text({name: hashlib.sha256(data).hexdigest() for name, data in payload.items()})
    payload[SUMS_FILE] = sums.encode("ascii")
    with new_folder(folder, OURS, overwrite=overwrite) as temporary:
        for name, data in payload.items():
            with atomic_writer(temporary / name, binary=True) as handle:
                handle.write(data)
    return hashlib.sha256(payload[SUMS_FILE]).hexdigest()


def load_model_folder(name_or_path: str | Path) -> ModelFolder:
    """Read and check a model folder, given as a path or as the name of a built-in model.

    Raises:
        MoldiffError: no such model, or a file missing, too large, changed since it was saved, of another format or
            version, or with weights that are not finite numbers. One line, naming the file.
    """
    path = find_model(name_or_path)
    sums_data = _read_capped(path, SUMS_FILE)
    digests = parse_sums(path / SUMS_FILE, sums_data, OURS.what, HASHED_FILES, REQUIRED_FILES)
    data = {name: _read_checked(path, name, digest) for name, digest in digests.items()}
    config = unpack_config(path / CONFIG_FILE, data[CONFIG_FILE])
    references = unpack_tensors(path / REFERENCE_FILE, data[REFERENCE_FILE]) if REFERENCE_FILE in data else {}
    try:
        card = data[CARD_FILE].decode("utf-8")
    except UnicodeDecodeError as error:
        raise MoldiffError(f"{path / CARD_FILE} is not UTF-8 text") from error
    return ModelFolder(
        path=path,
        weights=unpack_weights(path / WEIGHTS_FILE, data[WEIGHTS_FILE]),
        config=config,
        references=references,
        card=card,
        sha256=hashlib.sha256(sums_data).hexdigest(),
    )


def _read_capped(folder: Path, name: str) -> bytes:
    """Read a file up to its size cap."""
    try:
        return read_whole(folder / name, SIZE_CAPS[name])
    except MoldiffError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise MoldiffError(f"{folder} is not a moldiff model folder: {name} is missing") from error
        raise


def _read_checked(folder: Path, name: str, digest: str) -> bytes:
    """Read a file once and compare these very bytes with its SHA-256."""
    data = _read_capped(folder, name)
    if hashlib.sha256(data).hexdigest() != digest:
        raise MoldiffError(f"{folder / name} is corrupt: its SHA-256 is not the one in {SUMS_FILE}")
    return data
