"""Do the examples of the documentation still say the truth? Runs them and compares what comes out with the page.

    python scripts/check_docs.py                       # README.md and docs/*.md, but for blocks marked long
    python scripts/check_docs.py README.md --long      # one page, with its long blocks

Every ``sh`` and ``python`` block of a page runs, in order, in one new folder for the page; all that lies in it are
copies of scripts/, of data/sample.sdf and of those files of tests/fixtures/ that examples read, as in a clone. A block
without a language that follows is what must come out: the same words, line by line. Numbers may differ (molecules
depend on the processor's number types, times on everything); where they do, it is shown, but only ``--numbers`` makes
it an error. Seconds may always differ, and lines that tell how far a command is come where it is slow are left out. A
line ``...`` in the output stands for any lines. Comments of Markdown in front of a block steer it:

    <!-- long -->            runs only with --long
    <!-- skip: reason -->    never runs

Relative links must lead to a file, and to a heading where they name one. No two blocks of the pages may write an output
of one name, so that all of them run in one clone, one page after the other; but for two that never run, which are about
files of the reader's. Exit status 1 if a command fails, the words of an output differ, a link leads nowhere or outputs
meet.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ("drugs.sdf", "guests.smi", "cb7.pdbqt")
COPIED = ("scripts", "data/sample.sdf", *(f"tests/fixtures/{name}" for name in FIXTURES))
LANGUAGES = ("sh", "python")
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^```(\S*)\s*$")
_MARK = re.compile(r"^<!--\s*(long|skip:\s*(?P<reason>.*?))\s*-->\s*$")
_SECONDS = re.compile(r"\b\d+(?:\.\d+)? (?:s|seconds)(?= left|\b)|\b\d+ molecules/s")
_PROGRESS = re.compile(r"info: \d+ (?:of \d+ |% )?[\w ]+ in \d+ (?:s|min|h)\b.*")
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?|\d+(?:\.\d+)?")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_OUTPUT = re.compile(r"(?:\s(?:-o|--out|>)\s+|moldiff\.screen\([^,]+, \")([\w./]+)")
_TABLE = re.compile(r"\.(?:sdf|smi|csv|parquet)(?:\.gz)?$")
_ANY_LINES = "..."


@dataclass(frozen=True)
class Block:
    """One example of a page.

    Attributes:
        language: of `LANGUAGES`.
        code: what runs.
        line: of the opening fence, from 1.
        output: what should come out; None = the page does not say.
        long: runs only on demand.
        skip: why it never runs; empty = it does.
    """

    language: str
    code: str
    line: int
    output: str | None = None
    long: bool = False
    skip: str = ""


@dataclass(frozen=True)
class Result:
    """What came of one block.

    Attributes:
        status: "ok", "numbers differ", "words differ", "failed" or "skipped".
        shown: the difference, the end of the output, or the reason.
        seconds: wall time.
    """

    status: str
    shown: str = ""
    seconds: float = 0.0


def blocks_of(text: str) -> list[Block]:
    """Return the examples of a Markdown page, each with the output that follows it."""
    found: list[Block] = []
    mark, previous, language, start, body = None, False, None, 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if language is not None:
            if line.rstrip() != "```":
                body.append(line)
                continue
            code = "\n".join(body) + "\n"
            if language in LANGUAGES:
                reason = (mark["reason"] or "") if mark else ""
                found.append(Block(language, code, start, long=bool(mark) and not reason, skip=reason))
                previous = True
            elif language == "" and previous:
                found[-1] = replace(found[-1], output=code)
                previous = False
            language, mark = None, None
        elif fence:
            language, start, body = fence[1], number, []
        elif (marked := _MARK.match(line)) is not None:
            mark = marked
        elif line.startswith("#"):
            previous = False  # an output does not follow across a heading
    if language is not None:
        raise ValueError(f"the block of line {start} is not closed")
    return found


def words(text: str, numbers: bool = False) -> list[str]:
    """Return lines in which only words stand: seconds (and numbers, unless they count) are masked, blanks joined."""
    lines = []
    for line in text.splitlines():
        masked = _SECONDS.sub("#", line)
        joined = " ".join((masked if numbers else _NUMBER.sub("#", masked)).split())
        if joined:
            lines.append(joined)
    return lines


def matches(expected: Sequence[str], found: Sequence[str]) -> bool:
    """Return whether lines are those expected; an expected line ``...`` stands for any lines."""
    reached = {0}  # numbers of found lines that the expected ones read so far can stand for
    for line in expected:
        if line == _ANY_LINES:
            reached = set(range(min(reached), len(found) + 1)) if reached else set()
        else:
            reached = {number + 1 for number in reached if number < len(found) and found[number] == line}
    return len(found) in reached


def compared(expected: str, found: str) -> tuple[str, str]:
    """Return the status and the difference of an output."""
    found = "\n".join(line for line in found.splitlines() if not _PROGRESS.fullmatch(line))
    if matches(words(expected, numbers=True), words(found, numbers=True)):
        return "ok", ""
    status = "numbers differ" if matches(words(expected), words(found)) else "words differ"
    lines = difflib.unified_diff(
        expected.splitlines(), found.splitlines(), "the page", "what came out", lineterm="", n=1
    )
    return status, "\n".join(lines)


def run_block(block: Block, folder: Path, environment: dict[str, str]) -> Result:
    """Run one block in a folder, and compare its output."""
    started = time.monotonic()
    head = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*head, block.code],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    if done.returncode != 0:
        return Result("failed", f"exit status {done.returncode}\n{done.stdout[-3000:]}", seconds)
    if block.output is None:
        return Result("ok", "", seconds)
    return Result(*compared(block.output, done.stdout), seconds)


def check_page(page: Path, long: bool, environment: dict[str, str]) -> Iterator[tuple[Block, Result]]:
    """Run the blocks of a page in order, and yield each with its result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in COPIED:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / path).is_dir() else shutil.copy)(ROOT / path, target)
        for block in blocks_of(page.read_text(encoding="utf-8")):
            if block.skip or (block.long and not long):
                yield block, Result("skipped", block.skip or "long")
            else:
                yield block, run_block(block, folder, environment)


def environment_of(tools: Path) -> dict[str, str]:
    """Return an environment in which ``moldiff`` and ``python`` are this source tree and this interpreter."""
    python = shlex.quote(sys.executable)
    for name, command in (("moldiff", f"{python} -m moldiff"), ("python", python)):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PATH": os.pathsep.join([str(tools), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(paths),
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }


def anchors_of(text: str) -> set[str]:
    """Return the names by which links reach the headings of a page, as on GitHub."""
    headings = [line.lstrip("#") for line in _prose(text).splitlines() if re.match(r"#{1,6} ", line)]
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    found = []
    text = re.sub(r"`[^`\n]*`", "``", _prose(page.read_text(encoding="utf-8")))  # a SMILES may look like a link
    for link in _LINK.findall(text):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


def outputs_of(block: Block) -> set[str]:
    """Return what a block writes: names of files and folders, ``name.*`` for molecules, which come with a table and a
    run record of the same stem; nothing where it says that it may replace what there is."""
    if "--overwrite" in block.code:
        return set()
    return {_TABLE.sub(".*", name.rstrip("/")) for name in _OUTPUT.findall(block.code)}


def meeting_outputs(pages: Iterable[Path]) -> list[str]:
    """Return where a block writes what one before it has written, on its own page or another, of which one runs."""
    found, before = [], dict[str, list[tuple[str, Block]]]()
    for page in pages:
        for block in blocks_of(page.read_text(encoding="utf-8")):
            for name in sorted(outputs_of(block)):
                others = before.setdefault(name, [])
                places = [place for place, other in others if not (block.skip and other.skip)]
                found += [f"{page.name}:{block.line}: {name} is an output of {place} too" for place in places[:1]]
                others.append((f"{page.name}:{block.line}", block))
    return found


def _prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check pages; print what differs, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path, help="Markdown files; README.md and docs/*.md by default")
    parser.add_argument("--long", action="store_true", help="also run the blocks that are marked long")
    parser.add_argument("--numbers", action="store_true", help="numbers must be those of the page, too")
    options = parser.parse_args(arguments)
    bad = {"failed", "words differ", *(["numbers differ"] if options.numbers else [])}
    failures = 0
    with tempfile.TemporaryDirectory() as tools:
        environment = environment_of(Path(tools))
        for meeting in meeting_outputs(PAGES):
            failures += 1
            print(meeting, flush=True)
        for page in options.pages or PAGES:
            for link in broken_links(page):
                failures += 1
                print(f"{page.name}: broken link {link}", flush=True)
            for block, result in check_page(page, options.long, environment):
                failures += result.status in bad
                first = block.code.splitlines()[0][:80]
                print(f"{page.name}:{block.line}: {result.status}, {result.seconds:.0f} s: {first}", flush=True)
                if result.shown:
                    print("\n".join(f"    {line}" for line in result.shown.splitlines()), flush=True)
    print(f"{failures} to correct" if failures else "all as the pages say")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
