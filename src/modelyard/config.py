"""The only reader of YAML: files become plain mappings or typed, frozen models here.

Settings of a deployment come from the environment (`settings/`), those of an experiment from YAML;
neither changes the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from modelyard.errors import ConfigError, ModelyardError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)

_SHOWN_CHARACTERS = 60
LONGEST_YAML = 2**20
"""Characters of a text; a longer one is refused."""
_DEEPEST = 64
# PyYAML lets these through: of the date 2020-99-99, of a number of 5,000 digits, of `!!bool maybe`
_PYTHON_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
_MERGE_TAG = "tag:yaml.org,2002:merge"
_EXPECTED = {
    # pydantic's name of a fault: what the value has to be
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type"),
        "a mapping of keys to values",
    ),
    **dict.fromkeys(("literal_error", "enum"), "{expected}"),
    "finite_number": "a finite number",
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "{min_length} or more",
}


class Frozen(BaseModel):
    """A value that is checked once and never changes; a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _PlainLoader(yaml.SafeLoader):
    """YAML whose cost and size grow no faster than its text: a tree without anchors or merges.

    PyYAML silently keeps the last of two equal keys; here that is an error.
    """

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML does it, within bounds."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases are not read here", event.start_mark
            )
        if self._depth == _DEEPEST:
            raise yaml.composer.ComposerError(
                None, None, f"it is nested more than {_DEEPEST} levels deep", event.start_mark
            )
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_unique_mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        """A mapping that has each of its keys once."""
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE_TAG:
                raise yaml.constructor.ConstructorError(
                    None, None, "merge keys (<<) are not read here", key_node.start_mark
                )
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a single value", key_node.start_mark
                )
            key = self.construct_object(key_node)
            if key in mapping:
                raise yaml.constructor.ConstructorError(
                    None, None, f'the key "{key}" stands twice', key_node.start_mark
                )
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping


_PlainLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _PlainLoader.construct_unique_mapping
)


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """The mapping that `text` holds.

    Args:
        text: YAML; tags that build Python objects are refused.
        source: name of the text in an error, a path as a rule.

    Raises:
        ConfigError: not YAML, not a mapping, too large or too deep, a key stands twice, or it has
            anchors or merge keys, which let a few bytes stand for any number.
    """
    if len(text) > LONGEST_YAML:
        raise ConfigError(f"{source} is too long: at most {LONGEST_YAML} characters are read.")
    try:
        value = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - derives from SafeLoader
    except (yaml.YAMLError, *_PYTHON_ERRORS) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{source} is not valid YAML: {problem}.") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(
            f"{source} must hold a mapping of keys to values, found a {type(value).__name__}."
        )
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file at `path`.

    Raises:
        ConfigError: no such file, or not a YAML mapping.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST_YAML + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    return parse_yaml(text, str(path))


class _PlainDumper(yaml.SafeDumper):
    """Writes a value that occurs twice twice, and no anchor, which is not read."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - as PyYAML calls it
        """No value gets an anchor."""
        return True


def dump_yaml(value: Mapping[str, Any]) -> str:
    """YAML text of `value`, keys in their own order, the same bytes for the same value."""
    text: str = yaml.dump(
        dict(value), Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=100
    )
    return text


def override(values: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """`values` with each `dotted.key=value` of `assignments` set; values are read as YAML.

    Raises:
        ConfigError: an assignment without `=` or without a key, or below a key that is not a
            mapping.
    """
    result: dict[str, Any] = dict(values)
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals or not dotted.strip():
            raise ConfigError(
                f'"{assignment}" is not KEY=VALUE.', fix="For example: --set fit.epochs=3"
            )
        *parents, last = names = dotted.strip().split(".")
        if not all(names):
            raise ConfigError(
                f'"{dotted}" is no key: it has an empty part.',
                fix="For example: --set fit.epochs=3",
            )
        here = result
        for name in parents:
            child = here.get(name, {})
            if not isinstance(child, dict):
                raise ConfigError(f'"{dotted}" cannot be set: "{name}" holds a single value.')
            here[name] = here = dict(child)
        here[last] = parse_yaml(f"value: {text}", f"--set {assignment}")["value"]
    return result


def validate(
    model: type[Model],
    values: Mapping[str, Any],
    source: str,
    failure: type[ModelyardError] = ConfigError,
    *,
    section: str = "",
) -> Model:
    """`values` as a `model`, every fault named by its key in one error.

    Args:
        source: where the values come from, a path as a rule.
        section: the key of `source` that holds the values; they are all of it when empty.

    Raises:
        failure: one line a fault; a key near a known one gets "did you mean".
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise failure(f"{source} is not valid:\n{explain(error, model, section)}") from error


def explain(error: ValidationError, model: type[BaseModel] = BaseModel, section: str = "") -> str:
    """What is wrong, one indented line a fault, in words of a configuration and not of pydantic.

    Args:
        model: the expected model, whose fields are offered for keys that it does not have.
        section: the key under which it stands, named before each of its keys.
    """
    faults = error.errors()
    inner = [fault["loc"] for fault in faults]
    return "\n".join(
        _fault(model, fault, section)
        for fault in faults
        # pydantic also calls a list too short whose entries it refuses
        if fault["type"] != "too_short" or not any(_lies_in(loc, fault["loc"]) for loc in inner)
    )


def _lies_in(place: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _fault(model: type[BaseModel], fault: ErrorDetails, section: str) -> str:
    place, kind, context = fault["loc"], fault["type"], fault.get("ctx", {})
    key = ".".join(map(str, [section, *place] if section else place))
    prefix = f"  {key}: " if key else "  "
    if kind == "extra_forbidden":
        return f"{prefix}no such key.{did_you_mean(str(place[-1]), _fields_at(model, place[:-1]))}"
    if kind == "missing":
        return f"{prefix}required, and not there."
    if kind in ("value_error", "assertion_error"):
        return f"{prefix}{context['error']}."
    if kind not in _EXPECTED:
        return f"{prefix}{fault['msg']}."
    limits = {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
    expected = _EXPECTED[kind].format_map(limits)
    return f"{prefix}expected {expected}, found {_found(fault['input'])}."


def _found(value: object) -> str:
    """A value in words of YAML; a long one is not repeated."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "nothing"
        case Mapping():
            return "a mapping" if value else "an empty mapping"
        case str():
            return f'"{value}"' if len(value) <= _SHOWN_CHARACTERS else "a long text"
        case Sequence():
            return "a list" if value else "an empty list"
        case _:
            return str(value)


def _fields_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model nested at `place`."""
    here: Any = model
    for part in place:
        field = getattr(here, "model_fields", {}).get(part)
        if field is None:
            continue  # an index in a list, or the tag of a union
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        here = next((c for c in candidates if hasattr(c, "model_fields")), None)
    return list(getattr(here, "model_fields", {}))
