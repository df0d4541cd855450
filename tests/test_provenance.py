"""The header of a run's record: the same keys everywhere, plain JSON, no torch where none is needed."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from moldiff.provenance import command_line, header
from moldiff.version import VERSION


def test_the_header_says_who_when_and_with_what() -> None:
    for device in (None, torch.device("cpu")):
        found = json.loads(json.dumps(header(device)))
        assert list(found) == ["command", "date", "commit", "platform", "hardware", "versions"]
        assert list(found["versions"]) == ["python", "moldiff", "torch", "rdkit", "e3nn", "numpy"]
        assert (found["versions"]["moldiff"], found["versions"]["rdkit"]) == (VERSION, version("rdkit"))
        assert abs((datetime.now(UTC) - datetime.fromisoformat(found["date"])).total_seconds()) < 60
        assert re.fullmatch(r"[0-9a-f]{40}|", found["commit"])
        assert re.search(r"\d+ (cores|threads)$", found["hardware"])


@pytest.mark.parametrize("program", ["/usr/bin/moldiff", "moldiff", "/x/moldiff/__main__.py"])
def test_the_command_has_one_name_wherever_it_lies(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [program, "evaluate", "a file.sdf"])
    assert command_line() == "moldiff evaluate 'a file.sdf'"
    monkeypatch.setattr(sys, "argv", ["/home/somebody/make.py", "-n"])
    assert command_line() == "make.py -n"


def test_without_a_device_torch_is_not_imported() -> None:
    code = "import sys; from moldiff.provenance import header; header(); sys.exit('torch' in sys.modules)"
    folder = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, check=False).returncode == 0
