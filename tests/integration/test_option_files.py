"""Options in a YAML file: the very files that the command line writes, who wins, and what is refused in one line."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from moldiff.chem.descriptors import score_functions
from moldiff.cli.main import app

Run = Callable[..., Any]

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder beside the models."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def written(run: Run, *arguments: str | Path) -> tuple[bytes, bytes]:
    """Run a command that writes x.sdf, and return the bytes of the SDF and of the CSV."""
    result = run(*arguments, "--overwrite")
    assert result.status == 0, result.err
    return Path("x.sdf").read_bytes(), Path("x.csv").read_bytes()


def test_generate_writes_the_same_bytes_from_a_file(run: Run, packed: Path) -> None:
    Path("wishes.yaml").write_text(
        f"number: 4\nout: x.sdf\nmodel: {packed}\nn_atoms: 5..12\nevaluations: 3\nseed: 3\ntarget: logp=0.5..2\n"
        "guidance: 'logp=2'\nelements: [C, O, H]\nexclude-elements: S\ncharge: 0\ndecode: argmax\n"
        "keep-invalid: true\nuntil-valid: false\nsampler: ddpm\nprecision: float32\ntrajectory: [x.xyz]\n"
    )
    file = written(run, "generate", "--config", "wishes.yaml")
    trajectory = Path("x.xyz").read_bytes()
    options = written(
        run, "generate", "-n", "4", "-o", "x.sdf", "--model", packed, "--n-atoms", "5..12", "--evaluations", "3",
        "--seed", "3", "--target", "logp=0.5..2",
        "--guidance", "logp=2", "--elements", "C,O,H",
        "--exclude-elements", "S", "--charge", "0", "--decode", "argmax", "--keep-invalid", "--sampler", "ddpm",
        "--precision", "float32",
        "--trajectory", "x.xyz",
    )  # fmt: skip
    assert file == options
    assert trajectory == Path("x.xyz").read_bytes()
    assert file[0]
    assert written(run, "generate", "--config", "wishes.yaml", "--seed", "4") != file


def test_vary_and_conformers_write_the_same_bytes_from_a_file(run: Run, model: Path) -> None:
    records = (REPOSITORY / "data" / "sample.sdf").read_text().split("$$$$\n")
    Path("in.sdf").write_text("".join(f"{record}$$$$\n" for record in records[:2]))
    for command, key, value in (("vary", "strength", "0.5"), ("conformers", "redraws", "1")):
        Path("o.yaml").write_text(
            f"number: 3\nout: x.sdf\nmodel: {model}\nevaluations: 3\nseed: 2\nkeep-invalid: true\n{key}: {value}\n"
        )
        options = ["-n", "3", "-o", "x.sdf", "--evaluations", "3", "--seed", "2", "--keep-invalid", f"--{key}", value]
        file = written(run, command, "in.sdf", "--config", "o.yaml")
        assert file == written(run, command, "in.sdf", "--model", model, *options)
        assert file[0]


def test_what_the_command_line_says_wins(run: Run, packed: Path) -> None:
    Path("o.yaml").write_text(f"number: 9\nmodel: {packed}\nevaluations: 3\ntarget: [logp=0.5, logp=9]\nn-atoms: 5\n")
    result = run("generate", "-n", "2", "--config", "o.yaml", "--target", "logp=1", "--overwrite", "-o", "x.sdf")
    assert result.status == 0
    assert result.out.startswith("2 requested")
    assert "\nlogp=1: " in result.out


def test_words_of_yaml_stay_texts(run: Run, packed: Path) -> None:
    """N is an element, 1e-3 a number."""
    Path("o.yaml").write_text(f"model: {packed}\nexclude-elements: N\nscore: qed\nscore-weight: 1e-3\nelements: NO\n")
    run("generate", "--config", "o.yaml").assert_refused("NO")
    Path("o.yaml").write_text(f"model: {packed}\nscore-weight: 1e-3\n")
    run("generate", "--config", "o.yaml").assert_refused("--score-weight needs a score")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("evaluation: 3", ["o.yaml: unknown key 'evaluation' (did you mean 'evaluations'?)"]),
        ("targets: [logp=1]", ["unknown key 'targets' (did you mean 'target'?)"]),
        ("config: o.yaml", ["unknown key 'config'"]),
        ("5: 4", ["unknown key '5'"]),
        ("evaluations: [1, 2]", ["o.yaml: evaluations takes one value, not a list"]),
        ("n-atoms: {low: 1}", ["o.yaml: n-atoms takes one value, not keys and values"]),
        ("elements: [[C]]", ["o.yaml: elements takes one value, not a list"]),
        ("target: {logp: 1}", ["o.yaml: target takes one value, not keys and values"]),
        ("seed:", ["o.yaml: seed takes one value, not nothing"]),
        ("score: true", ["o.yaml: score takes one value, not true"]),
        ("until-valid: 3", ["o.yaml: until-valid must be true or false, not '3'"]),
        ("n-atoms: 5\nn_atoms: 6", ["o.yaml: n_atoms stands twice"]),
        ("seed: 1\nseed: 2", ["key 'seed' stands twice"]),
        ("number: many", ["--number"]),
        ("number: 0", ["--number"]),
        ("decode: dashed", ["--decode", "fitted"]),
        ("n-atoms: 9..5", ["--n-atoms 9..5"]),
        ("", ["o.yaml must hold keys and values, it is empty"]),
        ("- evaluations", ["o.yaml must hold keys and values, not list"]),
        ("a: [", ["o.yaml is not valid YAML"]),
    ],
)
def test_a_bad_file_is_one_line(run: Run, here: Path, text: str, words: list[str]) -> None:
    Path("o.yaml").write_text(text)
    run("generate", "--config", "o.yaml").assert_refused(*words)
    assert os.listdir(here) == ["o.yaml"]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["generate"], "score: evil.py:f\nscore-weight: 1\n"),
        (["generate"], "score-weight: 1\nscore: 'evil:f'\n"),
        (["filter", "in.smi"], "out: x.sdf\ncommand: 'x=touch ran {smiles}'\n"),
        (["filter", "in.smi"], "out: x.sdf\ncommand: ['x=touch ran {smiles}']\n"),
        (["screen", "in.smi"], "out: run\ncommand: ['x=touch ran {smiles}']\n"),
        (["generate"], "where: 'evil.py:f>0'\n"),
        (["generate"], "where: ['mw<100', 'evil:f >= 0']\n"),
        (["filter", "in.smi"], "out: x.sdf\nwhere: 'evil.py:f>0'\n"),
        (["describe", "in.smi"], "out: x.sdf\nwhere: ['./evil.py:f=0..2', 'mw<100']\n"),
        (["filter", "in.smi"], "out: x.sdf\nrank: 'evil.py:f'\n"),
        (["filter", "in.smi"], "out: x.sdf\nrank: 'evil:f:low'\n"),
        (["filter", "in.smi"], "out: x.sdf\nrank: 'evil:f=2.5'\n"),
        (["screen", "in.smi"], "out: run\nwhere: 'evil.py:f>0'\n"),
        (["screen", "in.smi"], "out: run\nrank: 'evil.py:f'\n"),
        (["screen", "in.smi"], "out: run\nrank: ['evil.py:f:max:0..1', 'qed:max:0..1']\n"),
        (["screen", "in.smi"], "out: run\nrank: 'evil:f : min:0..1*2'\n"),
    ],
)
def test_no_file_can_run_code(run: Run, here: Path, packed: Path, command: list[str], text: str) -> None:
    Path("evil.py").write_text("open('ran', 'w')\n\ndef f(molecules):\n    return [1.0 for _ in molecules]\n")
    Path("in.smi").write_text("CCO\n")
    Path("o.yaml").write_text(text)
    run(*command, "--config", "o.yaml").assert_refused("runs code, which no file may ask for", "command line: --")
    assert not Path("ran").exists() and not Path("x.sdf").exists() and not Path("run").exists()


def test_no_option_of_any_command_runs_code_for_a_file(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an option is called: one that comes later must not be forgotten."""
    Path("evil.py").write_text("open('ran', 'w')\n\ndef f(molecules):\n    return [1.0 for _ in molecules]\n")
    Path("in.smi").write_text("CCO\n")
    loaded: list[str] = []
    monkeypatch.setattr(score_functions, "_module", lambda place: loaded.append(place))
    files = {"generate": [], "vary": ["in.smi"], "filter": ["in.smi"], "screen": ["run", "in.smi"]}
    group = typer.main.get_command(app)
    tried = 0
    for name, words in files.items():
        command: Any = group.commands[name]  # type: ignore[attr-defined]
        command = command.commands["run"] if name == "screen" else command
        for option in {word[2:] for one in command.params for word in one.opts if word.startswith("--")} - {"config"}:
            for text in ("evil.py:f", "evil.py:f>0"):
                Path("o.yaml").write_text(f"{option}: ['{text}']\n")
                run(name, *words, "--config", "o.yaml")
                assert not loaded, (name, option, text)
                tried += 1
    assert tried > 150


def test_the_command_line_may_run_code_that_a_file_names_in_vain(run: Run, here: Path) -> None:
    Path("mine.py").write_text("def f(molecules):\n    return [1.0 for _ in molecules]\n")
    Path("evil.py").write_text("open('ran', 'w')\n\ndef f(molecules):\n    return [1.0 for _ in molecules]\n")
    Path("in.smi").write_text("CCO\n")
    Path("o.yaml").write_text("out: x.csv\nwhere: 'evil.py:f>0'\nrank: 'qed'\n")
    assert run("filter", "in.smi", "--config", "o.yaml", "--where", "mine.py:f>0").status == 0
    assert "mine.py:f" in Path("x.csv").read_text()
    assert not Path("ran").exists()
    Path("o.yaml").write_text("where: 'mine.py:f>5'\n")
    assert run("filter", "in.smi", "--config", "o.yaml", "--where", "mine.py:f>0", "-o", "y.csv").status == 0


def test_scores_that_are_no_code_may_stand_in_a_file(run: Run, packed: Path) -> None:
    Path("o.yaml").write_text(f"model: {packed}\nscore: 'smarts:[#8]'\nscore-weight: x\n")
    run("generate", "--config", "o.yaml").assert_refused("--score-weight")


def test_a_file_that_is_not_there(run: Run) -> None:
    for command in (["generate"], ["vary", "x.sdf"], ["conformers", "x.sdf"]):
        run(*command, "--config", "none.yaml").assert_refused("config none.yaml cannot be read: No such file")


def test_an_option_of_another_command_is_unknown(run: Run) -> None:
    Path("o.yaml").write_text("target: logp=1\n")
    run("vary", "x.sdf", "--config", "o.yaml").assert_refused("unknown key 'target'")


def test_the_example_of_the_repository_works(run: Run) -> None:
    example = REPOSITORY / "configs" / "steer.yaml"
    result = run("generate", "--config", example, "-n", "1", "--evaluations", "15", "--target-moves", "2")
    assert result.status == 0, result.err
    assert "by mcmc: " in result.out
    assert Path("steered.sdf").is_file()
