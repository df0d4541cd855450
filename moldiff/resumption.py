"""Outputs of long work that goes on: what an earlier run left under their names, and its journal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from moldiff.files import claimed, refuse_existing_file, refuse_existing_files
from moldiff.journal import Journal, is_unfinished, journal_of, journal_path, refuse_unfinished
from moldiff.run_record import begins_anew, digest, lost_beside, record_left


class Resumption:
    """An output, and what stands under its names before the work.

    Args:
        out: the output.
        record: its run record, which holds the hash of its request as ``request_sha256``.
        beside: other files of the run.
        inputs: what the run begins with, which is never written over.
        resume: go on with the results of a run of the same request that was cut short.
        overwrite: replace what is there, and begin anew where such results lie.

    Raises:
        MoldiffError: a file is in the way, or results of a run that was cut short.
    """

    def __init__(
        self,
        out: Path,
        record: Path,
        *,
        beside: Sequence[Path] = (),
        inputs: Sequence[Path],
        resume: bool,
        overwrite: bool,
    ) -> None:
        refuse_unfinished(out, resume=resume, overwrite=overwrite)
        self._out, self._beside, self._files = out, beside, (out, *beside, record)
        self._resume, self._overwrite = resume, overwrite
        self._before = record_left(record, out) if resume else None
        self._replaces = overwrite or self._before is not None or (resume and is_unfinished(out))
        refuse_existing_files(self._files, self._replaces, inputs)

    def ended(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the record of the run that is to go on, if it has ended and its files are whole.

        Raises:
            MoldiffError: the output is that of another request, or some of its files are lost.
        """
        if self._before is None:
            return None
        may_replace = self._overwrite or is_unfinished(self._out)
        if self._before.get("request_sha256") != digest(request):
            refuse_existing_file(self._out, may_replace)
            return None
        if begins_anew(self._out, lost_beside(self._before, self._beside), may_replace):
            return None
        journal_path(self._out).unlink(missing_ok=True)  # killed after the last moment
        return self._before

    @contextlib.contextmanager
    def journal(self, request: Mapping[str, Any]) -> Iterator[Journal]:
        """Give the journal of the run, and the sole right to make its files. Where the block ends without an error they
        are whole, and the journal goes.

        Raises:
            MoldiffError: another run makes them, or made them since; results of another request.
        """
        with claimed(*self._files):
            refuse_existing_files(self._files, self._replaces)  # another run may have ended since
            with journal_of(self._out, request, resume=self._resume, overwrite=self._overwrite) as journal:
                yield journal
                journal.remove()
