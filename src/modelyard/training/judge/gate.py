"""The gate: whether a new version may take the champion's place, and the numbers behind it.

Both models answer the same test rows, each from the files of its version. The verdict is written
on the new version whatever it is: as tags, and in full as the run's artifact `gate.json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from modelyard.errors import ModelRefusedError
from modelyard.registry import RegistryClient
from modelyard.registry.verdict import (
    CHAMPION_TAG,
    NO_CHAMPION,
    NUMBERS_TAG,
    SENTENCE_TAG,
    VERDICT_TAG,
    VerdictWord,
)
from modelyard.scoring.bundle import open_bundle
from modelyard.scoring.child.opening import ChildOptions
from modelyard.training.experiment import GateConfig
from modelyard.training.judge.champion import Champion, open_champion
from modelyard.training.judge.comparison import (
    Difference,
    SliceDifferences,
    compare,
    compare_slices,
)
from modelyard.training.judge.metrics import PRIMARY_METRIC
from modelyard.training.judge.served import ServedModel

FILE_NAME = "gate.json"
_CHAMPION = "champion"
_MS = 1000.0
_NAMED_SLICES = 3
_LONGEST_TAG = 2_000  # characters; MLflow takes 5,000


@dataclass(frozen=True)
class Check:
    """One question of the gate and its answer, a sentence with the numbers."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Verdict:
    """The answers of all checks. `champion` is the version compared with, empty for none."""

    champion: str
    metric: str
    checks: tuple[Check, ...]
    numbers: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, Difference] = field(default_factory=dict)
    slices_not_judged: int = 0

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def sentence(self) -> str:
        """The verdict in one line: what was refused, or what was found."""
        said = [check.found for check in self.checks if check.passed == self.passed]
        return f"{'passed' if self.passed else 'refused'}: {'; '.join(said)}"

    def tags(self) -> Mapping[str, str]:
        """The verdict as tags of the version, none without checks; slices are in `to_json`."""
        if not self.checks:
            return {}
        checks = {check.name: check.passed for check in self.checks}
        numbers = {"metric": self.metric, **_finite(self.numbers), "checks": checks}
        return {
            VERDICT_TAG: VerdictWord.PASSED if self.passed else VerdictWord.REFUSED,
            SENTENCE_TAG: self.sentence()[:_LONGEST_TAG],
            CHAMPION_TAG: self.champion or NO_CHAMPION,
            NUMBERS_TAG: json.dumps(numbers),
        }

    def to_json(self) -> str:
        """Everything, with every slice that was judged."""
        slices = {
            name: _finite({**asdict(difference), "gain": difference.gain})
            for name, difference in self.slices.items()
        }
        value = {
            "passed": self.passed,
            "champion": self.champion,
            "metric": self.metric,
            "checks": [asdict(check) for check in self.checks],
            "numbers": _finite(self.numbers),
            "slices": slices,
            "slices_not_judged": self.slices_not_judged,
        }
        return json.dumps(value, indent=1)


NOT_JUDGED = Verdict("", "", ())
"""Of a trial (`promote: never`): no check, no tag, no move."""


@dataclass(frozen=True)
class Gate:
    """Judges packaged candidates of one registered model on one test set.

    Attributes:
        test: the rows that neither model has learned from.
        target: name of the label's column in `test`.
        baseline: the simple model's predictions for `test`.
        slices: features whose values are compared one by one; None lets the contract decide.
    """

    config: GateConfig
    name: str
    alias: str
    test: pl.DataFrame
    target: str
    baseline: np.ndarray
    slices: Sequence[str] | None = None

    def judge(self, registry: RegistryClient, candidate: Path) -> Verdict:
        """The verdict on the packaged version in the folder `candidate`.

        A champion that cannot be fetched, verified or run is a refusal, not an error: what was
        trained is registered all the same.

        Raises:
            ModelRefusedError: the candidate itself cannot be opened.
        """
        with (
            open_bundle(candidate, ChildOptions.offline()) as bundle,
            open_champion(registry, self.name, self.alias) as champion,
        ):
            return self._judge(ServedModel(bundle), champion)

    def _judge(self, candidate: ServedModel, champion: Champion | None) -> Verdict:
        output, truth = candidate.contract.output, self.test[self.target].to_numpy()
        columns = candidate.columns(self.test)
        predicted = candidate.predict(columns)
        metric, margin = PRIMARY_METRIC[output.kind], self.config.margin
        over_baseline = compare(output, truth, predicted, self.baseline, margin)
        latency_ms = candidate.latency_p99_ms()
        absolute = (
            _check_metric("baseline", metric, "the baseline", over_baseline, margin),
            self._check_latency(latency_ms, candidate.contract.inference_timeout_s * _MS),
        )
        numbers = {
            "rows": over_baseline.rows,
            "candidate": over_baseline.candidate,
            "baseline": over_baseline.reference,
            "latency_p99_ms": latency_ms,
        }
        if champion is None:
            return Verdict("", metric, absolute, numbers)
        who = f"the champion (version {champion.version})"
        try:
            answers = champion.answers(self.test, predicted.shape)
        except ModelRefusedError as error:
            found = f"{who} cannot be compared with: {error.detail}"
            return Verdict(
                champion.version, metric, (*self._without(champion, candidate, found), *absolute),
                numbers,
            )  # fmt: skip
        difference = compare(output, truth, predicted, answers, margin)
        slices = compare_slices(
            candidate.contract, columns, truth, predicted, answers,
            features=self.slices, margin=self.config.slice_margin,
            min_rows=self.config.slice_min_rows,
        )  # fmt: skip
        checks = (
            _check_metric(_CHAMPION, metric, who, difference, margin),
            self._check_slices(metric, slices),
            self._check_schema(champion, candidate),
            *absolute,
        )
        numbers["champion"] = difference.reference
        return Verdict(champion.version, metric, checks, numbers, slices.judged, slices.not_judged)

    def _without(self, champion: Champion, candidate: ServedModel, found: str) -> tuple[Check, ...]:
        """The checks that are left when the champion gave no answers to compare with."""
        if champion.model is None:
            return (Check(_CHAMPION, passed=False, found=found),)
        # with the schema change allowed, a champion that the new data does not fit is no news
        allowed = self.config.allow_schema_change
        return Check(_CHAMPION, allowed, found), self._check_schema(champion, candidate)

    def _check_schema(self, champion: Champion, candidate: ServedModel) -> Check:
        old = champion.model.contract if champion.model else candidate.contract
        breaks = old.breaking_changes(candidate.contract)
        if not breaks:
            return Check("schema", passed=True, found="the champion's callers can go on")
        allowed = self.config.allow_schema_change
        said = " (allowed by gate.allow_schema_change)" if allowed else ""
        found = f"the champion's callers would break: {', '.join(breaks)}{said}"
        return Check("schema", allowed, found)

    def _check_slices(self, metric: str, compared: SliceDifferences) -> Check:
        margin, slices = self.config.slice_margin, compared.judged
        small = compared.not_judged
        rest = f" (and {small} too small to judge)" if small else ""
        if not slices:
            return Check("slices", passed=True, found="no slice has rows enough to be judged")
        collapsed = {n: d for n, d in slices.items() if d.is_worse(margin)}
        if not collapsed:
            worst = min(slices, key=lambda name: slices[name].gain)
            found = f"worst of {len(slices)} slices{rest} {worst} with {slices[worst].gain:+.4f}"
            return Check("slices", passed=True, found=found)
        named = sorted(collapsed, key=lambda name: collapsed[name].gain)
        listed = [
            f"{n} from {collapsed[n].reference:.4f} to {collapsed[n].candidate:.4f}"
            for n in named[:_NAMED_SLICES]
        ]
        more = f" and {len(named) - _NAMED_SLICES} more" if len(named) > _NAMED_SLICES else ""
        found = f"{metric} collapses for {', '.join(listed)}{more} (margin {margin:g})"
        return Check("slices", passed=False, found=found)

    def _check_latency(self, latency_ms: float, timeout_ms: float) -> Check:
        budget_ms = min(self.config.latency_p99_ms, timeout_ms)
        found = f"one row takes {latency_ms:.3g} ms (p99), the budget is {budget_ms:g} ms"
        return Check("latency", latency_ms <= budget_ms, found)


def _check_metric(name: str, metric: str, who: str, difference: Difference, margin: float) -> Check:
    found = f"{metric} {difference.candidate:.4f}, {who} {difference.reference:.4f}"
    worse = difference.is_worse(margin)
    if worse:
        found += f": {-difference.gain:.4f} lower, the margin is {margin:g}"
    elif difference.gain < -margin:
        found += f": lower than the margin of {margin:g} allows, but no more than chance"
    return Check(name, not worse, found)


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity and no NaN."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
