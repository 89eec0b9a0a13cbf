"""An experiment's configuration: what `configs/*.yaml` holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from modelyard.config import Frozen, override, read_yaml, validate


class Experiment(Frozen):
    """One experiment; `fit` belongs to the project and is checked by its own model."""

    project: str = Field(description="Python package with the PROJECT to train.")
    experiment: str = Field(min_length=1, description="MLflow experiment of the runs.")
    registered_model: str = Field(pattern=r"^[^/:@]+$", description="Name in the registry.")
    alias: str = Field("champion", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    promote: Literal["auto", "never"] = Field(
        "auto", description="auto: the alias moves to the new version when all checks passed."
    )
    data: str = Field(pattern=r"^[^/\\]+$", description="Dataset file in the data folder.")
    sample_rows: int | None = Field(None, ge=1_000, description="Only the first rows, to try out.")
    seed: int = Field(7, ge=0, lt=2**32)
    fit: dict[str, Any] = Field(default_factory=dict)


def read_experiment(path: Path, assignments: Sequence[str] = ()) -> Experiment:
    """The experiment in the YAML file at `path`, with `--set key=value` assignments applied.

    Raises:
        ConfigError: every fault named by its place.
    """
    return validate(Experiment, override(read_yaml(path), assignments), str(path))
