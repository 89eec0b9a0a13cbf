"""What a search may try: the `tune` section of a configuration, checked against the fit."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, model_validator

from modelyard.config import Frozen, validate
from modelyard.errors import ConfigError

if TYPE_CHECKING:
    import optuna  # a second to import, which a training need not spend


_NO_WHOLE_NUMBER = 0.381966


class Parameter(Frozen):
    """Values that one key may take: a range, ends included, or a list of choices."""

    low: float | None = None
    high: float | None = None
    log: bool = Field(default=False, description="Try orders of magnitude equally often.")
    integer: bool = False
    choices: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None or self.log or self.integer:
                raise ValueError("give choices, or low and high, and not both")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("give choices, or low and a higher high")
        elif self.log and self.low <= 0:
            raise ValueError("with log, low must be above 0")
        elif self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("with integer, low and high must be whole numbers")
        return self

    @property
    def samples(self) -> tuple[Any, ...]:
        """All choices; or both ends of the range and, where it has fractions, one of them."""
        if self.choices:
            return self.choices
        low, high = self.low or 0.0, self.high or 0.0
        if self.integer:
            return int(low), int(high)
        return low, high, low + (high - low) * _NO_WHOLE_NUMBER

    def suggest(self, trial: optuna.trial.BaseTrial, key: str) -> Any:
        """The value that `trial` tries for `key`."""
        if self.choices:
            # as text: optuna knows no lists
            texts = [json.dumps(choice) for choice in self.choices]
            return json.loads(trial.suggest_categorical(key, texts))
        low, high = self.low or 0.0, self.high or 0.0
        if self.integer:
            return trial.suggest_int(key, int(low), int(high), log=self.log)
        return trial.suggest_float(key, low, high, log=self.log)


class TuneConfig(Frozen):
    """Which keys of `fit` a search varies, by their dotted names: `fit.learning_rate`."""

    space: Mapping[str, Parameter] = Field(min_length=1)
    warmup_epochs: int = Field(
        2, ge=0, description="Epochs before a trial that is worse than the median is given up."
    )
    startup_trials: int = Field(5, ge=0, description="Trials before any is given up.")

    @model_validator(mode="after")
    def _varies_the_fit(self) -> Self:
        for key in self.space:
            if not key.startswith("fit."):
                raise ValueError(f'space: "{key}" is not under fit; only the fit can be tuned')
        return self

    def check(self, fit_config: type[Frozen], fit: Mapping[str, Any]) -> None:
        """Check that the fit accepts what a search would try, before anything is tried.

        Args:
            fit_config: typed model of the `fit` section.
            fit: the section, to which each value is set in turn.

        Raises:
            ConfigError: there is no such key, or the fit refuses an end of its range or a choice.
                Rules over several keys are checked in the trial, which has all their values.
        """
        for key, parameter in self.space.items():
            for value in parameter.samples:
                tried = with_values(fit, {key: value})
                try:
                    validate(fit_config, tried, f"tune.space: fit with {key} = {json.dumps(value)}")
                except ConfigError as error:
                    cause = error.__cause__
                    if not isinstance(cause, ValidationError):
                        raise
                    if any(fault["loc"] for fault in cause.errors()):
                        raise  # without a key, a fault is of a rule over several keys


def with_values(fit: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The `fit` section with `values` set under their dotted names, such as `fit.embedding`."""
    section: dict[str, Any] = copy.deepcopy(dict(fit))
    for key, value in values.items():
        *parents, last = key.split(".")[1:]
        here = section
        for name in parents:
            here = here.setdefault(name, {})
            if not isinstance(here, dict):
                raise ConfigError(f'tune.space: "{key}": "{name}" holds a single value.')
        here[last] = value
    return section
