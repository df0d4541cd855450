"""Go on with a model of heavy atoms on one GPU: stages of training on data and rounds on own draws, by the clock.

    moldiff data prepare drugs.sdf.gz -o mmff --hydrogens implicit --properties logp,tpsa,qed,...
    moldiff data prepare data/drugs_gfn2/*.parquet -o gfn2 --hydrogens implicit --vocabulary-of drugs --properties ...
    python -m scripts.drugs_model drugs --mmff mmff --gfn2 gfn2 --stages scripts/drugs_model/third_revision.json -o OUT

A stage of kind "train" trains on the data sets that its ``mix`` names; where coordinates of force-field molecules are
coarse (``fine`` below 1), they teach graphs alone at low noise. A stage of kind "round" makes ``draws``, judges them by
RDKit in other processes while training goes on, lets walks that end badly leave at an earlier state and go on with
other noise (``repairs`` times), weights what is valid (`moldiff.training.on_policy.labels`) and trains on all their
states too. After each stage the averaged weights stand in ``-o`` as STAGE.safetensors, beside log.jsonl and run.json;
``--weights`` goes on from such a file. With ``--device cpu`` and ``"steps"`` in the stages, all of it runs without a
card, slowly. The stages of second_revision.json made the second revision of ``drugs`` on an H200 in 14 minutes (by a
forerunner of this script: 11,000 to 12,800 molecules/s trained, 1,400 draws/s at 20 evaluations). Those of
third_revision.json, with ``--temperature 0.6 --seconds 560``, made the third on an H200 in 575 s by this script: 115 s
until all was compiled and captured, then 12,500 to 13,500 molecules/s trained, 1,650 draws/s; its time was over when
the rounds r-1, r-2 and s1 were done, and the average of r-2 and s1 (`moldiff models average`) is what became of it.
Those of fourth_revision.json made the fourth out of it on one CPU core in 65 minutes, with ``--temperature 0.6 --device
cpu --eager --batch 48 --ema 0.997 --seed 41``: 11 to 14 draws/s at 8 evaluations, about 40 molecules/s trained.
Those of fifth_revision.json went on from the fourth, with ``--temperature 1 --seed 61 --seconds 512``, on an H200:
105 s until all was compiled, then 12,800 to 13,100 molecules/s trained, four rounds of 18,432 draws, 3.2 million
molecules in all; two parts of its last average and one of the fourth revision are the fifth.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from moldiff.chem.descriptors.rarity import RarityTables
from moldiff.datasets.batching import evenly_spaced
from moldiff.datasets.chemistry import training_chemistry
from moldiff.datasets.prepared import DeviceArrays, PreparedDataset
from moldiff.devices import resolve_device, usable_cores
from moldiff.evaluation.load_reference import molecules_of
from moldiff.files import write_json
from moldiff.models.building import load_weights
from moldiff.models.folder import load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS
from moldiff.nn.compiled import compile_layers
from moldiff.provenance import header
from moldiff.sampling.smc import effective_sample_size, systematic_resampling
from moldiff.training.on_policy.labels import Traits, label_log_weights
from moldiff.training.references import rarity_tables
from moldiff.training.validation import validate_denoiser
from scripts.drugs_model.judging import Judges, Verdict
from scripts.drugs_model.own_draws import OwnStates, Walker, Walks, Wanted, joined
from scripts.drugs_model.stages import Batches, Stage
from scripts.drugs_model.trainer import COARSE_GEOMETRY, WEIGHTS, Trainer

logger = logging.getLogger("drugs_model")

WIDTHS = (14, 18, 20, 22, 24, 26, 28, 30, 32, 36, 40, 50)
OWN, MMFF, GFN2 = "own", "mmff", "gfn2"
NO_WISH = 0.5  # share of own draws that are asked for nothing


def _is_usual(verdict: Verdict) -> bool:
    """Return True for what is valid, of ring systems and bonds that the data has."""
    return verdict.is_valid and verdict.traits.ring > 0 and verdict.traits.bond >= 0.05


class Training:
    """All that the stages share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out, self.rows, self.started = options, options.out, options.batch, time.monotonic()
        self.device = resolve_device(options.device)
        self.cuda = self.device.type == "cuda"
        folder = load_model_folder(options.model)
        self.model = MoleculeModel.from_folder(folder, self.device)
        if options.temperature is not None:
            self.model = self.model.at_temperature(options.temperature)
        if options.weights is not None:
            load_weights(self.model.denoiser, load_file(options.weights, str(self.device)), str(options.weights))
        self.sets = {MMFF: PreparedDataset.open(options.mmff), GFN2: PreparedDataset.open(options.gfn2)}
        self.arrays = {name: self._arrays(data) for name, data in self.sets.items()}
        tables = rarity_tables(self.sets[MMFF], folder)
        chemistry = training_chemistry(self.sets[MMFF])
        self.judges = Judges(
            options.workers, self.model.vocabulary, chemistry, tables.to_tensors(), self.model.conditions
        )
        like = np.random.default_rng(options.seed).permutation(self.sets[MMFF].indices("train"))[: options.like]
        self.like = self._traits(like, tables)
        self.trainer = Trainer(self.model, self.rows, (MMFF, GFN2, OWN), options.ema, graphs=self.cuda)
        self.walker, self.own = Walker(self.trainer, WIDTHS), None  # type: tuple[Walker, OwnStates | None]
        self.generator = np.random.default_rng(options.seed + 100)
        self.batches = {
            name: Batches(
                data.sizes[data.indices("train")], data.indices("train"), self.rows, self.walker.width_of, seed
            )
            for seed, (name, data) in enumerate(self.sets.items(), options.seed)
        }
        self.steps, self.safe = 0, [value.clone() for value in self.trainer.average]
        self.log = open(self.out / "log.jsonl", "a", encoding="utf-8")  # noqa: SIM115 - as long as the process

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def is_over(self) -> bool:
        """Whether the time of the whole is."""
        return self.passed >= self.options.seconds

    def _traits(self, rows: np.ndarray, tables: RarityTables) -> list[Traits]:
        """Return traits of training molecules; made once for all runs where a file is given to keep them."""
        kept = self.options.traits
        if kept is not None and kept.exists():
            with gzip.open(kept, "rt", encoding="utf-8") as lines:
                return [Traits(*json.loads(line)) for line in lines]
        logger.info("traits of %d training molecules", len(rows))
        traits = [Traits.of(mol, tables, counted=True) for mol in molecules_of(self.sets[MMFF], rows)]
        if kept is not None:
            with gzip.open(kept, "wt", encoding="utf-8") as lines:
                lines.writelines(json.dumps([one.motifs, one.ring, one.bond]) + "\n" for one in traits)
        return traits

    def _arrays(self, data: PreparedDataset) -> DeviceArrays:
        model = self.model
        return DeviceArrays(
            data, self.device, properties=model.conditions, vocabulary=model.vocabulary, absent_as_unknown=True
        )

    def step(self, stage: Stage, mix: Mapping[str, float], rates: tuple[float, float]) -> None:
        """Take one step of a stage on a batch of a source that is drawn by its share."""
        names = [name for name in mix if name != OWN or self.own is not None]
        shares = np.array([mix[name] for name in names])
        name = names[self.generator.choice(len(names), p=shares / shares.sum())]
        positions = {MMFF: (1.0, stage.fine), GFN2: (1.0, 1.0), OWN: stage.own_positions}
        self.trainer.set_step(name, rates, positions[name])
        if name == OWN:
            assert self.own is not None
            self.trainer.step_on_states(*self.own.batch(self.rows))
        else:
            width, rows = self.batches[name].next()
            chosen = torch.from_numpy(rows)
            chosen = chosen.pin_memory().to(self.device, non_blocking=True) if self.cuda else chosen
            clean = self.arrays[name].assemble(chosen, width)
            self.trainer.step_on_data(clean, bool(self.generator.random() < 0.5))
        self.steps += 1

    def train(self, stage: Stage) -> None:
        """Train for a stage's time, and go back to the average before with half the rates if a loss is not finite."""
        begun = last = time.monotonic()
        number, rates, every = 0, stage.rates, 250 if self.cuda else 10
        while True:
            share = max((time.monotonic() - begun) / stage.seconds, number / (stage.steps or math.inf))
            if share >= 1 or self.is_over:
                break
            high, low = stage.factor
            fall = math.sqrt(max(0.0, share - stage.hold) / (1 - stage.hold))
            factor = (high + (low - high) * fall) * min(1.0, (number + 1) / stage.warm)
            self.step(stage, stage.mix, (rates[0] * factor, rates[1] * factor))
            number += 1
            if number % every:
                continue
            found, now = self.trainer.read(), time.monotonic()
            pace, last = every * self.rows / (now - last), now
            line = {"stage": stage.name, "step": number, "factor": round(factor, 4), "molecules_per_s": round(pace)}
            print(json.dumps(line | found), file=self.log, flush=True)
            if number % (4 * every) == 0:
                logger.info("%s step %d, %.0f molecules/s, rates x %.2f: %s", stage.name, number, pace, factor, found)
            if all(math.isfinite(value) for row in found.values() for value in row):
                self.safe = [value.clone() for value in self.trainer.average]
            else:
                logger.warning("not finite: back to the last average, with half the rates")
                self.trainer.back_to(self.safe)
                rates = (rates[0] / 2, rates[1] / 2)
        logger.info("%s: %d steps in %.1f s", stage.name, number, time.monotonic() - begun)

    def draw(self, count: int, evaluations: int, free: float, keep_states: bool, seed: int) -> dict[int, Walks]:
        """Make draws of sizes, and in part with conditions, of training molecules."""
        data, generator, begun = self.sets[MMFF], np.random.default_rng(seed), time.monotonic()
        rows = generator.choice(data.indices("train"), size=count)
        known = data.property_table(self.model.conditions, absent_as_unknown=True)[rows]
        wanted = Wanted.of(data.sizes[rows].astype(np.int64), known, free, generator)
        walks = self.walker.walk(wanted, evaluations, keep_states)
        logger.info("%d draws at %d evaluations in %.1f s", count, evaluations, time.monotonic() - begun)
        return walks

    def judge(
        self, walks: Mapping[int, Walks], label: str, anew: bool, meanwhile: Callable[[], None] | None = None
    ) -> dict[Any, Verdict]:
        """Judge draws, on demand those that are not valid anew by structured decoding; say how many are."""
        found = self.judges.verdicts([one for width, some in walks.items() for one in some.draws(width)], meanwhile)
        valid = [verdict.traits for verdict in found.values() if verdict.is_valid]
        why = Counter(verdict.reason.split(":")[0] for verdict in found.values() if not verdict.is_valid)
        logger.info(
            "%s: %.1f %% of %d valid; of these, ring systems known %.1f %%, weakest bond from 0.05 %.1f %%; %s",
            label, 100 * len(valid) / len(found), len(found),
            100 * float(np.mean([one.ring > 0 for one in valid])),
            100 * float(np.mean([one.bond >= 0.05 for one in valid])), dict(why.most_common()),
        )  # fmt: skip
        failed: set[Any] = {key for key, verdict in found.items() if not verdict.is_valid}
        if anew and failed:
            again = [one for width, some in walks.items() for one in some.draws(width, failed)]
            second = self.judges.verdicts(again, meanwhile)
            found |= {key: verdict for key, verdict in second.items() if verdict.is_valid}
        return found

    def round(self, stage: Stage) -> None:
        """Draw with the average, choose labels, train on them."""
        self.trainer.to_average()
        generator = np.random.default_rng(self.options.seed + self.steps)
        walks = self.draw(stage.draws, stage.evaluations, NO_WISH, True, self.options.seed + self.steps)
        without = dict(stage.mix) if self.own else {name: share for name, share in stage.mix.items() if name != OWN}
        high = (stage.rates[0] * stage.factor[0], stage.rates[1] * stage.factor[0])
        meanwhile = None if not self.cuda else lambda: self.step(stage, without, high)
        verdicts = self.judge(walks, stage.name, True, meanwhile)
        unusual = {key for key, verdict in verdicts.items() if not _is_usual(verdict)}
        for _ in range(stage.repairs):
            walks, origins = self.walked_anew(walks, unusual, stage.evaluations, generator)
            found = self.judges.verdicts(
                [one for width, some in walks.items() for one in some.draws(width) if one.key in origins], meanwhile
            )
            usual = {key: verdict for key, verdict in found.items() if _is_usual(verdict)}
            logger.info("%d of %d walked anew are usual", len(usual), len(origins))
            verdicts |= usual
            unusual -= {origins[key] for key in usual}
        keys = [key for key, verdict in verdicts.items() if verdict.is_valid]
        traits = [verdicts[key].traits for key in keys]
        weights = label_log_weights(traits, self.like, strength=stage.strength, known=stage.known)
        copies = systematic_resampling(weights, 0.5)
        logger.info(
            "%d labels, effective share %.0f %%, %d different, the heaviest %d times",
            len(keys), 100 * effective_sample_size(weights) / len(keys), np.count_nonzero(copies), copies.max(),
        )  # fmt: skip
        counted = {key: int(count) for key, count in zip(keys, copies, strict=True) if count}
        grid, properties = self.walker.grid(stage.evaluations), len(self.model.conditions)
        self.own = OwnStates(walks, grid, verdicts, counted, properties, self.options.seed)
        self.train(stage)

    def walked_anew(
        self, walks: dict[int, Walks], keys: Collection[Any], evaluations: int, generator: np.random.Generator
    ) -> tuple[dict[int, Walks], dict[Any, Any]]:
        """Return the walks and behind them new ones that leave some of them, and which left which, by key."""
        rows = {width: np.array(sorted(row for at, row in keys if at == width)) for width in walks}
        left = self.walker.walk_anew(walks, {w: some for w, some in rows.items() if len(some)}, evaluations, generator)
        origins = {
            (width, len(walks[width].n_atoms) + number): (width, int(row))
            for width in left
            for number, row in enumerate(rows[width])
        }
        return {w: joined([some, left[w]] if w in left else [some]) for w, some in walks.items()}, origins

    def validate(self, stage: Stage) -> None:
        """Tell the package's validation losses of the average."""
        weights = dict(zip(FIELDS, WEIGHTS, strict=True))
        with self.trainer.averaged():
            denoiser = copy.deepcopy(self.model.denoiser)  # not compiled: its batches are of another size
        for name, data in self.sets.items():
            rows = torch.tensor(evenly_spaced(data.indices("validation").tolist(), 512))
            sizes: Tensor = torch.from_numpy(data.sizes)[rows]
            found = validate_denoiser(denoiser, self.model, self.arrays[name], sizes, rows, weights, self.cuda)
            logger.info("%s, validation molecules of %s: %s", stage.name, name, found.summary())

    def take(self, stage: Stage) -> None:
        """Take one stage."""
        if stage.kind == "train":
            self.train(stage)
        elif stage.kind == "round":
            self.round(stage)
        elif stage.kind == "validate":
            self.validate(stage)
        elif stage.kind == "evaluate":
            walks = self.draw(stage.draws, stage.evaluations, 1.0, False, 7)
            self.judge(walks, f"{stage.name}, unconditional, {stage.evaluations} evaluations", False)
        else:
            raise SystemExit(f"stage {stage.name}: unknown kind {stage.kind}")
        if stage.kind in ("train", "round"):
            save_file(dict(self.trainer.weights_of_average()), self.out / f"{stage.name}.safetensors")

    def run(self, stages: list[Stage]) -> None:
        """Take the stages one by one."""
        for stage in stages:
            name, number = stage.name, 0
            while not self.is_over and (not number or self.passed < stage.until):
                number += 1
                self.take(replace(stage, name=f"{name}-{number}") if stage.until else stage)
        self.judges.close()
        self.log.close()


def main() -> None:
    """Read the stages and take them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="model to go on from")
    parser.add_argument("--weights", type=Path, help="weights of an earlier run's stage, in the model's shape")
    parser.add_argument("--mmff", type=Path, required=True, help="prepared set of force-field geometries")
    parser.add_argument("--gfn2", type=Path, required=True, help="prepared set of GFN2-xTB geometries")
    parser.add_argument("--stages", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder, new")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=max(1, usable_cores() - 2))
    parser.add_argument("--like", type=int, default=20_000, help="training molecules whose proportions draws get")
    parser.add_argument("--traits", type=Path, help="file to keep these molecules' traits in, for the next run")
    parser.add_argument("--temperature", type=float, help="that own draws are made at; the model's own by default")
    parser.add_argument("--seconds", type=float, default=1e9, help="after which everything ends")
    parser.add_argument("--eager", action="store_true", help="do not compile the layers")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    stages = [Stage(**stage) for stage in json.loads(options.stages.read_text(encoding="utf-8"))]
    options.out.mkdir(parents=True)
    torch.manual_seed(options.seed)
    training = Training(options)
    if training.cuda:
        torch.set_float32_matmul_precision("high")
    if training.cuda and not options.eager:
        compile_layers(training.model.denoiser)
    training.run(stages)
    record = {
        "stages": json.loads(options.stages.read_text(encoding="utf-8")),
        "options": {name: str(value) for name, value in vars(options).items()},
        "molecules": training.steps * options.batch,
        "data": {name: str(data.info["data_hash"]) for name, data in training.sets.items()},
        "loss_weights": WEIGHTS,
        "coarse_geometry": COARSE_GEOMETRY,
        "seconds": round(training.passed),
        **header(training.device),
    }
    write_json(options.out / "run.json", record)


if __name__ == "__main__":
    main()
