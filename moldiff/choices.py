"""Names that users choose by. Help texts, options and the tables of what the names stand for read them here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Sampler(StrEnum):
    """Rules that step between two noise levels; keys of `moldiff.sampling.solvers.SOLVERS`."""

    DDPM = "ddpm"
    DDIM = "ddim"
    LANGEVIN = "langevin"
    SDE = "sde"
    SDE_PC = "sde_pc"
    ODE = "ode"
    DPMPP = "dpmpp"
    DPMPP_SDE = "dpmpp_sde"
    EDM = "edm"


class TimeGrid(StrEnum):
    """Layouts of the steps in time; keys of `moldiff.sampling.time_grids.GRIDS`."""

    UNIFORM = "uniform"
    KARRAS = "karras"
    LOGSNR = "logsnr"
    WINDOW = "window"


class Decoding(StrEnum):
    """Ways from the final prediction to a molecule; keys of `moldiff.generation.decoding.decoders.DECODERS`."""

    ARGMAX = "argmax"
    STRUCTURED = "structured"
    FITTED = "fitted"


class Precision(StrEnum):
    """Number type of the network's matrix products, see `moldiff.devices.resolve_precision`."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class FileHydrogens(StrEnum):
    """Ways to read the hydrogens of a file: every one is an atom of it, none, or each record tells."""

    AUTO = "auto"
    EXPLICIT = "explicit"
    IMPLICIT = "implicit"


class EnergyMethod(StrEnum):
    """Methods that compute the energy of a molecule, see `moldiff.chem.relax`."""

    MMFF94S = "mmff94s"
    GFN2 = "gfn2"


class EngineName(StrEnum):
    """Engines of a screening run, see `moldiff.screening.runs.engines`."""

    PROCESSES = "processes"
    DASK = "dask"


class Until(StrEnum):
    """The goal that a generation goes on drawing for."""

    VALID = "valid"
    """Sound molecules, those that a filter leaves out among them."""
    PASSED = "passed"
    """Sound molecules that pass every filter."""
    MET = "met"
    """Those, and every target met."""


class TargetMethod(StrEnum):
    """Ways to meet targets."""

    CONDITION = "condition"
    """The model is told what is wanted, and no more."""
    MCMC = "mcmc"
    """Then each draw moves towards what is wanted, by a Markov chain of its own (`moldiff.generation.mcmc`)."""
    SMC = "smc"
    """Draws walk down in groups, and measured values decide which of them go on (`moldiff.sampling.smc`)."""


class RuleName(StrEnum):
    """Presets of rules; keys of `moldiff.chem.filters.rules.RULES`."""

    LIPINSKI = "lipinski"
    VEBER = "veber"
    LEAD_LIKE = "lead_like"
    FRAGMENT_LIKE = "fragment_like"


class AlertFamily(StrEnum):
    """Families of structural alerts; the names of RDKit's catalogues in lower case."""

    PAINS = "pains"
    BRENK = "brenk"
    NIH = "nih"
    ZINC = "zinc"
    CHEMBL = "chembl"
    CHEMBL_GLAXO = "chembl_glaxo"
    CHEMBL_DUNDEE = "chembl_dundee"
    CHEMBL_BMS = "chembl_bms"
    CHEMBL_SURECHEMBL = "chembl_surechembl"
    CHEMBL_MLSMR = "chembl_mlsmr"
    CHEMBL_INPHARMATICA = "chembl_inpharmatica"
    CHEMBL_LINT = "chembl_lint"


class View(StrEnum):
    """Drawings of a molecule."""

    FLAT = "2d"
    """The structural formula."""
    SOLID = "3d"
    """Balls and sticks where the coordinates are."""
    BOTH = "both"
    """The second below the first, where there are coordinates."""


@dataclass(frozen=True)
class SamplingDefaults:
    """Sampling of a model that does not say otherwise (`moldiff.config.SamplingConfig`).

    Attributes:
        evaluations: of the network, for each molecule.
        sampler, grid: names.
    """

    evaluations: int
    sampler: Sampler
    grid: TimeGrid


TEMPERATURES = (0.05, 10.0)  # of categories; further down, every draw takes the same turn
DEFAULTS = SamplingDefaults(20, Sampler.DPMPP_SDE, TimeGrid.WINDOW)
CONFORMER_DEFAULTS = SamplingDefaults(25, Sampler.DDPM, TimeGrid.UNIFORM)


SCORE_KINDS = ("network", "smarts", "similarity")
"""What may stand before the colon of a score's name without being a module or a file (`moldiff.scoring.named`)."""


def is_code(score: str) -> bool:
    """Return whether a score's name is that of a Python function, module:function or file.py:function."""
    kind, colon, _ = score.partition(":")
    return bool(colon) and kind not in SCORE_KINDS


def listed(names: Iterable[str]) -> str:
    """Return "a, b or c"."""
    *some, last = names
    return f"{', '.join(some)} or {last}" if some else last
