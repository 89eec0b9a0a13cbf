"""An experiment's configuration: what `configs/*.yaml` holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from modelyard.config import Frozen, override, read_yaml, validate
from modelyard.errors import ConfigError, did_you_mean
from modelyard.training.search_space import TuneConfig

_CONFIGS = Path("configs")


class GateConfig(Frozen):
    """When a new version may replace the champion; see `judge/gate.py`.

    A drop of the metric counts when it is larger than the margin and larger than chance: the
    paired bootstrap of the test rows puts it below zero with 95 % confidence.
    """

    margin: float = Field(
        0.005, ge=0, description="Drop of the primary metric that is still no worse model."
    )
    slice_margin: float = Field(
        0.1, ge=0, description="Drop of the primary metric in one slice that is no collapse."
    )
    slice_min_rows: int = Field(
        200, ge=20, description="Test rows that a slice must have to be judged."
    )
    latency_p99_ms: float = Field(
        50.0, gt=0, description="Most that one row may take; the contract's timeout holds as well."
    )
    allow_schema_change: bool = Field(
        default=False, description="Let a version pass that breaks those who call the champion."
    )


class EvaluationConfig(Frozen):
    """How a fitted model is evaluated; see `judge/report/`."""

    bootstrap_resamples: int = Field(
        200, ge=0, le=10_000, description="Resamples for the 95 % intervals; 0 gives none."
    )
    slices: tuple[str, ...] | None = Field(
        None, description="Features to score by; every category and boolean when not given."
    )
    false_positive_cost: float = Field(
        1.0, ge=0, description="Cost of a wrong yes, in any unit; sets the threshold."
    )
    false_negative_cost: float = Field(1.0, ge=0, description="Cost of a wrong no.")


class StreamConfig(Frozen):
    """For rows that do not fit in memory: how many are in memory at once.

    Each field bounds the memory; none limits how many rows the model learns from.
    """

    chunk_rows: int = Field(131_072, ge=1_000, description="Read and checked at once.")
    buffer_rows: int = Field(
        524_288,
        ge=1_000,
        description="Shuffled together in an epoch, from row groups in a seeded order.",
    )
    baseline_rows: int = Field(
        200_000,
        ge=1_000,
        description="Training rows for the baseline and the data profile: a sample by hash.",
    )
    held_out_rows: int = Field(
        250_000,
        ge=1_000,
        description="Most rows to validate by, and to test by: samples by hash.",
    )


class Experiment(Frozen):
    """One experiment; `fit` belongs to the project, whose own type checks it."""

    project: str = Field(description="Python package with the PROJECT to train.")
    experiment: str = Field(min_length=1, description="MLflow experiment of the runs.")
    registered_model: str = Field(pattern=r"^[^/:@]+$", description="Name in the registry.")
    alias: str = Field("champion", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    promote: Literal["auto", "manual", "never"] = Field(
        "auto",
        description="auto: the alias moves when the gate passes; manual: the gate's verdict is "
        "recorded and a person promotes; never: a trial, neither judged nor promoted.",
    )
    data: str = Field(
        description="Dataset file in the data folder; or s3://bucket/prefix, which is streamed."
    )
    stream: StreamConfig | None = Field(
        None, description="Read the data in chunks, again in each epoch, and never as a whole."
    )
    sample_rows: int | None = Field(None, ge=1_000, description="Only the first rows, to try out.")
    seed: int = Field(7, ge=0, lt=2**32)
    fit: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    tune: TuneConfig | None = None

    @field_validator("data")
    @classmethod
    def _is_a_place(cls, data: str) -> str:
        if not re.fullmatch(r"s3://[^/]+(/.*)?" if is_in_store(data) else r"[^/\\]+", data):
            raise ValueError(
                "expected the name of a file in the data folder, or s3://bucket/prefix, found "
                f'"{data}"'
            )
        return data

    @model_validator(mode="after")
    def _streams_from_a_store(self) -> Self:
        if is_in_store(self.data) and self.stream is None:
            raise ValueError(
                "data: what is in a store has to be streamed, and there is no stream section; for "
                "example: --set stream={}"
            )
        return self


def is_in_store(data: str) -> bool:
    """Whether `data` names objects in an S3 store; otherwise it is a file in the data folder."""
    return data.startswith("s3://")


def read_experiment(path: Path, assignments: Sequence[str] = ()) -> Experiment:
    """The experiment in the YAML file at `path`, with `--set key=value` assignments applied.

    Raises:
        ConfigError: every fault named by its place.
    """
    if not path.is_file():
        known = sorted(map(str, _CONFIGS.glob("*.yaml")))
        listed = f" There are: {', '.join(known)}." if known else ""
        raise ConfigError(f"There is no file {path}.{did_you_mean(str(path), known) or listed}")
    return validate(Experiment, override(read_yaml(path), assignments), str(path))
