"""What is said where an extra is not installed, and that the extras are those of pyproject.toml."""

import importlib.util
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from moldiff.errors import MoldiffError
from moldiff.extras import CLUSTER, DOCK, EVAL, XTB, Extra

ROOT = Path(__file__).parents[1]


def test_what_is_missing_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "absent" else find(name))
    extra = Extra("more", ("json", "absent"), ", on a Tuesday")
    assert not extra.is_installed()
    with pytest.raises(
        MoldiffError, match=r"^method magic needs absent: pip install 'moldiff\[more\]', on a Tuesday$"
    ) as caught:
        extra.require("method magic", "method")
    assert caught.value.argument == "method"
    Extra("less", ("json",)).require("nothing")


@pytest.mark.parametrize("extra", [XTB, EVAL, CLUSTER, DOCK], ids=lambda extra: extra.name)
def test_an_extra_brings_what_it_is_asked_for(extra: Extra) -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra.name]
    brought = {re.split(r"[<>=; ]", one)[0] for one in asked} | ({"dask"} if extra is CLUSTER else set())
    assert {(packages_distributions().get(name) or [name])[0] for name in extra.packages} == brought
