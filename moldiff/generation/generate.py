"""Generation as users know it: `generate` returns molecules, `generation_run` is what the command line writes down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moldiff.arguments import check_flag, choice, with_plain_numbers
from moldiff.chem.descriptors.score_functions import ScoreFunction
from moldiff.chem.filters.criteria import Criteria
from moldiff.chem.filters.hazards import HazardGate
from moldiff.chem.filters.patterns import Patterns
from moldiff.choices import Decoding, Precision, Until
from moldiff.conditions import Conditions
from moldiff.devices import whatever_the_default
from moldiff.generation.generate_run import GenerateRun
from moldiff.generation.options.fragment import Fragment
from moldiff.generation.options.generation_options import GenerationOptions
from moldiff.generation.options.sampler_options import SamplerOptions
from moldiff.generation.options.score import ScoreOptions
from moldiff.generation.options.steering_options import SteeringOptions
from moldiff.generation.result import Result, result_of
from moldiff.generation.smc_run import GroupRun
from moldiff.models.folder import DEFAULT_MODEL
from moldiff.models.loaded import LoadedModel
from moldiff.scoring.targets import Targets

if TYPE_CHECKING:
    import torch
    from rdkit.Chem import Mol


@with_plain_numbers
@whatever_the_default
def generate(
    n: int,
    *,
    model: str | Path | LoadedModel = DEFAULT_MODEL,
    n_atoms: tuple[int, int] | int | str | None = None,
    evaluations: int | None = None,
    sampler: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    device: str | torch.device = "auto",
    precision: str | torch.dtype = Precision.AUTO,
    until: str | None = None,
    until_valid: bool = False,
    max_draws: int | None = None,
    where: Conditions = (),
    rules: str | Iterable[str] = (),
    alerts: str | Iterable[str] = (),
    smarts: Patterns | Iterable[Patterns] = (),
    first: int = 0,
    keep_invalid: bool = False,
    decode: str = Decoding.ARGMAX,
    grid: str | None = None,
    temperature: float | None = None,
    renoise: int = 0,
    targets: Targets = (),
    familiar: bool = False,
    target_method: str | None = None,
    target_moves: int | None = None,
    guidance: float | Mapping[str, float] | str | None = None,
    property_model: str | Path | None = None,
    property_scale: float | None = None,
    elements: Sequence[str] | str | None = None,
    exclude_elements: Sequence[str] | str = (),
    formula: str | None = None,
    charge: int | None = None,
    fragment: Fragment | str | Path | Mol | None = None,
    score: str | ScoreFunction | None = None,
    score_weight: float | None = None,
    particles: int | None = None,
    heavy_only: bool = False,
    hazard_lists: str | Path | Iterable[str | Path] = (),
    workers: int = 0,
    rarity: bool = False,
    ring_table: str | Path | None = None,
    steps: int | None = None,
) -> Result:
    """Generate molecules; the `Result` holds them as RDKit molecules with a conformer, in the order of their draws.

    >>> import moldiff
    >>> result = moldiff.generate(3, targets={"logp": 1.5}, evaluations=4)
    >>> [int(number) for number in result.table["draw"]]
    [0, 1, 2]

    Each molecule carries its row of ``result.table`` as properties, among them ``draw`` (its number), ``moldiff_id``
    (no other molecule of any run has it), ``status`` and ``decoding``, and for each target ``target_<name>`` (the value
    that its draw was conditioned on), ``<name>`` as measured (``measured_<name>`` where another column has that name)
    and ``error_<name>`` (of a range or bound, how far outside it lies, negative below). It is a function of the model,
    its number and the other arguments, not of n or the batch size. Ranges, lists and scales may be texts as on the
    command line: "15..22", "C,N,O,H", "logp=2,tpsa=1"; a single target need not be in a list.

    Args:
        n: number of draws; with ``until`` the number of molecules that are as wanted.
        model: a built-in model's name, a model folder, or a model that is `load`ed.
        n_atoms: number of atoms or inclusive range, of a model of heavy atoms the heavy ones; None = as in the training
            data.
        evaluations: of the network for each molecule, in all; None = as many as the model's own number of steps takes.
            Where a step takes several (some samplers, ``guidance``), as many steps are taken as fit, with a warning if
            these are fewer than the model's own; the real number is in the run record and in the CSV.
        sampler, grid: one of `moldiff.choices.Sampler` and of `TimeGrid`; None = the model's own.
        temperature: at which types, charges and bonds are drawn on the way, 0.05 to 10: less makes more usual
            molecules, more often valid, and fewer kinds of them; None = the model's own.
        seed: 0 <= seed < 2^64.
        batch_size: draws at a time; None = what suits the device. The result does not depend on it.
        device: auto, cpu, cuda or cuda:<number>, or PyTorch's own.
        precision: number type of the network's matrix products, see `moldiff.devices.resolve_precision`. The same
            molecules on processors with and without bfloat16 need "float32".
        until: draw on until n molecules are "valid", "passed" every filter, or "met" every target as well (within a
            quarter of a standard deviation of a value, or within a range); then a miss is filtered.
        until_valid: the same as until="valid".
        max_draws: give up after so many draws; None = 10 n.
        where, rules, alerts, smarts: filters, as in `moldiff.filter`; a valid molecule that fails one is filtered. With
            a score, what fails is not drawn.
        first: number of the first draw. Draw k of a seed is the same molecule in whatever range it is made.
        keep_invalid: also return failed ones, unsanitised, as far as there is anything to return.
        decode: one of `moldiff.choices.Decoding`. "structured" looks for the most probable
            molecule that obeys valence, total charge, connectivity and what elements, formula, charge and fragment
            demand, where plain argmax gives an invalid one; a bond length unlike any of its kind in training then
            counts as a failure. "fitted" looks only among molecules without such lengths. Its search ends after a
            number of steps or, as a safety net, 20 s for a molecule: only where it meets the latter does the result
            depend on the machine.
        renoise: noise what is not valid a little and walk down again, up to so many times (at most 32).
        targets: wanted property values: ``{"logp": 2.5, "gfn2_gap_eV": (6, 8), "tpsa": (None, 60)}``, texts such as
            "logp=2.5", "gfn2_gap_eV=6..8" or "tpsa<60", or `Target`. Pairs include their ends, "<=" and ">=" too, "<"
            and ">" exclude them. Of a range, every draw gets a value of its own. Sizes are drawn to match unless
            ``n_atoms`` is given.
        familiar: want rings and bonds that chemists make: the targets `moldiff.scoring.rarity.FAMILIAR`, that is
            "known_rings>=0.5" (at least 5 training molecules have the rarest ring system) and "weakest_bond>=0.05". It
            needs a model that carries such counts, or ``ring_table``.
        target_method: how targets are met, one of `moldiff.choices.TargetMethod`. "mcmc", the default: the model is
            told what is wanted, and then each draw moves towards it by a Markov chain of its own
            (`moldiff.generation.mcmc`) until it meets its targets or has made ``target_moves`` moves. What fails a
            filter is moved on as well. "condition": the model is told, and no more; so it is with ``guidance``, with a
            score, and for targets that nothing can measure. "smc": the same as ``score="targets"``.
        target_moves: 10 by default, 24 where a range or a bound is wanted; a move takes 6 evaluations.
        guidance: how strongly targets pull, for all or by name: 1 is plain conditioning, more pulls harder and costs
            two evaluations for one, so that a draw costs twice as much (a scale by property may cost more, see
            `moldiff.sampling.guidance`).
        property_model: folder of a property network (`moldiff train property`). Targets that it knows are
            pursued by its gradient, ranges as a whole; on these, the model itself is conditioned only if ``guidance``
            is one scale for all or names them.
        property_scale: how strongly that gradient pulls, 3 by default; 0 = not at all.
        elements: symbols of the only elements, hydrogen included; None = all that the model knows.
        exclude_elements: symbols of forbidden elements.
        formula: exact composition, such as "C7H10O2"; it fixes the number of atoms. A model that can be asked for
            ``heavy_atom_count`` is conditioned on the formula's, unless a target names it.
        charge: exact total charge.
        fragment: atoms that come back unchanged, first and in their order, with their bonds and in their own frame; the
            model adds the rest. An SDF, a molecule with a conformer, or a `Fragment` with more to say: which atoms
            are kept, where new ones attach and how many they are.
        score: draw molecules with the weight exp(score_weight x score), by sequential Monte Carlo (see
            `moldiff.sampling.smc`): a function of a list of RDKit molecules that returns a number for each, or
            None for one that must not be drawn, or a name (see `moldiff.scoring.named.named_score`). Each
            molecule carries the property ``score``. Molecules that are not valid have no score, so only valid ones are
            drawn.
        score_weight: negative for low scores. With 0, every draw is the plain one.
        particles: draws that compete with each other, 16 by default. The last group is made in full, whatever n is; its
            surplus is thrown away. Good ones may come in several copies.
        heavy_only: of a model of heavy atoms, molecules as the network made them. Otherwise RDKit places every hydrogen
            and MMFF94s relaxes them around unmoved heavy atoms; the column ``hydrogens`` tells where it could not.
        hazard_lists: lists of molecules that are withheld, beside the families of `moldiff.chem.filters.hazards`.
        workers: processes for chemistry (spawned: a script needs its ``if __name__ == "__main__"``): a molecule that
            crashes one, or takes a minute, is failed, and the others come out; 0 = all is done in this process.
        rarity: tell of each molecule its rarest ring system, how many training molecules have it, its weakest bond and
            how far that is expected (`moldiff.chem.descriptors.rarity`).
        ring_table: for these and for the scores known_rings and weakest_bond, another model or a file of molecules
            instead of the model's own tables.

    Raises:
        ScoreError: the score function failed; the molecules finished before are its ``molecules``.
        MoldiffError: an argument out of range or of a wrong type, no such model, no such device, too few molecules as
            wanted in ``max_draws`` draws, a model that does not carry what structured decoding or targets need, a
            target that the model does not know, arguments that contradict each other.
    """
    check_flag(keep_invalid, "keep_invalid")
    wanted = SteeringOptions.of(
        n_atoms=n_atoms, targets=targets, familiar=familiar, target_method=target_method, target_moves=target_moves,
        guidance=guidance, property_model=property_model, property_scale=property_scale, elements=elements,
        exclude_elements=exclude_elements, formula=formula, charge=charge, fragment=fragment,
    )  # fmt: skip
    sampling = SamplerOptions.of(
        evaluations=evaluations,
        steps=steps,
        sampler=sampler,
        grid=grid,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )
    options = GenerationOptions(
        n=n,
        until=None if until is None else choice(until, Until, "until"),
        until_valid=until_valid,
        max_draws=max_draws,
        criteria=Criteria.of(where=where, rules=rules, alerts=alerts, smarts=smarts),
        first=first,
        model=model,
        decode=choice(decode, Decoding, "decode"),
        renoise=renoise,
        sampler=sampling,
        steering=wanted,
        score=ScoreOptions.of(score, score_weight, particles, wanted.target_method),
        heavy_only=heavy_only,
        hazards=HazardGate.of(hazard_lists),
        workers=workers,
        rarity=rarity,
        ring_table=ring_table,
    )
    return result_of(generation_run(options), keep_invalid)


def generation_run(options: GenerationOptions) -> GenerateRun:
    """Return the run of some options, its model loaded; MoldiffError as for `generate`, or if an output exists."""
    return GenerateRun(options) if options.score is None else GroupRun(options)
