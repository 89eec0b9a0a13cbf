"""What people type: the registry's commands, and the demo."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from modelyard.settings.environment import Environment, HttpUrl
from modelyard.settings.registry import ActorSettings, RegistrySettings
from modelyard.settings.serving import PREDICTION_LOG_DIR


class CommandSettings(ActorSettings, RegistrySettings):
    """The registry commands of `modelyard`."""

    model_name: str = Field(
        "",
        description="Registered model that commands (promote, rollback, …) mean when no --model is "
        "named; the only one that there is when it is not set.",
    )
    serving_url: HttpUrl = Field(
        "http://127.0.0.1:8000", description="Address of the prediction API, for `status`."
    )
    traffic_url: str = Field(
        "",
        description="Address of the service `traffic`, for `status`; it may not run.",
    )
    serving_prediction_log_dir: Path | None = Field(
        None,
        description="Folder of the prediction servers' log, for `trace`; that of the containers or "
        "of `make demo` when it is not set.",
    )
    modelyard_state_dir: Path = Field(Path(".modelyard"), description="State of `make demo`.")
    serving_hosts: str = Field(
        "",
        description="Names whose every address is a prediction server, for `status`: NAME:PORT, "
        "separated by commas.",
    )

    @property
    def prediction_log_dir(self) -> Path:
        """Where servers log predictions."""
        demo = self.modelyard_state_dir / "predictions"
        return self.serving_prediction_log_dir or (demo if demo.is_dir() else PREDICTION_LOG_DIR)

    @property
    def replica_hosts(self) -> list[str]:
        """`serving_hosts`, one by one."""
        return [host.strip() for host in self.serving_hosts.split(",") if host.strip()]


class ReproductionSettings(CommandSettings):
    """`modelyard reproduce`: where the data of an old version may come from."""

    dvc_remote_url: str = Field("", description="DVC's store; .dvc/config names it when empty.")
    dvc_cache_dir: Path | None = Field(None, description="DVC's cache, shared with trainings.")
    git_commit: str = Field("", description="Commit that the image was built from.")


class DemoSettings(Environment):
    """The stack without Docker (`make demo`)."""

    mlflow_port: int = Field(
        5000,
        ge=1,
        le=65535,
        description="The MLflow UI and server. On a Mac, AirPlay Receiver holds 5000.",
    )
    gateway_port: int = Field(8000, ge=1, le=65535, description="The prediction API.")
    modelyard_config: str = Field("configs/train.yaml", description="What `make demo` trains.")
    modelyard_state_dir: Path = Field(Path(".modelyard"), description="Where its state lies.")
