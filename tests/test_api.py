"""What `import moldiff` offers: the names at the top in every order of imports, their examples, their errors."""

import ast
import doctest
import importlib
import itertools
import re
from pathlib import Path

import pytest
from forked import outcomes

import moldiff
from moldiff.cli.main import in_options
from moldiff.deprecations import OPTIONS
from moldiff.errors import MoldiffError
from moldiff.files import refuse_existing

PACKAGE = Path(moldiff.errors.__file__).parent
SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "cli"]
JOBS = ("conformers", "evaluate", "filter", "generate", "likelihood", "load", "prepare", "vary")
MODULES = [
    "moldiff.generation.generate", "moldiff.generation.vary", "moldiff.generation.conformers",
    "moldiff.evaluation.evaluate", "moldiff.nll.likelihood", "moldiff.datasets.prepare", "moldiff.models.loaded",
]  # fmt: skip


def test_the_names_are_there_and_completion_shows_them() -> None:
    assert set(dir(moldiff)) == set(moldiff.__all__)
    for name in (*JOBS, "Fragment", "Model", "MoldiffError", "Result", "Target"):
        assert name in dir(moldiff)
        assert callable(getattr(moldiff, name))
    with pytest.raises(AttributeError, match="has no attribute 'generat'"):
        moldiff.generat  # noqa: B018


def test_no_name_is_that_of_a_module() -> None:
    inside = {path.stem for path in PACKAGE.iterdir()}
    assert inside & set(moldiff.__all__) == set()


def test_functions_are_functions_whatever_was_imported_before() -> None:
    checks = f"assert all(callable(getattr(moldiff, name)) for name in {moldiff.__all__[:-1]!r} if name[0] != '_')"
    forwards, backwards = ("; ".join(f"import {name}" for name in names) for names in (MODULES, MODULES[::-1]))
    code = [
        f"{forwards}; import moldiff; {checks}",
        f"{backwards}; import moldiff; {checks}",
        f"import moldiff; {checks}; {forwards}; {checks}",
        f"import moldiff.generation.generate; moldiff.generate(1, evaluations=1, n_atoms=5); {checks}",
    ]
    assert outcomes("import numpy, pandas, rdkit.Chem, torch", code, PACKAGE.parent) == ["done"] * len(code)


def test_from_imports_in_every_order_are_the_same_objects() -> None:
    for names in itertools.permutations(("generate", "evaluate", "likelihood")):
        found = [getattr(importlib.import_module("moldiff"), name) for name in names]
        assert [one.__name__ for one in found] == list(names)


EXAMPLES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def test_every_public_name_has_an_example() -> None:
    without = [name for name in moldiff.__all__ if ">>> " not in str(getattr(moldiff, name).__doc__)]
    assert without == ["MoldiffError", "__version__"]
    assert {getattr(moldiff, name).__module__ for name in JOBS} <= set(EXAMPLES)


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0


TABLE_OF_OPTIONS = PACKAGE / "deprecations.py"  # it belongs to the command line, which is above it


def flags(source: str) -> list[str]:
    """Return the texts of a module that speak of an option, comments and docstrings apart."""
    tree = ast.parse(source)
    told = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in told]
    return [text.value for text in texts if isinstance(text.value, str) and re.search(r"(?<![\w-])--[a-z]", text.value)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_text_of_the_library_speaks_of_options(path: Path) -> None:
    allowed = {key for words in OPTIONS.values() for pair in words.items() for key in pair}
    assert set(flags(path.read_text())) <= (allowed if path == TABLE_OF_OPTIONS else set())


def test_the_check_above_finds_options() -> None:
    assert flags("raise MoldiffError(f'{x} exists; pass --overwrite')")
    assert flags("def f():\n    return MoldiffError('--set is wrong')")
    assert flags("logger.info('step %d; go on with (--resume auto)', step)")
    assert flags("HINT = 'see \\'moldiff models pack --score\\''")
    assert not flags('def f():\n    """Read --set."""')
    assert not flags("raise MoldiffError('a - b, c--d', argument='x')")


def test_the_command_line_says_it_with_options(tmp_path: Path) -> None:
    with pytest.raises(MoldiffError) as caught:
        refuse_existing(tmp_path, False)
    assert str(caught.value).endswith("choose another name or pass overwrite")
    assert in_options(caught.value).endswith("choose another name or pass --overwrite")
