"""`screen` as users of Python know it: molecule files in, a folder of tables out, whatever happens on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from moldiff.arguments import (
    check_flags,
    check_function,
    check_text,
    choice,
    count,
    name_list,
    parse_part,
    path,
    path_text,
    paths,
    texts,
    with_plain_numbers,
)
from moldiff.chem.filters.commands import check_commands
from moldiff.chem.io.tables import Columns, check_columns
from moldiff.choices import EngineName
from moldiff.devices import whatever_the_default
from moldiff.errors import MoldiffError, blaming
from moldiff.foreign_code import code_asks, only_looked_at
from moldiff.reading import check_regular
from moldiff.screening.filter_run import Progress
from moldiff.screening.runs.draws import Draws, draws_of
from moldiff.screening.runs.engines import ONE_PROCESS, Engines
from moldiff.screening.runs.funnel import funnel_lines, read_funnel
from moldiff.screening.runs.options import ScreenOptions, screen_options
from moldiff.screening.runs.plan import PLAN, Plan, make_plan, read_plan
from moldiff.screening.runs.ranked import RANKED, TOP
from moldiff.screening.runs.report_page import REPORT
from moldiff.screening.runs.run import check_folder, merge, work_on
from moldiff.screening.runs.tables import FUNNEL, RECORDS, has_tables

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Screening:
    r"""A screening run that is done.

    >>> from pathlib import Path
    >>> import moldiff
    >>> _ = Path("few.smi").write_text("CCO ethanol\nCCCCCCCCCCCC dodecane\nOCC again\n")
    >>> run = moldiff.screen("few.smi", "run", where="logp<2", rank="mw")
    >>> list(run.ranked["name"]), list(run.records["status"])
    (['ethanol'], ['valid', 'filtered', 'duplicate'])

    Attributes:
        folder: of the run.
        funnel: funnel.json, see `moldiff.screening.runs.funnel`.
    """

    folder: Path
    funnel: Mapping[str, Any]

    @property
    def ranked(self) -> DataFrame:
        """The best molecules, the best first, with their place in the top and all that was computed."""
        return self._table(RANKED)

    @property
    def records(self) -> DataFrame:
        """A row for every record, with status, stage, reason, value and limit; a large one for a large library."""
        return self._table(RECORDS)

    @property
    def report(self) -> Path:
        """The page that opens offline: funnel, distributions, the top in 3D, what did not pass, how it was made."""
        return self.folder / REPORT

    @property
    def top(self) -> Path:
        """The SDF of the top, with coordinates and all fields."""
        return self.folder / TOP

    def lines(self) -> list[str]:
        """Return the funnel for the terminal."""
        return funnel_lines(self.funnel)

    def _table(self, name: str) -> DataFrame:
        import pandas as pd

        check_regular(self.folder / name)
        return pd.read_parquet(self.folder / name)


def screening_of(folder: str | Path) -> Screening:
    """Return the screening run of a folder.

    Raises:
        MoldiffError: there is none, it is not done, or its funnel is damaged.
    """
    run = Path(folder)
    with only_looked_at():
        is_done = has_tables(run, read_plan(run))
    if not is_done:
        raise MoldiffError(f"{run}: the tables are not there yet; go on with the run, or merge its parts")
    return Screening(run, read_funnel(run / FUNNEL))


@with_plain_numbers
@whatever_the_default
def screen(
    files: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    from_model: str | Path | None = None,
    n: int | None = None,
    targets: str | Iterable[str] = (),
    familiar: bool = False,
    where: str | Iterable[str] = (),
    rules: str | Iterable[str] = (),
    alerts: str | Iterable[str] = (),
    smarts: str | Path | Iterable[str | Path] = (),
    similar_to: str | Path | None = None,
    shape_of: str | Path | None = None,
    known: str | Path | None = None,
    commands: Mapping[str, str] = MappingProxyType({}),
    dock: str | Path | None = None,
    dock_box: str | Path | None = None,
    exhaustiveness: int | None = None,
    standardise: bool = False,
    hazard_lists: str | Path | Iterable[str | Path] = (),
    release_hazards: str | None = None,
    rank: str | Iterable[str] = (),
    ranked: int = 10_000,
    top: int = 100,
    diverse: float = 0.0,
    reference: str | Path | None = None,
    all_checks: bool = False,
    dedup: bool = True,
    shard_size: int = 2_000,
    timeout_s: float = 60.0,
    memory_mb: int = 4_096,
    seed: int = 0,
    workers: int = 1,
    engine: str = EngineName.PROCESSES,
    scheduler: str | None = None,
    shard: str | None = None,
    retry: bool = False,
    progress: Progress | None = None,
    columns: Columns | None = None,
) -> Screening | None:
    r"""Screen molecule files of any size in a folder, and return the run; None where only a part was worked on.

    It may be killed at any moment: the same call goes on, and ends with the same tables. Other options on the same
    files compute what is new or changed, and no more.

    >>> from pathlib import Path
    >>> import moldiff
    >>> _ = Path("two.smi").write_text("CCO ethanol\nCCCCCCCCCCCC dodecane\n")
    >>> run = moldiff.screen("two.smi", "run_of_two", where="mw<100", rank=["logp:target:-2..0..3", "mw:min:50..100"])
    >>> run.funnel["counts"]["filtered"], run.top.name
    (1, 'top.sdf.gz')

    Args:
        files: molecule files, one after the other; a name with * ? or [ stands for all that match it.
        out: folder of the run.
        from_model: a model whose draws come behind the files, of which there may be none (``[]``).
        n: draws of the model.
        targets, familiar: what these draws should be like, see `moldiff.generate`: "logp=2", "mw=300..450".
        where, rules, alerts, smarts, similar_to, shape_of, known, commands, dock, dock_box, exhaustiveness,
            standardise, hazard_lists, release_hazards: see `moldiff.filter`; molecules and patterns come from files
            here. The top is docked once more, for its poses.
        rank: which are the best: one rank as of `moldiff.filter`, or wishes, whose desirabilities are multiplied
            (weighted geometric mean): "qed:max:0.2..0.9", "sa:min:2..6", "logp:target:0..2.5..5",
            "mw:range:200..300..450..550", and behind a * a weight.
        ranked: the best so many stand in the tables of ranked molecules.
        top: so many of them are written to top.sdf.gz, with coordinates.
        diverse: what each of the top is farther than (Tanimoto distance) from every better one; 0 to below 1.
        reference: whose distributions stand on the page behind those of what passed: a model, a prepared set, an SDF;
            None = the records themselves, or those of the model that draws.
        all_checks: ask every check of every molecule, not up to the first that fails.
        dedup: of molecules with the same InChIKey, keep the first that passes every check, in the order of the files.
        shard_size: records of a shard, which is written at once.
        timeout_s: longest time for one molecule; one that takes longer is failed, and the rest goes on.
        memory_mb: MiB for the data of a worker process; a molecule that needs more is failed.
        seed: of coordinates that molecules are given.
        workers: processes (spawned: a script needs its ``if __name__ == "__main__"``).
        engine: "processes" on this machine, or "dask" (extra: cluster) for workers on several.
        scheduler: of Dask, "tcp://host:8786"; None = a cluster of so many workers is started on this machine.
        shard: "2/8" = work on every eighth shard, beginning with the second, and make no tables; see
            `moldiff.screening.runs.run.merge`.
        retry: look again at records that failed.
        progress: called with the number of records done so far.
        columns: where files that are tables have their SMILES and names; None = it is found out.

    Raises:
        MoldiffError: an argument that means nothing, a file that is missing, damaged or has changed, a folder that
            holds something else or in which somebody works, or a disk that is full.
    """
    values = {
        "where": texts(where, "where"),
        "rules": name_list(rules, "rules"),
        "alerts": name_list(alerts, "alerts"),
        "smarts": tuple(map(str, paths(smarts, "smarts"))),
        **{
            name: None if one is None else path_text(one, name)
            for name, one in (
                ("similar_to", similar_to),
                ("shape_of", shape_of),
                ("known", known),
                ("dock", dock),
                ("dock_box", dock_box),
                ("reference", reference),
            )
        },
        "commands": commands,
        "exhaustiveness": exhaustiveness,
        "standardise": standardise,
        "hazard_lists": tuple(map(str, paths(hazard_lists, "hazard_lists"))),
        "release_hazards": release_hazards,
        "rank": texts(rank, "rank"),
        "ranked": ranked,
        "top": top,
        "diverse": diverse,
        "all_checks": all_checks,
        "dedup": dedup,
        "shard_size": shard_size,
        "timeout": timeout_s,
        "memory": memory_mb,
        "seed": seed,
    }
    run, named = path(out, "out"), paths(files, "files")
    check_flags({"familiar": familiar, "retry": retry})
    check_function(progress, "progress")
    for text, name in ((release_hazards, "release_hazards"), (scheduler, "scheduler"), (shard, "shard")):
        if text is not None:
            check_text(text, name)
    check_commands(commands)
    check_columns(columns)
    options = screen_options(values)
    draws = source_of(from_model, n, seed, texts(targets, "targets"), familiar)
    engines = Engines(workers, choice(engine, EngineName, "engine"), scheduler)
    return run_screen(
        named, run, options, draws, shard=shard, engines=engines, retry=retry, progress=progress, columns=columns
    )


def source_of(
    model: str | Path | None, n: int | None, seed: int, targets: Sequence[str] = (), familiar: bool = False
) -> Draws | None:
    """Return the draws that a user asks for; MoldiffError if there are a model or a number alone, or wishes alone."""
    if model is None and n is not None:
        raise MoldiffError("n goes with from_model: so many draws of which model?", argument="n")
    if model is not None and n is None:
        raise MoldiffError("n is missing: how many draws of from_model?", argument="n")
    if model is None and (targets or familiar):
        argument = "targets" if targets else "familiar"
        raise MoldiffError(f"{argument}: only draws of a model (from_model) can be asked for that", argument=argument)
    if model is None:
        return None
    with blaming("from_model", "n", "targets", "familiar"):
        return draws_of(path_text(model, "from_model"), count(n, "n"), seed, targets, familiar)


def run_screen(
    files: Sequence[str | Path],
    run: Path,
    options: ScreenOptions,
    draws: Draws | None = None,
    *,
    shard: str | None = None,
    engines: Engines = ONE_PROCESS,
    retry: bool = False,
    progress: Progress | None = None,
    columns: Columns | None = None,
) -> Screening | None:
    """Begin a run or go on with it, see `screen`."""
    check_folder(run)
    before = read_plan(run) if (run / PLAN).exists() else None
    with blaming("files", "columns", "where", "rank"):
        plan = make_plan(files, options, draws, before, columns)
    return _done(run, plan, shard, engines, retry, progress)


@with_plain_numbers
@whatever_the_default
def resume_screen(
    run: Path,
    *,
    shard: str | None = None,
    engines: Engines = ONE_PROCESS,
    retry: bool = False,
    allow_commands: bool = False,
    progress: Progress | None = None,
) -> Screening | None:
    """Go on with a run by the words of its plan.

    Args:
        run: its folder.
        shard, engines, retry, progress: see `screen`.
        allow_commands: let the programs and Python functions run that the plan names; the folder may come from
            somebody else.

    Raises:
        MoldiffError: there is none, an input has changed, the plan names code, or see `screen`.
    """

    def refuse(code: str) -> NoReturn:
        raise MoldiffError(
            f"{run}: its plan runs '{code:.100}'; go on with the command that began it, or allow that (allow_commands)",
            argument="allow_commands",
        )

    plan = read_plan(run)
    with contextlib.nullcontext() if allow_commands else code_asks(refuse):
        plan.check_inputs()
        return _done(run, plan, shard, engines, retry, progress)


@whatever_the_default
def merge_screens(runs: Sequence[Path], *, workers: int = 1) -> Screening:
    """Make the tables of a run whose parts are done, see `moldiff.screening.runs.run.merge`."""
    with only_looked_at():
        return Screening(runs[0], merge(runs, workers=workers).record())


def _done(
    run: Path, plan: Plan, shard: str | None, engines: Engines, retry: bool, progress: Progress | None
) -> Screening | None:
    asked = plan.asked()  # what is wrong with them shows before anything is written
    if engines.scheduler is None:  # else the programs of commands are needed where its workers are
        asked.criteria.refuse_missing_programs()
    part = None if shard is None else parse_part(shard)
    funnel = work_on(run, plan, part=part, engines=engines, retry=retry, progress=progress)
    return None if funnel is None else Screening(run, funnel.record())
