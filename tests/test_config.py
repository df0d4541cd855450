"""Training files: what they may hold, overrides, and one line for each mistake."""

from collections.abc import Callable
from pathlib import Path

import pytest

from moldiff.config import PropertyTrainConfig, TrainConfig, load_training
from moldiff.errors import MoldiffError

BASE = "data: d\noutput: o\n"
Read = Callable[..., TrainConfig]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load a training file of some text with some overrides."""

    def load(text: str, *overrides: str) -> TrainConfig:
        path = tmp_path / "train.yaml"
        path.write_text(text, encoding="utf-8")
        return load_training(path, list(overrides))

    return load


def refusal(read: Read, text: str, *overrides: str) -> str:
    """Return the one line that refuses a file."""
    with pytest.raises(MoldiffError) as caught:
        read(text, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
OPTION_FILES = ("screen.yaml", "steer.yaml")  # options of a command, see tests/integration/test_option_files.py


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.name not in OPTION_FILES], ids=lambda p: p.name)
def test_the_files_of_the_repository_are_valid(path: Path) -> None:
    assert load_training(path, []).training.steps > 0


def test_what_is_not_given_has_its_default(read: Read) -> None:
    config = read(BASE + "network: {layers: 3}\n")
    assert config.network.layers == 3
    assert config.network.node_width == 192
    assert config.data == Path("d")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("netwrok: {}\n", "unknown key 'netwrok' (did you mean 'network'?)"),
        ("network: {layer: 3}\n", "unknown key 'network.layer' (did you mean 'network.layers'?)"),
        ("training: {batchsize: 3}\n", "unknown key 'training.batchsize' (did you mean 'training.batch_size'?)"),
        ("zzzzzzzz: 1\n", "unknown key 'zzzzzzzz'"),
    ],
)
def test_an_unknown_key_names_the_nearest(read: Read, text: str, words: str) -> None:
    assert words in refusal(read, BASE + text)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.step=3", "did you mean 'training.steps'?"),
        ("training.steps=0", "training.steps"),
        ("training.steps=many", "training.steps must be a whole number, not 'many'"),
        ("training.steps=1.5", "training.steps must be a whole number, not 1.5"),
        ("training.batch_size=-1", "training.batch_size must be at least 1, not -1"),
        ("optimizer.ema_decay=1", "optimizer.ema_decay must be below 1, not 1"),
        ("optimizer.learning_rate=.nan", "learning_rate"),
        ("optimizer.learning_rate=.inf", "learning_rate"),
        ("optimizer.learning_rate=1e999", "finite"),
        ("network.l_max=3", "network.l_max must be at most 2, not 3"),
        ("training.steps", "must look like key=value"),
        ("=3", "must look like key=value"),
        ("data.folder=3", "'data' is a value, not a section"),
        ("network=3", "network must be a section with keys below it, not 3"),
        ("network=", "network must be a section with keys below it, not empty"),
        ("network=[layers]", "network must be a section with keys below it, not ['layers']"),
        ("sampling.conformers=5", "sampling.conformers must be a section with keys below it, not 5"),
        ("conditions=logp", "conditions must be a list such as [a, b], not 'logp'"),
        ("conditions=[1]", "conditions.0 must be a text, not 1"),
        ("on_policy.sampler_evaluations=20", "on_policy.sampler_evaluations must be a list such as [a, b], not 20"),
        ("on_policy.sampler_evaluations=[]", "on_policy.sampler_evaluations must be a list of at least 1, not []"),
        ("on_policy.sampler_evaluations=[8, 2]", "on_policy.sampler_evaluations.1 must be at least 3, not 2"),
        ("data=", "data must be a path, not empty"),
        ("output=[a]", "output must be a path, not ['a']"),
        ("init_from=true", "init_from must be a text, not true"),
        ("training.bf16=maybe", "training.bf16 must be true or false, not 'maybe'"),
        ("optimizer.learning_rate=1e300", "optimizer.learning_rate must be at most 1000"),
        ("optimizer.weight_decay=1e39", "optimizer.weight_decay must be at most 1000"),
        ("optimizer.gradient_clip=1e39", "optimizer.gradient_clip must be at most 1000000000000"),
        ("training.compile=maybe", "training.compile must be 'auto' or true or false, not 'maybe'"),
        ("curve.sigma_max=wide", "curve.sigma_max must be a number, not 'wide'"),
        ("loss.pos=0", "loss.pos must be above 0, not 0"),
        ("feedback=", "feedback: it is empty; feedback: {} is a section without keys"),
        ("feedback=[runs]", "feedback must be a section with keys below it, not ['runs']"),
        ("feedback.model=runs", "unknown key 'feedback.model' (did you mean 'feedback.property_model'?)"),
        ("network.feedback={}", "network.feedback.properties is missing"),
        (
            "network.feedback={properties: [logp], estimator: {layers: 65}}",
            "network.feedback.estimator.layers must be at most 64, not 65",
        ),
        ("training.devices=5", "training: batch_size 48 must be a multiple of devices 5"),
        (
            "training.p_single_property=0.6",
            "training: p_unconditional 0.5 and p_single_property 0.6 are shares of the same rows: together at most 1",
        ),
        ("training.steps=[1", "not valid YAML"),
    ],
)
def test_a_bad_override_names_the_key(read: Read, override: str, words: str) -> None:
    assert words in refusal(read, BASE, override)


def test_overrides_win_and_may_open_a_section(read: Read) -> None:
    config = read(
        BASE + "training: {steps: 5}\n",
        "training.steps=7",
        "optimizer.learning_rate=1e-3",
        "conditions=[logp, qed]",
        "training.bf16=false",
        "data=a=b",
    )
    assert config.training.steps == 7
    assert config.optimizer.learning_rate == 1e-3
    assert config.conditions == ("logp", "qed")
    assert config.training.bf16 is False
    assert config.data == Path("a=b")


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("2E2", 200.0), (".5", 0.5), ("3", 3.0), ("1.5e+1", 15.0)])
def test_numbers_in_scientific_notation_are_numbers(read: Read, text: str, value: float) -> None:
    assert read(f"{BASE}optimizer: {{learning_rate: {text}}}\n").optimizer.learning_rate == value


@pytest.mark.parametrize("word", ["NO", "no", "yes", "on", "off"])
def test_words_stay_words(read: Read, word: str) -> None:
    assert read(f"{BASE}conditions: [{word}]\n").conditions == (word,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BASE + "data: twice\n", "key 'data' stands twice"),
        ("a: &x 1\nb: *x\n", "aliases are not allowed"),
        (BASE + "init_from: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("- 1\n- 2\n", "must hold keys and values, not list"),
        ("", "must hold keys and values, it is empty"),
        (BASE + "---\na: 1\n", "not valid YAML"),
        ("a: " + "[" * 5000, "not valid YAML"),
        ("output: o\n", "data is missing"),
        ("data: " + "x" * (1 << 20), "larger than the 1048576 bytes allowed"),
    ],
    ids=["duplicate", "alias", "object", "list", "empty", "two documents", "deep", "missing", "large"],
)
def test_files_that_are_no_training_files(read: Read, text: str, words: str) -> None:
    assert words in refusal(read, text)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match=r"none\.yaml cannot be read: No such file"):
        load_training(tmp_path / "none.yaml", [])


PROPERTY = BASE + "kind: property\nguided_model: qm9\nproperties: [logp]\n"


def test_the_key_kind_picks_the_file(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    for text, expected in (
        (BASE, TrainConfig),
        (BASE + "kind: denoiser\n", TrainConfig),
        (PROPERTY, PropertyTrainConfig),
    ):
        path.write_text(text, encoding="utf-8")
        assert type(load_training(path, [])) is expected
    path.write_text(BASE + "kind: propertie\n", encoding="utf-8")
    with pytest.raises(MoldiffError, match=r"unknown kind 'propertie' \(did you mean 'property'\?\)"):
        load_training(path, [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PROPERTY + "curve: {sigma_min: 0.1}\n", "unknown key 'curve'"),
        (PROPERTY + "training: {property_dropout: 0.1}\n", "unknown key 'training.property_dropout'"),
        (PROPERTY + "network: {geometry_every: 2}\n", "unknown key 'network.geometry_every'"),
        (PROPERTY.replace("[logp]", "[]"), "properties"),
        (PROPERTY.replace("guided_model: qm9\n", ""), "guided_model"),
    ],
)
def test_a_property_file_holds_only_what_matters_to_it(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MoldiffError, match=words):
        load_training(path, [])
