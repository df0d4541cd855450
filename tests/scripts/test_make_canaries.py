"""The script that writes the canaries anew: asked what it does, it says so, and writes nothing."""

import sys

import pytest
from script import load_script

make_canaries = load_script("make_canaries")


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("-h", 0), ("--models", 2), ("qm9", 2)])
def test_only_without_arguments_it_writes(monkeypatch: pytest.MonkeyPatch, argument: str, status: int) -> None:
    written: list[object] = []
    monkeypatch.setattr(make_canaries, "canary_file", lambda models: written.append(models))
    monkeypatch.setattr(make_canaries, "write_text", lambda *values: written.append(values))
    monkeypatch.setattr(sys, "argv", ["make_canaries", argument])
    with pytest.raises(SystemExit) as ended:
        make_canaries.main()
    assert ended.value.code == status
    assert not written
