"""A fitted model on rows that it has not seen, beside the baseline and the best reachable.

The threshold is chosen on the validation rows; everything else is measured on the test rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from modelyard.contract import Contract, OutputKind
from modelyard.scoring.column import Columns
from modelyard.training.experiment import EvaluationConfig
from modelyard.training.judge.metrics import PRIMARY_METRIC, evaluate
from modelyard.training.judge.report.bootstrap import Interval, intervals
from modelyard.training.judge.report.plots import draw
from modelyard.training.judge.report.slices import Slice, slice_scores
from modelyard.training.judge.report.threshold import Costs, Decision, cheapest_threshold, decide
from modelyard.training.project import Predictor, Project

MODEL, BASELINE, BEST = "test", "baseline", "best"
"""Whose score a metric is: `test_roc_auc` is the model's own."""

SHOWN = {MODEL: "model", BASELINE: "baseline", BEST: "best reachable"}


@dataclass(frozen=True)
class HeldOut:
    """Rows that a model has not learned from.

    Attributes:
        columns: features, [n] each.
        truth: labels [n].
        predicted: the model's predictions, [n] or [n, classes].
    """

    columns: Columns
    truth: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """All results on the test rows.

    `scores` and `intervals` have keys like `test_roc_auc`, `baseline_roc_auc`, `best_roc_auc`;
    `intervals` also `test_minus_baseline_roc_auc`. `slices_left_out` has, for features with many
    values, how many of these have no slice.
    """

    primary: str
    rows: int
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    slices: Sequence[Slice]
    slices_left_out: Mapping[str, int]
    decision: Decision | None
    plots: Mapping[str, bytes]

    @property
    def metrics(self) -> Mapping[str, float]:
        """Everything that is one number, for MLflow."""
        found = dict(self.scores)
        for name, interval in self.intervals.items():
            found[f"{name}_low"], found[f"{name}_high"] = interval.low, interval.high
        if self.decision is not None:
            found |= {
                "threshold": self.decision.threshold,
                "test_precision": self.decision.precision,
                "test_recall": self.decision.recall,
                "test_cost_per_row": self.decision.cost_per_row,
            }
        return found

    def sentence(self) -> str:
        """The primary metric beside the baseline's and the best reachable one."""
        said = f"{self.scores[f'{MODEL}_{self.primary}']:.4f}"
        if (interval := self.intervals.get(f"{MODEL}_{self.primary}")) is not None:
            said += f" ({interval.low:.4f} to {interval.high:.4f})"
        said += f", baseline {self.scores[f'{BASELINE}_{self.primary}']:.4f}"
        if (best := self.scores.get(f"{BEST}_{self.primary}")) is not None:
            said += f", best reachable {best:.4f}"
        return said

    def against_baseline(self) -> str:
        """Whether the model is better than the baseline, with 95 % confidence."""
        gain = self.intervals.get(f"{MODEL}_minus_{BASELINE}_{self.primary}")
        if gain is None:
            return "not judged: no intervals were asked for"
        if gain.low > 0:
            return f"better than the baseline, by {gain.low:.4f} to {gain.high:.4f}"
        if gain.high < 0:
            return f"worse than the baseline, by {-gain.high:.4f} to {-gain.low:.4f}"
        return "not told apart from the baseline on these rows"

    def write(self, folder: Path) -> None:
        """Write `evaluation.json` and `plots/` into `folder`."""
        (folder / "plots").mkdir(parents=True)
        for name, png in self.plots.items():
            (folder / "plots" / name).write_bytes(png)
        body: dict[str, Any] = asdict(self)
        del body["plots"]
        text = json.dumps(body, indent=1, sort_keys=True, default=float)
        (folder / "evaluation.json").write_text(text, encoding="utf-8")


def hold_out(project: Project, rows: pl.DataFrame, model: Predictor) -> HeldOut:
    """`rows` with what `model` predicts for them."""
    columns = project.columns(rows)
    return HeldOut(columns, rows[project.target].to_numpy(), model.predict(columns))


def evaluate_model(
    contract: Contract,
    validation: HeldOut,
    test: HeldOut,
    others: Mapping[str, np.ndarray],
    config: EvaluationConfig,
    seed: int,
) -> Evaluation:
    """Evaluate a model's predictions.

    Args:
        others: predictions for the test rows to compare with: the baseline's, and the best
            reachable ones where they are known.
        seed: of the resampling.
    """
    output = contract.output
    scored = {MODEL: test.predicted, **others}
    shown = {SHOWN[who]: predicted for who, predicted in scored.items()}
    decision = None
    if output.kind is OutputKind.PROBABILITY:
        costs = Costs(config.false_positive_cost, config.false_negative_cost)
        threshold = cheapest_threshold(validation.truth, validation.predicted, costs)
        decision = decide(test.truth, test.predicted, threshold, costs)
    slices, left_out = slice_scores(
        contract, test.columns, test.truth, test.predicted, config.slices
    )
    return Evaluation(
        primary=PRIMARY_METRIC[output.kind],
        rows=len(test.truth),
        scores={
            f"{who}_{metric}": value
            for who, predicted in scored.items()
            for metric, value in evaluate(output, test.truth, predicted).items()
        },
        intervals=intervals(output, test.truth, scored, config.bootstrap_resamples, seed),
        slices=slices,
        slices_left_out=left_out,
        decision=decision,
        plots=draw(output, test.truth, shown, decision.threshold if decision else None),
    )
