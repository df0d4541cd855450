"""The shape of the package, read from its source: who imports whom, what starts fast, and what is never used."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import torch
from forked import outcomes

import moldiff.errors

PACKAGE = Path(moldiff.errors.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Components (a folder or a module of moldiff/) from the lowest layer up; a component imports only from layers below its
# own and from itself. In the lowest layer modules may import each other.
BASE = {
    "errors", "version", "durations", "shares", "files", "vocabulary", "molecules", "geometry", "randomness", "config",
    "devices", "threads", "pauses", "processes", "worker_process", "batch_slots", "arguments", "interruption",
    "provenance", "run_record", "spawning",
    "arrays", "reading", "hash_sums", "folders", "foreign_text", "deprecations", "status", "sections",
    "choices", "conditions", "data_frames", "device_graphs", "journal", "resumption", "path_names",
    "foreign_code", "file_locks", "extras", "temporary_folders",
}  # fmt: skip
LAYERS = [
    BASE,
    {"chem", "diffusion", "nn"},
    {"datasets", "pages"},
    {"models"},
    {"scoring"},
    {"sampling", "evaluation"},
    {"nll"},
    {"generation"},
    {"training", "screening"},
    {"cli"},
    {"__main__"},
]
HEAVY = {
    "torch",
    "numpy",
    "rdkit",
    "scipy",
    "pandas",
    "pyarrow",
    "e3nn",
    "matplotlib",
    "pytorch_lightning",
    "torch_geometric",
}


def component(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Yield (imported module, only for type checking) for every import statement, local ones included."""

    def visit(node: ast.AST, typing_only: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            typing_only = True
        if isinstance(node, ast.Import):
            yield from ((alias.name, typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            # "from moldiff import files" imports moldiff.files.
            names = [f"moldiff.{alias.name}" for alias in node.names] if node.module == "moldiff" else [node.module]
            yield from ((name, typing_only) for name in names)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, typing_only)

    yield from visit(tree, False)


def layer_of(name: str) -> int:
    return next((index for index, layer in enumerate(LAYERS) if name in layer), -1)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    own = component(path)
    if own == "__init__":
        return
    assert layer_of(own) >= 0, f"{own} has no layer: say in this test where it belongs"
    for module, _ in imports_of(ast.parse(path.read_text())):
        root, _, rest = module.partition(".")
        if root != "moldiff" or not rest:
            continue
        other = rest.split(".")[0]
        allowed = other == own or layer_of(other) < layer_of(own) or {own, other} <= BASE
        assert layer_of(other) >= 0, f"{path.name} imports {module}, which has no layer"
        assert allowed, f"{path.name} ({own}) may not import {module}"


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported_by(tree: ast.AST, modules: Iterable[str]) -> set[str]:
    """Return which of some modules a module imports anywhere: within functions and for types too."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    # importing a.b.c also loads a and a.b
    found |= {name.rsplit(".", count)[0] for name in found for count in range(1, name.count(".") + 1)}
    return found & set(modules)


def cycle_of(sources: Mapping[str, str]) -> list[str]:
    """Return modules that import each other in a ring; none if there is no ring. Packages are loaded before what is in
    them, so they do not wait for it."""
    graph = {}
    for name, source in sources.items():
        parents = {name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)}
        graph[name] = imported_by(ast.parse(source), sources) - {name} - parents
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other() -> None:
    assert cycle_of({name_of(path): path.read_text() for path in SOURCES}) == []


def test_a_cycle_is_found() -> None:
    one = "from p.b import x"
    late = "def f():\n    from p.b import x"
    typed = "if TYPE_CHECKING:\n    from p.b import x"
    for source in (one, late, typed):
        assert set(cycle_of({"p": "", "p.a": source, "p.b": "import p.a"})) == {"p.a", "p.b"}
    assert set(cycle_of({"p": "from p import b", "p.b": "from p.a import y", "p.a": "from p import b"})) == {
        "p.a",
        "p.b",
    }
    assert cycle_of({"p": "", "p.a": one, "p.b": ""}) == []


@pytest.mark.parametrize(
    ("library", "owner"), [("rdkit", "chem"), ("torch_geometric", "datasets"), ("pytorch_lightning", "training")]
)
def test_a_library_stays_in_the_one_folder_that_owns_it(library: str, owner: str) -> None:
    users = set()
    for path in SOURCES:
        for module, typing_only in imports_of(ast.parse(path.read_text())):
            if module.split(".")[0] == library and not typing_only:
                users.add(component(path))
    assert users <= {owner}


BANNED_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
BANNED_CALLS = {
    "eval", "exec", "compile", "__import__", "print", "os.system", "os.popen", "os.fork", "yaml.load", "yaml.load_all",
    "yaml.unsafe_load", "yaml.full_load", "yaml.dump", "ssl._create_unverified_context", "torch.save",
    "load_from_checkpoint",
}  # fmt: skip
BANNED_ARGUMENTS = {("weights_only", "False"), ("shell", "True"), ("allow_pickle", "True"), ("verify", "False")}


def offences(source: str) -> list[str]:
    """Return what in a source file is never used in this package."""
    tree, found = ast.parse(source), []
    found += [f"import {module}" for module, _ in imports_of(tree) if module.split(".")[0] in BANNED_MODULES]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            arguments = {(keyword.arg, ast.unparse(keyword.value)) for keyword in node.keywords}
            if name in BANNED_CALLS or name.endswith(".load_from_checkpoint"):
                found.append(f"{name}()")
            if name == "torch.load" and ("weights_only", "True") not in arguments:
                found.append("torch.load without weights_only=True")
            found += [f"{name}({key}={value})" for key, value in sorted(arguments & BANNED_ARGUMENTS, key=str)]
            if name.endswith("get_context") and [ast.unparse(argument) for argument in node.args] != ["'spawn'"]:
                found.append("processes that are not spawned")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append("bare except")
        elif (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.args.kwarg is not None
            and node.name != "replace"
            and not ast.unparse(node.args.kwarg.annotation or node).endswith(".kwargs")  # handed on, by ParamSpec
        ):
            found.append(f"{node.name} swallows **{node.args.kwarg.arg}")
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    return found + [word for word in words if word in source]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_unsafe_or_unfinished_is_in_the_package(path: Path) -> None:
    assert offences(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import dill",
        "yaml.load(text, Loader=yaml.Loader)",
        "eval(text)",
        "print(1)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(command, shell=True)",
        "numpy.load(path, allow_pickle=True)",
        "Task.load_from_checkpoint(path)",
        "multiprocessing.get_context('fork')",
        "try:\n    f()\nexcept:\n    pass",
        "def f(**options): pass",
        "x = 1  # TO" + "DO: more",
    ],
)
def test_the_check_above_finds_what_it_should(source: str) -> None:
    assert offences(source) != []


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return result.stdout.strip().splitlines()[-1]


TORCHLESS = [
    *(name_of(path) for path in SOURCES if component(path) in ("chem", "scoring", "screening")),
    *("moldiff.generation.variations", "moldiff.generation.conformer_checks", "moldiff.evaluation.assess"),
]


@pytest.fixture(scope="module")
def without_torch() -> dict[str, str]:
    """What came of the import of each module, in a process of its own that has no torch but the usual others."""
    before = "import sys; sys.modules['torch'] = None; import numpy, pebble, pydantic.json_schema, rdkit.Chem.AllChem"
    return dict(zip(TORCHLESS, outcomes(before, [f"import {name}" for name in TORCHLESS], PACKAGE.parent), strict=True))


@pytest.mark.parametrize("name", TORCHLESS, ids=lambda name: name)
def test_chemistry_and_scores_need_no_torch(without_torch: dict[str, str], name: str) -> None:
    assert without_torch[name] == "done"


def test_code_that_needs_torch_is_found() -> None:
    before = "import sys; sys.modules['torch'] = None"
    codes = ["import moldiff.molecules", "import os; os._exit(0)", "import moldiff.errors"]
    needs, ended, fine = outcomes(before, codes, PACKAGE.parent)
    assert "import of torch halted" in needs and (ended, fine) == ("", "done")


@pytest.mark.parametrize(
    "code",
    [
        "import moldiff",
        "import moldiff.cli.main; moldiff.cli.main.main(['--help'])",
        "import moldiff.cli.main; moldiff.cli.main.main(['generate', '--help'])",
        "import moldiff.cli.main; moldiff.cli.main.main(['generate', '-n', '-3'])",
    ],
)
def test_starting_loads_nothing_heavy(code: str) -> None:
    assert run_python(f"import sys; {code}; print(sorted({HEAVY} & set(sys.modules)))") == "[]"


def test_drawing_loads_no_compiler_no_formulas_and_no_e3nn() -> None:
    """Each takes a good part of a second, and comes along where PyTorch is asked for what it does in Python."""
    unwanted = {"torch._dynamo", "sympy", "e3nn", "scipy"}
    if torch.__version__.startswith("2.10."):
        unwanted.remove("sympy")  # which that PyTorch loads for a look at shapes
    code = (
        "import sys\nfrom moldiff.generation.generate import generate\n"
        "generate(1, model='qm9_fast', evaluations=1)\n"
        f"print(sorted({unwanted} & set(sys.modules)))"
    )
    assert run_python(code) == "[]"


def test_help_takes_less_than_half_a_second() -> None:
    # Processor time, as the machine may be busy; the best of three, as the first call compiles the sources.
    code = (
        "import os, subprocess, sys\n"
        "def seconds():\n"
        "    before = os.times()\n"
        "    subprocess.run([sys.executable, '-m', 'moldiff', '--help'], check=True, stdout=subprocess.DEVNULL)\n"
        "    after = os.times()\n"
        "    return after.children_user + after.children_system - before.children_user - before.children_system\n"
        "print(min(seconds() for _ in range(3)))"
    )
    assert float(run_python(code)) < 0.5


def test_pretrained_models_fit_into_the_wheel() -> None:
    files = [path for path in (PACKAGE / "pretrained").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 44 * 2**20
