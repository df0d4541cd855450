"""Sections of a configuration: checked values, one line for whatever is wrong, and the YAML files that hold them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeGuard, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from moldiff.arguments import shown
from moldiff.errors import MoldiffError, nearest_name
from moldiff.reading import read_whole

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_IN_THE_WHEEL = Path(__file__).with_name("configs")
CONFIGS = _IN_THE_WHEEL if _IN_THE_WHEEL.is_dir() else Path(__file__).parents[1] / "configs"
"""Folder of the files that come with the package: a copy in the wheel, or that of the source tree."""
_MAX_BYTES = 1 << 20
_TAG = "tag:yaml.org,2002:"
_DIGITS, _LEAST_WHOLE, _MOST_WHOLE = 20, -(1 << 63), (1 << 64) - 1  # the largest is that of seeds
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values are not edited after loading, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=Section)


def validate(model: type[S], values: dict[str, Any], source: str) -> S:
    """Build a section from plain values; every problem becomes one MoldiffError line that names the key."""
    _refuse_lookalikes(model, values, source)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        location = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(model)
            raise MoldiffError(f"{source}: unknown key '{location}'{nearest_name(location, known)}") from error
        if problem["type"] == "value_error":  # raised by a section about several of its keys
            raise MoldiffError(": ".join(filter(None, (source, location, str(problem["ctx"]["error"]))))) from error
        if problem["type"] == "missing":
            raise MoldiffError(f"{source}: {location} is missing") from error
        place = _place(model, problem["loc"])
        # of a value that may be one of two things, what each of them wants
        wanted = dict.fromkeys(_wanted(one) for one in error.errors() if _place(model, one["loc"]) == place)
        raise MoldiffError(
            f"{source}: {place} must be {' or '.join(wanted)}, not {_as_written(problem['input'])}"
        ) from error


def _refuse_lookalikes(model: type[BaseModel], values: Mapping[str, Any], source: str, prefix: str = "") -> None:
    """Raise MoldiffError if a number is wanted where true, false or a text stands, which pydantic would take for 1; or
    a path where nothing does, which would be the folder at hand."""
    for name, field in getattr(model, "model_fields", {}).items():
        value, section = values.get(name), _section_of(field.annotation)
        if section is not None and isinstance(value, Mapping):
            _refuse_lookalikes(section, value, source, f"{prefix}{name}.")
        kinds = _kinds(field.annotation)
        if kinds == {Path} and value == "":
            raise MoldiffError(f"{source}: {prefix}{name} is empty; give the name of a file or folder")
        if not kinds <= {int, float} or not kinds or any(isinstance(part, BeforeValidator) for part in field.metadata):
            continue
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, bool | str):
                wanted = "a number" if float in kinds else "a whole number"
                raise MoldiffError(f"{source}: {prefix}{name} must be {wanted}, not {_as_written(one)}")


def _kinds(annotation: Any) -> set[object]:
    """Return the types that a value, or each of a list of values, may have, but for None."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    parts = () if get_origin(annotation) is Literal else get_args(annotation)
    own = {kind for part in parts if part is not Ellipsis for kind in _kinds(part)} if parts else {annotation}
    return own - {type(None)}


_KINDS = {
    "model_type": "a section with keys below it",
    "model_attributes_type": "a section with keys below it",
    "dict_type": "a section with keys below it",
    "mapping_type": "a section with keys below it",
    "tuple_type": "a list such as [a, b]",
    "list_type": "a list such as [a, b]",
    "path_type": "a path",
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
"""pydantic's kind of a mistake -> what is wanted, in the words of YAML."""
_BOUNDS = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "a list of at least {min_length}",
    "literal_error": "{expected}",
    "enum": "{expected}",
}


def _wanted(problem: ErrorDetails) -> str:
    """Return what a value had to be; of a kind of mistake that none of our sections can make, pydantic's words."""
    if (kind := problem["type"]) in _KINDS:
        return _KINDS[kind]
    if kind not in _BOUNDS:
        return problem["msg"].lower()
    bounds = problem["ctx"].items()
    whole = {name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in bounds}
    return _BOUNDS[kind].format(**whole)


def _as_written(value: object) -> str:
    """Return a value as YAML has it."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return shown(value)


def _place(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Return the dotted key of a mistake, without pydantic's names for the alternatives of a value."""
    parts, section = list[str](), model
    for number, part in enumerate(location):
        parts.append(str(part))
        field = section.model_fields.get(str(part))
        if field is None:
            break
        below = _section_of(field.annotation)
        if below is None:
            named = get_origin(field.annotation) is Mapping  # its keys are the user's
            parts += [str(rest) for rest in location[number + 1 :] if named or isinstance(rest, int)]
            break
        section = below
    return ".".join(parts)


def _section_of(annotation: object) -> type[BaseModel] | None:
    """Return the section that a key holds, or may hold; None: it holds a value."""
    choices = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    return next((one for one in choices if _is_section(one)), None)


def _is_section(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every dotted key of a config model."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if (section := _section_of(field.annotation)) is not None:
            keys += _known_keys(section, f"{prefix}{name}.")
    return keys


def packaged(path: Path) -> Path:
    """Return a path, or where the package has a file of that name, if there is none under the path."""
    ours = CONFIGS / (path.name if path.suffix else f"{path.name}.yaml")
    elsewhere = path.parent not in (Path(), Path(CONFIGS.name))
    return path if elsewhere or path.exists() or not ours.is_file() else ours


def read_mapping(path: Path) -> dict[Any, Any]:
    """Return the keys and values of a YAML file; MoldiffError if it cannot be read, is unsafe, or holds none.

    A file that is not there, but comes with the package, is read from there: "qm9", "qm9.yaml" or "configs/qm9.yaml".
    """
    path = packaged(path)
    try:
        raw = read_whole(path, _MAX_BYTES)
    except MoldiffError as error:
        raise MoldiffError(f"config {error}") from error
    values = parse_yaml(raw.decode("utf-8", errors="replace"), str(path))
    if not isinstance(values, dict):
        found = "it is empty" if values is None else f"not {type(values).__name__}"
        raise MoldiffError(f"config {path} must hold keys and values, {found}")
    return values


class _Loader(yaml.SafeLoader):
    """Safe YAML of keys and values, lists, texts, numbers, true, false and null, each in one spelling: 1e-3 is a
    number, NO, 012 and 2026-01-31 are texts. Duplicate keys, aliases and tags are errors, as are numbers that nothing
    in here counts to and texts that no file or name could hold."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError(f"tags are not allowed: {event.tag!a:.60}")
        return super().compose_node(parent, index)

    def text(self, node: Any) -> str:
        """Return a text that can stand in a file, a name and a message."""
        if wrong := _UNWRITABLE.search(node.value):
            raise yaml.YAMLError(f"a text holds the character {wrong[0]!a}, which no name or file can have")
        return str(node.value)

    def whole(self, node: Any) -> int:
        """Return a number that 64 bits hold, with a sign or without."""
        if len(node.value) > _DIGITS or not _LEAST_WHOLE <= (value := int(node.value)) <= _MOST_WHOLE:
            raise yaml.YAMLError(f"the number {node.value:.20}... is out of range")
        return value

    def decimal(self, node: Any) -> float:
        """Return a finite number."""
        if not math.isfinite(value := float(node.value)):
            raise yaml.YAMLError(f"numbers must be finite, unlike {node.value:.20}")
        return value

    def mapping(self, node: Any) -> dict[Any, Any]:
        """Return keys and values."""
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                raise yaml.YAMLError("a key must be one word")
            if key in found:
                raise yaml.YAMLError(f"key '{key}' stands twice")
            found[key] = self.construct_object(value_node, deep=True)
        return found


_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {
    tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (None, *(_TAG + kind for kind in ("null", "bool", "seq")))
}
for _kind, _pattern, _first in (
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|false|True|False)$", list("tTfF")),
    ("int", r"^[-+]?(0|[1-9]\d*)$", list("-+0123456789")),
    ("float", r"^[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$", list("-+0123456789.")),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern, re.ASCII), _first)
_Loader.add_constructor(_TAG + "str", _Loader.text)
_Loader.add_constructor(_TAG + "int", _Loader.whole)
_Loader.add_constructor(_TAG + "float", _Loader.decimal)
_Loader.add_constructor(_TAG + "map", _Loader.mapping)


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML safely; MoldiffError in one line."""
    try:
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MoldiffError(f"{source} is not valid YAML: {reason[:200]}") from error
