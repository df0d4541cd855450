"""ARCHITECTURE.md says what is there: its tree is the package's, its layers are those that the imports obey."""

import re
import runpy
from pathlib import Path

import moldiff.errors

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
