"""Folders that appear under their name only when they are whole, and replace an older one at once.

A folder is built as ``.NAME.<8 hex digits>.part`` beside its place. Then an older one becomes ``.NAME.old``, the new
one takes the name, and the older one is removed. A run that is killed between the two renames leaves ``.NAME.old``
alone: `standing` finds it, and the next run for the same place puts it back. What else killed runs left is removed.

A folder that grows while a run works is `claimed_folder` by that run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from moldiff.errors import MoldiffError
from moldiff.files import claimed, clear_leftovers, hold, named, part_beside, refuse_existing, sync_folder
from moldiff.path_names import written_out

logger = logging.getLogger(__name__)

_HALF = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part")  # of a file that was being written


@dataclass(frozen=True)
class Ours:
    """A kind of folder that the package writes.

    Attributes:
        what: "a model folder".
        mark: the file that makes a folder one of them.
        others: names of all other files that it may hold.
    """

    what: str
    mark: str
    others: tuple[str, ...]

    def foreign(self, folder: Path) -> list[str]:
        """Return what lies in a folder and is not ours, sorted."""
        return sorted(entry.name for entry in os.scandir(folder) if not self._is_ours(entry))

    def _is_ours(self, entry: os.DirEntry[str]) -> bool:
        half = _HALF.fullmatch(entry.name)
        name = half[1] if half else entry.name
        return name in (self.mark, *self.others) and not entry.is_dir(follow_symlinks=False)


def standing(path: Path) -> Path:
    """Return a folder, or, if there is none, the one that a run was about to replace when it was killed. MoldiffError:
    see `written_out`."""
    if os.path.lexists(written_out(path)):  # "." too, which has no name that another could be made of
        return path
    old = _old(path)
    return old if os.path.isdir(old) else path  # which, unlike Path.is_dir, no folder above it surprises


def refuse_folder(out: Path, ours: Ours, overwrite: bool) -> None:
    """Raise MoldiffError unless a folder may be written to ``out``: there is none, or with ``overwrite`` one of ours.

    Checked before long work. Other files in a folder of ours do no harm: they are taken over.
    """
    try:
        _recover(out, ours)
        if out.is_symlink():
            raise MoldiffError(f"{out} is a link; it is not replaced, choose another name")
        refuse_existing(out, overwrite)
        if not out.exists():
            return
        if not out.is_dir():
            raise MoldiffError(f"{out} is a file, not {ours.what}; it is not replaced, choose another name")
        if not (out / ours.mark).is_file() and any(out.iterdir()):
            raise MoldiffError(f"{out} exists and is not {ours.what}; it is not replaced, choose another name")
    except OSError as error:
        raise MoldiffError(f"{str(out)[:100]} cannot be written: {error.strerror or error}") from error


def refuse_other_kinds(out: Path, kinds: Iterable[Ours]) -> None:
    """Raise MoldiffError if a folder that work is to write into is one of ours that holds something else.

    Args:
        out: the folder, which need not be there.
        kinds: that it must not be.
    """
    for ours in kinds:
        if (standing(out) / ours.mark).is_file():
            raise MoldiffError(f"{out} is {ours.what}; it is not written into, choose another output", argument="out")


@contextlib.contextmanager
def claimed_folder(folder: Path) -> Iterator[None]:
    """Hold the sole right to write into a folder, from before the work to its end. It is made if it is not there, and
    goes again if nothing came of the work.

    Raises:
        MoldiffError: a living process holds it, or it cannot be written.
    """
    made, within = not folder.exists(), folder / "run"  # beside a folder, nothing may be writable
    try:
        with contextlib.ExitStack() as claim:
            with named(within, folder):
                claim.enter_context(claimed(within))
            yield
    finally:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextlib.contextmanager
def new_folder(out: Path, ours: Ours, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``out`` that takes its place when the block ends without an error.

    On an error the new folder goes away and what stood under ``out`` is as before. Files in an older folder that are
    not ours are taken over into the new one.

    Raises:
        MoldiffError: see `refuse_folder`; or a folder cannot be made or moved there, or something in the block cannot
            be written.
    """
    refuse_folder(out, ours, overwrite)
    temporary = part_beside(out)
    descriptor = -1
    try:
        temporary.mkdir(parents=True)
        with contextlib.suppress(OSError):  # Windows opens no folders
            descriptor = os.open(temporary, os.O_RDONLY)
            hold(descriptor)
        with named(temporary, out):
            yield temporary
        refuse_folder(out, ours, overwrite)
        _exchange(temporary, out, ours)
    except OSError as error:
        raise MoldiffError(f"{out} could not be written: {error.strerror or error}") from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(temporary: Path, out: Path, ours: Ours) -> None:
    """Let a whole folder take the name of another; at every moment one of the two is `standing`."""
    old, before = _old(out), out.is_dir()
    if before:
        for name in ours.foreign(out):
            _take_over(out / name, temporary / name)
            logger.warning("kept %s, which is not part of %s", out / name, ours.what)
    sync_folder(temporary)
    if before:
        os.replace(out, old)
    try:
        os.replace(temporary, out)
    except OSError:
        if before:
            os.replace(old, out)
        raise
    sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _take_over(source: Path, target: Path) -> None:
    """Let a file, a link or a folder of somebody else stand in two places, a file by a link."""
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=_link)
    else:
        _link(source, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def _recover(out: Path, ours: Ours) -> None:
    """Put back what a killed run was about to replace, and remove what killed runs left."""
    old = _old(out)
    if old.is_dir() and not old.is_symlink():
        if not os.path.lexists(out):
            os.replace(old, out)
            logger.warning("%s is back: a run was killed while it replaced it", out)
        elif not [name for name in ours.foreign(old) if not os.path.lexists(out / name)]:
            shutil.rmtree(old, ignore_errors=True)
    clear_leftovers(out)


def _old(out: Path) -> Path:
    return out.parent / f".{out.name}.old"  # with_name has no word for "."
