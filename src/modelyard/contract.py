"""What a model accepts and what it returns, as data.

Every model version that modelyard registers carries its contract as `contract.yaml`. Training
validates the dataset against it; serving validates each request against it and shows it in `/docs`.
The contract knows columns, not frameworks: numpy types appear here only by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from modelyard.config import Frozen, dump_yaml, parse_yaml, validate
from modelyard.errors import ContractError

FILE_NAME = "contract.yaml"
_LISTED_CATEGORIES = 30

Value = StrictBool | StrictInt | StrictFloat | StrictStr
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.\- ]{0,127}$")]


class FeatureType(StrEnum):
    """The types of features, each with the numpy dtype of its column."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRING = "string"
    CATEGORY = "category"

    @property
    def dtype(self) -> str:
        """Name of the numpy dtype of a column of this type."""
        return {"number": "float64", "integer": "int64", "boolean": "bool"}.get(
            self.value, "object"
        )


_WIDENED = {
    (FeatureType.INTEGER, FeatureType.NUMBER),
    (FeatureType.CATEGORY, FeatureType.STRING),
}


class Feature(Frozen):
    """One input column.

    `minimum` and `maximum` are inclusive. A category outside `categories` is refused unless
    `allow_unknown` is set; the model then gets the string unchanged.
    """

    name: Name
    type: FeatureType
    description: str = ""
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    allow_unknown: bool = False
    max_length: int = Field(default=256, ge=1, description="Longest string, in characters.")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        numeric = self.type in (FeatureType.NUMBER, FeatureType.INTEGER)
        if not numeric and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"{self.name}: only a number or an integer has a range")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"{self.name}: minimum is above maximum")
        if (self.type is FeatureType.CATEGORY) != bool(self.categories):
            raise ValueError(f"{self.name}: a category, and nothing else, lists its categories")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError(f"{self.name}: a category is listed twice")
        return self

    def fault(self, value: object) -> str | None:
        """Why this feature does not accept `value`, or None. The text never repeats the value."""
        match self.type:
            case FeatureType.NUMBER | FeatureType.INTEGER:
                return self._number_fault(value)
            case FeatureType.BOOLEAN:
                return None if isinstance(value, bool) else "must be true or false"
            case _:
                return self._string_fault(value)

    def _number_fault(self, value: object) -> str | None:
        integer = self.type is FeatureType.INTEGER
        if isinstance(value, bool) or not isinstance(value, int if integer else (int, float)):
            return "must be a whole number" if integer else "must be a number"
        try:
            finite = math.isfinite(value)
        except OverflowError:
            return "is too large"
        if not finite:
            return "must be finite"
        if integer and not -(2**63) <= value < 2**63:
            return "is too large"
        return self._range_fault(value)

    def _range_fault(self, value: float) -> str | None:
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {_shown(self.minimum)}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {_shown(self.maximum)}"
        return None

    def _string_fault(self, value: object) -> str | None:
        if not isinstance(value, str):
            return "must be a string"
        if not self.allow_unknown and self.categories:
            return None if value in self.categories else f"must be one of: {self._listed()}"
        if len(value) > self.max_length:
            return f"must have at most {self.max_length} characters"
        try:
            value.encode()
        except UnicodeEncodeError:
            return "must be valid Unicode text"
        return None

    def _listed(self) -> str:
        more = len(self.categories) - _LISTED_CATEGORIES
        listed = ", ".join(self.categories[:_LISTED_CATEGORIES])
        return f"{listed} and {more} more" if more > 0 else listed


def _shown(limit: float) -> str:
    """A limit as a user would write it: 1000000, not 1e+06."""
    return str(int(limit)) if limit == int(limit) and abs(limit) < 2**53 else repr(limit)


class OutputKind(StrEnum):
    """What the numbers in a prediction mean."""

    PROBABILITY = "probability"
    CLASS_PROBABILITIES = "class_probabilities"
    VALUE = "value"


class Output(Frozen):
    """What a prediction is: one probability, one value, or a probability for each class."""

    name: Name = "prediction"
    kind: OutputKind = OutputKind.VALUE
    description: str = ""
    classes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.kind is OutputKind.CLASS_PROBABILITIES) != bool(self.classes):
            raise ValueError("class_probabilities, and nothing else, names its classes")
        return self


class Contract(Frozen):
    """The columns that a model takes, what it returns, and one example that it must answer."""

    description: str = ""
    features: tuple[Feature, ...] = Field(min_length=1)
    output: Output = Output()
    example: Mapping[str, Value]
    inference_timeout_s: float = Field(
        default=2.0, gt=0, le=300, description="Seconds that one row may take."
    )
    python_version: str | None = Field(
        default=None,
        pattern=r"^\d+\.\d+\.\d+\S*$",
        description="Python that the version was registered with; unknown of old ones.",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError("a feature name stands twice")
        if set(self.example) != set(names):
            raise ValueError("the example must hold exactly the features: " + ", ".join(names))
        for feature in self.features:
            if fault := feature.fault(self.example[feature.name]):
                raise ValueError(f"the example's {feature.name} {fault}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names in the order of the contract."""
        return tuple(feature.name for feature in self.features)

    def feature(self, name: str) -> Feature:
        """The feature called `name`; KeyError when there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    def breaking_changes(self, newer: Contract) -> list[str]:
        """The changes in `newer` that break clients of this contract; empty when none does.

        Ranges and categories may change: they belong to the data. Names, types and the kind of
        output may not, except that an integer may become a number and a category a string.
        """
        before = {feature.name: feature.type for feature in self.features}
        after = {feature.name: feature.type for feature in newer.features}
        breaks = [f"{name} is gone" for name in before if name not in after]
        breaks += [f"{name} is new, and required" for name in after if name not in before]
        breaks += [
            f"{name} was a {before[name]} and is a {after[name]}"
            for name in before
            if name in after and before[name] is not after[name]
            and (before[name], after[name]) not in _WIDENED
        ]  # fmt: skip
        if self.output.kind is not newer.output.kind:
            breaks.append(f"it answers a {newer.output.kind}, no longer a {self.output.kind}")
        elif self.output.classes != newer.output.classes:
            breaks.append("its classes are not the same")
        return breaks

    def to_yaml(self) -> str:
        """The text of `contract.yaml` with every field; equal contracts give the same bytes."""
        return dump_yaml(self.model_dump(mode="json"))

    @classmethod
    def from_yaml(cls, text: str, source: str = FILE_NAME) -> Contract:
        """The contract in `text`.

        Raises:
            ContractError: it is not valid; lists every fault with its place.
            ConfigError: `text` is not YAML.
        """
        return validate(cls, parse_yaml(text, source), source, failure=ContractError)
