"""Old words work for one release: one warning each, the same result, never beside the new word."""

import csv
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import moldiff
from moldiff.config import load_training
from moldiff.deprecations import COMMANDS, OPTIONS, TRAINING_KEYS, renamed_arguments, renamed_key, renamed_keys
from moldiff.errors import MoldiffError
from moldiff.generation.options import fragment
from moldiff.generation.options.sampler_options import SamplerOptions
from moldiff.nll.files import score_file

Run = Callable[..., Any]
REPOSITORY = Path(__file__).parents[1]
OLD = """data: set
output: run
optimizer: {ema: 0.99}
own_draws: {share: 0.5, evaluations: [6], calibrate: 0.5}
training: {unconditional_share: 0.25}
"""
NEW = """data: set
output: run
optimizer: {ema_decay: 0.99}
on_policy: {share: 0.5, sampler_evaluations: [6], reweight: 0.5}
training: {p_unconditional: 0.25}
"""


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return list(csv.DictReader(handle))


def test_old_options_are_renamed_with_one_warning() -> None:
    said: list[str] = []
    found = renamed_arguments("generate", ["-n", "3", "--steps", "5", "--steps=6", "--", "--steps"], said.append)
    assert found == ["-n", "3", "--evaluations", "5", "--evaluations=6", "--", "--steps"]
    assert said == ["'--steps' is now '--evaluations'; the old word goes with the next release"]
    assert renamed_arguments("train", ["--steps"], said.append) == ["--steps"]
    with pytest.raises(MoldiffError, match="--evaluations is given twice, once by its old word --steps"):
        renamed_arguments("vary", ["--steps", "5", "--evaluations=5"], said.append)


def test_an_old_word_of_generate(run: Run, model: Path, tmp_path: Path) -> None:
    common = ("generate", "-n", "2", "--model", model, "--n-atoms", "5", "--keep-invalid")
    new = run(*common, "-o", tmp_path / "new.sdf", "--evaluations", "2")
    old = run(*common, "-o", tmp_path / "old.sdf", "--steps", "2")
    assert (new.status, old.status) == (0, 0)
    assert "is now" not in new.err
    assert old.err.count("is now") == 1
    assert "warning: '--steps' is now '--evaluations'" in old.err
    assert table_of(tmp_path / "old.csv") == table_of(tmp_path / "new.csv")
    options = tmp_path / "o.yaml"
    options.write_text("steps: 2\n")
    logging.getLogger("moldiff").setLevel(logging.WARNING)
    file = run(*common, "-o", tmp_path / "file.sdf", "--config", options)
    assert file.status == 0
    assert file.err.count("'steps' is now 'evaluations'") == 1
    assert table_of(tmp_path / "file.csv") == table_of(tmp_path / "new.csv")
    options.write_text("steps: 2\nevaluations: 3\n")
    run(*common, "-o", tmp_path / "both.sdf", "--config", options).assert_refused("given twice")
    run(*common, "-o", tmp_path / "both.sdf", "--steps", "2", "--evaluations", "3").assert_refused("given twice")


def test_score_is_likelihood(run: Run, model: Path, tmp_path: Path) -> None:
    molecules = tmp_path / "in.sdf"
    records = (REPOSITORY / "data" / "sample.sdf").read_text().split("$$$$\n")
    molecules.write_text(f"{records[0]}$$$$\n")
    common = (molecules, "--model", model, "--evaluations", "3", "--repeats", "2")
    new = run("likelihood", *common, "-o", tmp_path / "new.csv", "--chain-steps", "8")
    old = run("score", *common, "-o", tmp_path / "old.csv", "--steps", "8")
    assert (new.status, old.status) == (0, 0)
    assert [line for line in old.err.splitlines() if "is now" in line] == [
        "warning: 'moldiff score' is now 'moldiff likelihood'; the old word goes with the next release",
        "warning: '--steps' is now '--chain-steps'; the old word goes with the next release",
    ]
    assert table_of(tmp_path / "old.csv") == table_of(tmp_path / "new.csv")
    assert run("score", "--help").err.startswith("warning: 'moldiff score'")
    with pytest.warns(FutureWarning, match="'steps' is now 'chain_steps'"):
        score_file(molecules, tmp_path / "p.csv", model=str(model), steps=8, evaluations=3, repeats=2)
    assert table_of(tmp_path / "p.csv") == table_of(tmp_path / "new.csv")


def test_every_new_word_is_known(run: Run) -> None:
    assert "likelihood" in run("--help").out
    assert not set(COMMANDS) & {line.split()[0] for line in run("--help").out.splitlines() if line.split()}
    for command, words in OPTIONS.items():
        text = run(command, "--help").out
        for old, new in words.items():
            assert new in text
            assert f"{old} " not in text


def test_old_keys_of_a_training_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(OLD)
    new.write_text(NEW)
    expected = load_training(new, [])
    assert not caplog.messages
    assert load_training(old, []) == expected
    assert len(caplog.messages) == 5
    assert f"{old}: 'own_draws' is now 'on_policy'; the old word goes with the next release" in caplog.messages
    sets = ["own_draws.share=0.1", "optimizer.ema=0.5", "own_draws.calibrate=2"]
    assert load_training(new, sets) == load_training(old, ["on_policy.share=0.1", "optimizer.ema_decay=0.5",
                                                        "on_policy.reweight=2"])  # fmt: skip
    assert load_training(new, ["training={unconditional_share: 0.1}"]).training.p_unconditional == 0.1
    both = tmp_path / "both.yaml"
    both.write_text(NEW + "own_draws: {draws: 3}\n")
    with pytest.raises(MoldiffError, match="'on_policy' is given twice, once by its old word 'own_draws'"):
        load_training(both, [])
    both.write_text("data: a\noutput: b\noptimizer: {ema: 0.9, ema_decay: 0.9}\n")
    with pytest.raises(MoldiffError, match=r"'optimizer.ema_decay' is given twice"):
        load_training(both, [])
    for sets in (["own_draws.calibrate=2", "on_policy.reweight=1"], ["on_policy.reweight=1", "own_draws.calibrate=2"]):
        with pytest.raises(MoldiffError, match=r"set 'on_policy.reweight' is given twice, once by its old word 'own_"):
            load_training(new, sets)
    assert load_training(new, ["training.steps=3", "training.steps=4"]).training.steps == 4
    both.write_text("data: a\noutput: b\nown_draws: {evaluations: [3], sampler_evaluations: [4]}\n")
    with pytest.raises(MoldiffError, match=r"'on_policy.sampler_evaluations' .* old word 'own_draws.evaluations'$"):
        load_training(both, [])
    guide = tmp_path / "guide.yaml"
    guide.write_text("data: a\noutput: b\nkind: property\nfor_model: qm9\nproperties: [logp]\n")
    assert getattr(load_training(guide, []), "guided_model", None) == "qm9"


def test_what_is_stored_is_read_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    assert renamed_keys({"own_draws": {"calibrate": 1, "teacher": "t"}, "other": 2}) == {
        "on_policy": {"reweight": 1, "teacher": "t"}, "other": 2,
    }  # fmt: skip
    assert not caplog.messages


def test_a_dotted_key_is_renamed_from_its_section_on() -> None:
    assert renamed_key("own_draws.evaluations") == "on_policy.sampler_evaluations"
    assert renamed_key("own_draws.share") == "on_policy.share"
    assert renamed_key("training.steps") == "training.steps"
    assert all(renamed_key(new) == new for new in TRAINING_KEYS.values())


def test_old_words_of_python(model: Path) -> None:
    with pytest.warns(FutureWarning, match="'steps' is now 'evaluations'"):
        assert SamplerOptions.of(steps=3) == SamplerOptions.of(evaluations=3)
    with pytest.raises(MoldiffError, match="evaluations is given twice, once by its old word steps"):
        SamplerOptions.of(steps=3, evaluations=3)
    with pytest.warns(FutureWarning, match="'FragmentWish' is now 'Fragment'"):
        assert fragment.FragmentWish is fragment.Fragment
    with pytest.raises(AttributeError, match="no attribute 'Wish'"):
        _ = fragment.Wish
    with pytest.warns(FutureWarning, match="'steps' is now 'evaluations'"):
        moldiff.generate(1, model=model, steps=1, n_atoms=5)


def test_a_warning_points_at_the_users_line(model: Path) -> None:
    loaded = moldiff.load(model, device="cpu")
    calls: list[Callable[[], object]] = [
        lambda: moldiff.generate(1, model=model, steps=1, n_atoms=5),
        lambda: loaded.generate(1, steps=1, n_atoms=5),
        lambda: SamplerOptions.of(steps=3),
        lambda: fragment.FragmentWish,
    ]
    for call in calls:
        with pytest.warns(FutureWarning) as caught:
            call()
        ours = [one for one in caught if one.category is FutureWarning]  # old libraries have deprecations of their own
        assert [(one.filename, one.lineno) for one in ours] == [(__file__, call.__code__.co_firstlineno)]


ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "renamed.md"})]
OTHERS = [*sorted((ROOT / "configs").iterdir()), *sorted((ROOT / "scripts").rglob("*.py"))]


def old_words(text: str) -> list[str]:
    """Return what a page or a script says by old words of commands, options and keys."""
    patterns = [rf"moldiff {old}\b" for old in COMMANDS]
    for command, words in OPTIONS.items():
        patterns += [rf"moldiff {command}\b[^`\n]*{old}\b" for old in words]
    patterns += [rf"\b{re.escape(old)}(?:=|\.\w+=|: )" for old in TRAINING_KEYS]
    return [found[0] for pattern in patterns for found in re.finditer(pattern, text)]


@pytest.mark.parametrize("path", PAGES + OTHERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_configurations_and_scripts_use_the_new_words(path: Path) -> None:
    assert old_words(path.read_text(encoding="utf-8")) == []


def test_old_words_are_found() -> None:
    assert old_words("moldiff score a.sdf")
    assert old_words("moldiff generate -n 3 --steps 5")
    assert old_words("--set own_draws.share=1")
    assert old_words("for_model: qm9")
    assert not old_words("moldiff train --set training.steps=4; `moldiff vary`, --steps; a model own_draws")
