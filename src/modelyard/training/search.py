"""What a search may try: the `tune` section of a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from modelyard.config import Frozen

if TYPE_CHECKING:
    import optuna  # a second to import, which a training need not spend


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
        return self

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
        2, ge=0, description="Epochs before a trial that does worse than the median is given up."
    )
    startup_trials: int = Field(5, ge=0, description="Trials before any is given up.")

    @model_validator(mode="after")
    def _varies_the_fit(self) -> Self:
        for key in self.space:
            if not key.startswith("fit."):
                raise ValueError(f'space: "{key}" is not under fit; only the fit can be tuned')
        return self
