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
        120.0,
        ge=0,
        description="Seconds that a training in progress waits for an MLflow that stopped "
        "answering.",
    )
    mlflow_http_request_max_retries: int = Field(
        2, ge=0, description="Attempts after the first, when training asks the MLflow server."
    )
    mlflow_http_request_timeout: int = Field(
        15, ge=1, description="Seconds that each of these attempts may take."
    )
    git_commit: str = Field(
        "",
        description="Commit that the images are built from, recorded with every run; "
        "`make` fills it in.",
    )
    image_ref: str = Field("", description="Name or digest of the image that runs.")
    mlflow_run_context: Tags = Field(
        default_factory=dict,
        description="More tags for every run, a JSON object of strings as MLflow reads it, "
        "e.g. "
        '{"ci.build": "1234"}.',
    )
