"""Numbers that other programs compute: an external command for each molecule, by a template."""

from __future__ import annotations

import contextlib
import itertools
import locale
import math
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rdkit import Chem

from moldiff.arguments import check_text, refusal
from moldiff.chem.filters.checks import Measured, Subject
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.records import mol_to_sdf_record
from moldiff.errors import MoldiffError
from moldiff.foreign_code import may_run
from moldiff.foreign_text import number_in
from moldiff.temporary_folders import remove_now, temporary_folder
from moldiff.worker_process import at_end, seconds_left

_WAIT_S = 0.5
_TO_STOP_S = 0.05  # for who reads a pipe that something holds open
_TO_END_S = 1.0  # before a worker's own time is over, which would leave a command and its folder behind
_running: set[int] = set()  # processes
TAIL = 2**16
"""Bytes of what a command prints that are looked at, the last ones."""
PLACES = ("{sdf}", "{smiles}")
"""What a template may hold: the name of an SDF with the molecule in 3D, and its SMILES."""


@dataclass(frozen=True)
class CommandMeasure:
    """The last number that a command prints for a molecule. It is run without a shell, in a folder of its own. One that
    ends with another status than 0, or not in time, says nothing of the molecule, which is failed.

    Attributes:
        name: that the user gives it.
        words: of the command, with `PLACES` in them.
        timeout_s: longest time for one molecule.
    """

    name: str
    words: tuple[str, ...]
    timeout_s: float
    cost = 1000.0
    whole = False

    def prepare(self, subject: Subject) -> None:
        """Do nothing: the command is run for molecules of the user alone."""

    def __call__(self, subject: Subject) -> Measured:
        with temporary_folder() as folder:
            sdf = folder / "molecule.sdf"
            if any("{sdf}" in word for word in self.words):
                mol, reason = subject.placed
                if mol is None:
                    return Measured(math.nan, reason)
                sdf.write_text(mol_to_sdf_record(mol, "molecule", {}), encoding="utf-8")
            return self._run(self._filled(subject.mol, sdf), folder)

    def _filled(self, mol: Chem.Mol, sdf: Path) -> list[str]:
        smiles = canonical_smiles(mol, stereo=True)
        return [word.replace("{sdf}", str(sdf)).replace("{smiles}", smiles) for word in self.words]

    def _run(self, words: list[str], folder: Path) -> Measured:
        process = subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            start_new_session=True,
        )  # fmt: skip
        _running.add(process.pid)
        tails: list[_Tail] = []
        margin = min(_TO_END_S, 0.1 * self.timeout_s)
        left = max(0.0, seconds_left() - margin)  # other checks may have taken much of the molecule's time
        try:
            tails.extend(map(_Tail, (process.stdout, process.stderr)))
            is_done = _is_done(process, tails, min(self.timeout_s, left))
        finally:
            _end(process, tails)
            _running.discard(process.pid)
        out, err = tails
        if not is_done:
            is_late = left < self.timeout_s
            span = "what was left of the molecule's time" if is_late else f"{self.timeout_s:g} s"
            return Measured(math.nan, f"not done within {span}", broken=True)
        if process.returncode:
            told = next((line.strip() for line in reversed(err.text.splitlines()) if line.strip()), "no message")
            return Measured(math.nan, f"exit status {process.returncode}: {told[:80]}", broken=True)
        value = _last_number(out.text)
        return Measured(math.nan, "it printed no number") if value is None else Measured(value)

    def record(self) -> dict[str, object]:
        """Return the command."""
        return {f"command {self.name}": shlex.join(self.words)}


class _Tail(threading.Thread):
    """The end of what a command prints, read as it comes: of what may be of any length, no more is kept.

    Args:
        pipe: that it prints to; closed in the end.

    Attributes:
        is_over: nobody waits for more of it.
    """

    def __init__(self, pipe: IO[bytes] | None) -> None:
        super().__init__(daemon=True)
        assert pipe is not None
        self._pipe, self._kept, self._is_cut, self.is_over = pipe, b"", False, False
        self.start()

    def run(self) -> None:
        with self._pipe:
            while not self.is_over and (piece := self._pipe.read(TAIL)):
                found = self._kept + piece
                self._is_cut |= len(found) > TAIL
                self._kept = found[-TAIL:]

    @property
    def text(self) -> str:
        """The end as text, whole words of it."""
        text = self._kept.decode(locale.getencoding(), "replace")
        return re.sub(r"^\S+", "", text) if self._is_cut else text


def _is_done(process: subprocess.Popen[bytes], tails: Sequence[_Tail], seconds: float) -> bool:
    """Wait until a command and what it prints have ended; return whether they have in time. Short waits are counted,
    not the clock: while both are stopped, by Ctrl-Z say, no time passes."""
    whole, rest = divmod(seconds, _WAIT_S)
    for wait in (*itertools.repeat(_WAIT_S, int(whole)), rest):
        until = time.monotonic() + wait
        for tail in tails:
            tail.join(max(0.0, until - time.monotonic()))
        if not any(tail.is_alive() for tail in tails):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
                return True
    return False


def _end(process: subprocess.Popen[bytes], tails: Sequence[_Tail]) -> None:
    """End a command with all that it started, which may run on behind it."""
    _kill_group(process.pid)
    if process.poll() is None:
        process.kill()
        process.wait()
    for tail in tails:
        tail.is_over = True  # what has left the group and prints on then meets a closed pipe
    for tail in tails:
        tail.join(_TO_STOP_S)


def _kill_group(pid: int) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):  # all of it has ended
            os.killpg(pid, signal.SIGKILL)


def _end_running() -> None:
    """End the commands that a worker waits for, whose folders nobody else would remove in time."""
    for pid in list(_running):
        _kill_group(pid)
    remove_now()


at_end(_end_running)


def _last_number(text: str) -> float | None:
    for word in reversed(text.split()):
        try:
            value = number_in(word)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return None


def command_measures(commands: Mapping[str, str], timeout_s: float) -> tuple[CommandMeasure, ...]:
    """Return the measures of a user's commands.

    Args:
        commands: name -> template, "vina_score --ligand {sdf}".
        timeout_s: longest time for one molecule, of which each command has an equal share: a worker has no more.

    Raises:
        MoldiffError: a template is empty, has unbalanced quotes, or none of `PLACES`; or it may not run.
    """
    check_commands(commands)
    for text in commands.values():
        may_run(text)
    share = timeout_s / max(1, len(commands))
    return tuple(CommandMeasure(name, _words(name, text), share) for name, text in commands.items())


def check_commands(commands: object) -> None:
    """Raise MoldiffError unless an argument is a mapping of names to commands, all of them texts."""
    if not isinstance(commands, Mapping):
        raise refusal("commands", "a mapping of names to commands", commands)
    for text in (*commands, *commands.values()):
        check_text(text, "commands")


def parse_commands(texts: Iterable[str]) -> dict[str, str]:
    """Return name -> template of texts ``NAME=TEMPLATE``; MoldiffError if one is none, or two have one name."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, template = (part.strip() for part in text.partition("="))
        if not equals or not name or not template:
            raise MoldiffError(f"commands '{text[:60]}': expected NAME=COMMAND {{sdf}}", argument="commands")
        if name in found:
            raise MoldiffError(f"commands: two of the name '{name}'", argument="commands")
        found[name] = template
    return found


def _words(name: str, template: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(template))
    except ValueError as error:
        raise MoldiffError(f"commands '{name}': {error} in '{template[:60]}'", argument="commands") from None
    if set(name) & set("=<> "):
        told = "the name of its number has a blank, =, < or > in it, which conditions could not ask for"
        raise MoldiffError(f"commands '{name}': {told}", argument="commands")
    if not any(place in word for word in words for place in PLACES):
        told = f"expected a command with {' or '.join(PLACES)} in it, not '{template[:60]}'"
        raise MoldiffError(f"commands '{name}': {told}", argument="commands")
    return words
