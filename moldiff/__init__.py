"""moldiff: 3D molecules from an E(3)-equivariant diffusion model over coordinates, atom types, charges and bonds.

>>> import moldiff
>>> result = moldiff.generate(4, evaluations=4)
>>> result.summary.requested
4
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from moldiff.errors import MoldiffError
from moldiff.version import VERSION as __version__

if TYPE_CHECKING:
    from moldiff.datasets.prepare import prepare
    from moldiff.evaluation.evaluate import evaluate
    from moldiff.evaluation.report import EvaluationReport
    from moldiff.generation.conformers import conformers
    from moldiff.generation.generate import generate
    from moldiff.generation.model import Model, load
    from moldiff.generation.options.fragment import Fragment
    from moldiff.generation.result import Result
    from moldiff.generation.vary import vary
    from moldiff.nll.likelihood import LikelihoodResult, likelihood
    from moldiff.scoring.targets import Target
    from moldiff.screening.filter import filter
    from moldiff.screening.filter_result import FilterResult
    from moldiff.screening.screen import Screening, screen

__all__ = [
    "EvaluationReport", "FilterResult", "Fragment", "LikelihoodResult", "Model", "MoldiffError", "Result", "Screening",
    "Target", "__version__", "conformers", "evaluate", "filter", "generate", "likelihood", "load", "prepare", "screen",
    "vary",
]  # fmt: skip

_MODULES = {
    "EvaluationReport": "moldiff.evaluation.report",
    "FilterResult": "moldiff.screening.filter_result",
    "Fragment": "moldiff.generation.options.fragment",
    "LikelihoodResult": "moldiff.nll.likelihood",
    "Model": "moldiff.generation.model",
    "Result": "moldiff.generation.result",
    "Screening": "moldiff.screening.screen",
    "Target": "moldiff.scoring.targets",
    "conformers": "moldiff.generation.conformers",
    "evaluate": "moldiff.evaluation.evaluate",
    "filter": "moldiff.screening.filter",
    "generate": "moldiff.generation.generate",
    "likelihood": "moldiff.nll.likelihood",
    "load": "moldiff.generation.model",
    "prepare": "moldiff.datasets.prepare",
    "screen": "moldiff.screening.screen",
    "vary": "moldiff.generation.vary",
}


def __getattr__(name: str) -> Any:
    """Import a job when it is first asked for: ``import moldiff`` stays fast."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'moldiff' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
