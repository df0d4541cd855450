"""ARCHITECTURE.md says what is there: its tree is the package's, its layers are those that the imports obey."""

import ast
import re
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import moldiff.errors
from moldiff import randomness

PACKAGE = Path(moldiff.errors.__file__).parent
PAGE = Path(__file__).parents[1] / "ARCHITECTURE.md"


def section(name: str) -> str:
    return re.split(r"^## ", PAGE.read_text(encoding="utf-8").split(f"\n## {name}\n")[1], flags=re.MULTILINE)[0]


def entries(tree: str) -> dict[str, str]:
    """Return path -> description of every line of an indented tree; folders end in a slash."""
    found, parents = {}, list[str]()
    for line in tree.splitlines():
        name, _, text = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], name]
        assert "".join(parents) not in found, f"{name} stands twice"
        found["".join(parents)] = text.strip()
    return found


def test_the_tree_is_that_of_the_package() -> None:
    described = entries(section("The tree").split("```text\n")[1].split("```")[0])
    modules = [path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py")]
    there = {str(path) if path.name != "__init__.py" else f"{path.parent}/" for path in modules}
    assert there - described.keys() == set(), "these have no line in ARCHITECTURE.md"
    assert described.keys() - there == set(), "ARCHITECTURE.md tells of what is not there"
    assert all(described.values()), "every line says what the module is"


def test_the_layers_are_those_that_are_enforced() -> None:
    enforced = runpy.run_path(str(Path(__file__).with_name("test_imports.py")))["LAYERS"]
    items = re.findall(r"^\d+\. (.*(?:\n +.*)*)", section("Layers"), flags=re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", item)) for item in items] == enforced


def test_a_tree_is_read_by_its_indentation() -> None:
    assert entries("a/  top\n  b/  folder\n    c.py  one\n  d.py  two") == {
        "a/": "top", "a/b/": "folder", "a/b/c.py": "one", "a/d.py": "two",
    }  # fmt: skip


def tables(text: str) -> list[list[list[str]]]:
    """Return the cells of each row below the head of every table of a page; a pipe ends a cell."""
    found: list[list[list[str]]] = []
    for line, before in zip(text.splitlines(), ["", *text.splitlines()], strict=False):
        if not line.startswith("|"):
            continue
        if not before.startswith("|"):
            found.append([])
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[-1].append([re.sub(r"^`([^`]*)`$", r"\1", cell) for cell in cells])
    return [[row for row in table[1:] if set(row[0]) != {"-"}] for table in found]


def functions(path: Path) -> set[str]:
    """Return the names of functions of a module, those of a class with its name in front."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = {node: f"{node.name}." for node in tree.body if isinstance(node, ast.ClassDef)}
    return {
        prefix + node.name
        for parent, prefix in {tree: "", **classes}.items()
        for node in parent.body
        if isinstance(node, ast.FunctionDef)
    }


def walk() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return (file, function) of the ways down and up."""
    down, up = ([(row[0], row[1]) for row in table] for table in tables(section("The walk")))
    return down, up


def test_the_walk_names_functions_that_there_are_and_is_short() -> None:
    down, up = walk()
    assert [one for one in down + up if one[1] not in functions(PACKAGE / one[0])] == []
    assert len(down) <= 9
    assert len({file for file, _ in down}) <= 7


def place(code: CodeType) -> tuple[str, str] | None:
    """Return file and function of code of the package; None of what lies outside and of comprehensions."""
    path = Path(code.co_filename)
    inside = path.is_relative_to(PACKAGE) and not code.co_name.startswith("<")
    return (path.relative_to(PACKAGE).as_posix(), code.co_qualname) if inside else None


def test_a_command_takes_the_walk_and_no_other_function_lies_on_the_way(
    run: Callable[..., object], model: Path, tmp_path: Path
) -> None:
    first: dict[tuple[str, str], list[tuple[str, str]]] = {}  # function -> those that it was first called within

    def watch(frame: FrameType, event: str, _: object) -> None:
        here = place(frame.f_code) if event == "call" else None
        if here is not None and here not in first:
            within, outer = list[tuple[str, str]](), frame.f_back
            while outer is not None:
                within, outer = [*filter(None, [place(outer.f_code)]), *within], outer.f_back
            first[here] = within

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        drawn = ("-n", "2", "--model", str(model), "--evaluations", "3", "-o", str(tmp_path / "m.sdf"))
        run("generate", *drawn, "--workers", "0")  # no profile is taken of what other processes do
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    assert (tmp_path / "m.sdf").is_file()
    down, up = walk()
    assert [one for one in first if one in down + up] == down + up
    to_threads = next(index for index, one in enumerate(down) if one[1] == "MicroBatches.run")
    assert first[down[to_threads]][-to_threads:] == down[:to_threads]
    assert first[down[-1]] == down[to_threads + 1 : -1], "a thread begins with a micro-batch"


def test_the_noise_keys_are_those_of_the_module() -> None:
    words = list[list[str]]()
    for row in tables(str(randomness.__doc__))[0]:
        if row[0]:
            words.append(row)
        else:
            words[-1][2] += f" {row[2]}"
    uses = [[use.run, use.what, ", ".join(stream.name for stream in use.streams)] for use in randomness.USES]
    assert tables(section("Noise keys")) == [words, uses]


def test_tables_are_read_row_by_row() -> None:
    assert tables("| a | b |\n|---|---|\n| `c` | d e |\n\n| f |\n|--|\n| g |") == [[["c", "d e"]], [["g"]]]


def test_the_glossary_is_sorted_and_has_each_word_once() -> None:
    words = [row[0].lower() for row in tables(section("Glossary"))[0]]
    assert words == sorted(set(words))
