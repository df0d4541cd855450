"""House rules that a file obeys or not: docstrings that name the thing, files and functions of one sitting."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "moldiff"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))
QUESTIONS = {"how", "what", "when", "where", "whether", "which", "who", "why"}
LONGEST_FILE, LONGEST_BODY = 350, 70
LARGE = 150  # lines from which a module has a test file of its name
ELSEWHERE = {  # or is tested as part of what uses it
    "chem/filters/commands.py": "chem/filters/test_criteria.py",
    "chem/filters/reference_measures.py": "chem/filters/test_measures.py",
    "chem/io/perceive.py": "chem/io/test_embed_and_perceive.py",
    "chem/io/text_records.py": "chem/io/test_records.py",
    "chem/valence.py": "chem/test_convert.py",
    "choices.py": "test_arguments.py",
    "cli/data.py": "integration/test_commands.py",
    "cli/generate.py": "integration/test_commands.py",
    "cli/screen.py": "screening/runs/test_run.py",
    "cli/shared.py": "integration/test_bad_input.py",
    "cli/show_report.py": "evaluation/test_evaluate.py",
    "datasets/rows.py": "datasets/test_workers.py",
    "diffusion/inpainting.py": "sampling/test_fragments.py",
    "evaluation/findings.py": "evaluation/test_evaluate.py",
    "generation/decoding/integer_program.py": "generation/decoding/test_structured.py",
    "generation/from_records.py": "generation/test_vary.py",
    "generation/options/composition.py": "sampling/test_constraints.py",
    "generation/options/fragment.py": "sampling/test_fragments.py",
    "chem/io/outputs.py": "screening/test_filter.py",
    "generation/options/steering_options.py": "generation/options/test_steering.py",
    "generation/entries.py": "integration/test_resume.py",
    "generation/generate_run.py": "generation/test_generate.py",
    "generation/identity.py": "integration/test_parallel_runs.py",
    "generation/run.py": "generation/test_generate.py",
    "generation/writer.py": "integration/test_resume.py",
    "interruption.py": "integration/test_interruption.py",
    "nll/summary.py": "nll/test_files.py",
    "nll/tables.py": "nll/test_files.py",
    "generation/summary.py": "generation/options/test_steering.py",
    "sampling/solvers.py": "sampling/test_solvers_gaussian.py",
    "screening/runs/chain.py": "screening/runs/test_run.py",
    "screening/runs/options.py": "screening/runs/test_elsewhere.py",
    "screening/runs/plan.py": "screening/runs/test_run.py",
    "screening/runs/processes_engine.py": "screening/runs/test_run.py",
    "screening/runs/shards.py": "screening/runs/test_run.py",
    "screening/rows.py": "screening/test_filter.py",
    "screening/screen.py": "screening/runs/test_run.py",
    "screening/filter_run.py": "screening/test_filter.py",
    "screening/filter_result.py": "screening/test_filter.py",
    "screening/outputs.py": "screening/test_filter.py",
    "training/base_run.py": "training/test_train.py",
    "training/callbacks.py": "training/test_train.py",
    "training/denoiser_run.py": "training/test_train.py",
    "training/lightning_module.py": "training/test_step_graphs.py",
    "models/property_model.py": "models/test_building.py",
    "training/on_policy/collect.py": "training/on_policy/test_states.py",
    "worker_process.py": "test_processes.py",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def questions(source: str) -> list[str]:
    """Return the docstrings of a module, its classes and functions that ask instead of naming the thing."""
    tree = ast.parse(source)
    documented = (node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | Function))
    texts = [ast.get_docstring(node) or "" for node in documented]
    return [text.splitlines()[0] for text in texts if text and re.split(r"\W", text.lower())[0] in QUESTIONS]


def bodies(source: str) -> Iterator[tuple[str, int]]:
    """Yield name and number of lines of every function without its head and docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield node.name, (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_name_the_thing(path: Path) -> None:
    assert questions(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_read_in_one_sitting(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST_FILE
    assert [(name, lines) for name, lines in bodies(source) if lines > LONGEST_BODY] == []


def test_large_modules_have_a_test_file_of_their_name_or_the_list_says_where_they_are_tested() -> None:
    tests, without = ROOT / "tests", set[str]()
    for path in SOURCES:
        name = path.relative_to(PACKAGE)
        if len(path.read_text(encoding="utf-8").splitlines()) > LARGE and path.name != "__init__.py":
            own = tests / name.parent / f"test_{path.stem}.py"
            without |= set() if own.exists() else {name.as_posix()}
    assert without <= ELSEWHERE.keys(), "these need a test file of their name"
    assert [file for file in ELSEWHERE.values() if not (tests / file).exists()] == []


def test_the_checks_above_find_what_they_should() -> None:
    asked = '"""What it is."""\nclass A:\n    """How."""\n    def f(self):\n        """Whether; or not."""\n'
    assert questions(asked) == ["What it is.", "How.", "Whether; or not."]
    assert questions('"""Whatever: a noun."""\ndef f():\n    """Return where it is."""') == []
    assert list(bodies('def f():\n    """Doc."""\n    x = 1\n\n    return x\n\ndef g():\n    """Doc."""\n')) == [
        ("f", 3), ("g", 0),
    ]  # fmt: skip


def test_the_lock_file_holds_the_versions_of_the_constraints_each_with_hashes() -> None:
    """PyTorch apart, whose build depends on the machine."""
    pinned = set[str]()
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, equals, version = line.partition("==")
        pinned |= {f"{re.sub('[-_.]+', '-', name).lower()}=={version}"} if equals and name != "torch" else set()
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text(encoding="utf-8"))
    assert {entry.split()[0] for entry in entries} == pinned
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)
