"""The page of promises names tests that there are."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "promises.md"


def missing(page: str) -> list[str]:
    """Return the tests that a page names and that there are not."""
    found = []
    for name in re.findall(r"`([\w/]+\.py::\w+)`", page):
        file, _, function = name.partition("::")
        path = TESTS / file
        tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
        if function not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            found.append(name)
    return found


def test_every_promise_has_a_test_and_every_test_is_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) > 25
    assert [row for row in rows if "::test_" not in row] == []
    assert missing(page) == []


def test_a_test_that_is_not_there_is_found() -> None:
    assert missing("`test_promises.py::test_nothing`, `nowhere/test_x.py::test_y`") == [
        "test_promises.py::test_nothing", "nowhere/test_x.py::test_y",
    ]  # fmt: skip
