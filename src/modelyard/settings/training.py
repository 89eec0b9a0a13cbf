"""A training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from modelyard.settings.registry import ActorSettings, RegistrySettings


def _tags(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        raise ValueError("expected a JSON object of strings") from None


Tags = Annotated[Mapping[str, str], NoDecode, BeforeValidator(_tags)]


class TrainingSettings(ActorSettings, RegistrySettings):
    """A training process; what makes an experiment is in its YAML file, not here."""

    modelyard_data_dir: Path = Field(
        Path("data"), description="Folder that `dvc pull` fills; pointers (*.dvc) lie there too."
    )
    training_state_dir: Path = Field(
        Path("/var/lib/modelyard"),
        description="Folder for checkpoints and searches, from which an interrupted one goes on.",
    )
    tracking_patience_s: float = Field(
        120.0, ge=0, description="Seconds that a training waits for an MLflow that restarts."
    )
    git_commit: str = Field("", description="Commit the code was built from (build argument).")
    image_ref: str = Field("", description="Name or digest of the image that runs.")
    mlflow_run_context: Tags = Field(
        default_factory=dict, description="More tags of the run, a JSON object of strings."
    )
