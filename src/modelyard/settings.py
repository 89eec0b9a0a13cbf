"""The only reader of the environment: one typed class for each process that has settings.

Every field is one environment variable of the same name in capitals, and `.env.example` explains
each (a test compares the two). Secrets are named by file, never by value, so that `docker inspect`
shows none.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from modelyard.errors import ConfigError


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's numeric user has no name
        return "modelyard"


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(
            "expected the address of an MLflow server, http:// or https://; a database or a "
            "folder is reached through a server (modelyard's containers and `make demo` start one)"
        )
    return url.rstrip("/")


def _tags(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        raise ValueError("expected a JSON object of strings") from None


HttpUrl = Annotated[str, AfterValidator(_http_url)]
Tags = Annotated[Mapping[str, str], NoDecode, BeforeValidator(_tags)]


PREDICTION_LOG_DIR = Path("/var/log/modelyard")


class RegistrySettings(BaseSettings):
    """How to reach the MLflow server; shared by every process that does."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    mlflow_tracking_uri: HttpUrl = Field(
        "http://127.0.0.1:5000", description="Address of the MLflow server."
    )
    registry_timeout_s: float = Field(
        5.0, gt=0, le=60, description="Seconds that one request to the MLflow server may take."
    )


class ServingSettings(RegistrySettings):
    """The serving process."""

    model_uri: str = Field(
        description="What to serve and follow: models:/NAME@ALIAS, /VERSION, /STAGE or /latest."
    )
    serving_host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104
    serving_port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    serving_cache_dir: Path = Field(
        Path("/var/cache/modelyard"),
        description="Folder for verified model versions: a restart needs no registry.",
    )
    serving_cache_versions: int = Field(
        3, ge=1, description="How many model versions the cache keeps."
    )
    serving_poll_interval_s: float = Field(
        1.0, gt=0, description="Seconds between two looks at the alias (jittered by a quarter)."
    )
    serving_admin_token_file: Path | None = Field(
        None, description="File with the token for /admin; without one /admin refuses everybody."
    )
    serving_require_manifest: bool = Field(
        default=False, description="Refuse model versions that carry no sha256 manifest."
    )
    serving_allow_schema_change: bool = Field(
        default=False,
        description="Serve a new version also when its features break those who call the old one.",
    )
    serving_model_formats: str = Field(
        "any",
        pattern="^(any|onnx)$",
        description="any MLflow flavor, each model in a process of its own; or onnx, which runs no "
        "code of a model's.",
    )
    serving_child_processes: int = Field(
        1, ge=1, le=64, description="Processes that run a model that is not ONNX."
    )
    serving_child_memory_mb: int = Field(
        1536,
        ge=0,
        description="MiB that each of them may hold before it is replaced, and an ONNX graph on "
        "trial; 0: no limit.",
    )
    serving_child_batch_rows: int = Field(
        1024, ge=1, description="Most rows of several requests that one of them gets at once."
    )
    serving_child_start_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Seconds that one of them may take to load its model, and an ONNX graph on "
        "trial to be opened and to answer.",
    )
    serving_max_body_bytes: int = Field(
        2**20, ge=1024, description="Largest body of one JSON request in bytes; more is a 413."
    )
    serving_max_rows: int = Field(
        1000, ge=1, description="Most rows in one JSON request; more is answered 413."
    )
    serving_max_batch_body_bytes: int = Field(
        32 * 2**20,
        ge=1024,
        description="Largest body in bytes of a batch: columnar JSON, Arrow, binary tensors.",
    )
    serving_max_batch_rows: int = Field(
        1_000_000, ge=1, description="Most rows in one batch; more is answered 413."
    )
    serving_max_batch_concurrency: int = Field(
        4, ge=1, description="Batches held in memory at once; more are answered 503."
    )
    serving_max_depth: int = Field(
        32, ge=4, le=200, description="Deepest nesting of a JSON body; more is answered 400."
    )
    serving_max_string_length: int = Field(
        4096, ge=1, description="Longest string of a row in characters, whatever a contract allows."
    )
    serving_max_concurrency: int = Field(
        512, ge=1, description="Requests worked on at once; more are answered 503 with Retry-After."
    )
    serving_request_timeout_s: float = Field(
        5.0, gt=0, description="Seconds a prediction may take, from its first byte to its answer."
    )
    serving_drain_s: float = Field(
        1.5,
        ge=0,
        le=60,
        description="Seconds between SIGTERM, when the server stops being ready, and the closing "
        "of its port.",
    )
    serving_prediction_log: str = Field(
        "ids",
        pattern="^(off|ids|full)$",
        description="What is logged of each prediction: off; ids: when, request id, version, rows; "
        "full: request and answer too.",
    )
    serving_prediction_log_dir: Path = Field(
        PREDICTION_LOG_DIR,
        description="Folder of that log; replicas share it, `modelyard trace` searches it.",
    )
    serving_prediction_log_mb: int = Field(
        1024, ge=32, description="MiB that the log may take; then the oldest goes."
    )
    serving_prediction_log_days: float = Field(30.0, gt=0, description="Days that the log is kept.")
    serving_log_format: str = Field(
        "json", pattern="^(json|plain)$", description="json (one object a line) or plain."
    )
    serving_log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error."
    )


class ActorSettings(RegistrySettings):
    """A process in which somebody changes the registry."""

    modelyard_user: str = Field(
        default_factory=_login_name, description="Who trains and promotes, for the record."
    )


class TrainingSettings(ActorSettings):
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


class CommandSettings(ActorSettings):
    """The registry commands of `modelyard`."""

    model_name: str = Field(
        "", description="Registered model that commands mean by default; if empty, the only one."
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
    git_commit: str = Field("", description="Commit the image was built from.")


class TrafficSettings(BaseSettings):
    """The service `traffic`, which splits predictions between champion and challenger."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    modelyard_user: str = Field(
        default_factory=_login_name, description="Who changes the split, for the record."
    )
    traffic_socket: Path = Field(
        Path("/run/gateway/control.sock"), description="The gateway's control socket."
    )
    traffic_state_dir: Path = Field(
        Path("/var/lib/modelyard"), description="Folder in which the wanted split lasts."
    )
    traffic_port: int = Field(
        8405, ge=1, le=65535, description="Port of its report and its metrics."
    )
    traffic_champion_url: HttpUrl = Field(
        "http://serving:8000", description="Address of the champions, each of which is asked."
    )
    traffic_challenger_url: HttpUrl = Field(
        "http://challenger:8000", description="Address of the challengers."
    )
    traffic_poll_interval_s: float = Field(
        0.25, gt=0, le=1, description="Seconds between two looks at the gateway."
    )
    traffic_window_s: float = Field(
        30.0, gt=0, description="Seconds of traffic by which the challenger is judged."
    )
    traffic_min_failures: int = Field(
        5, ge=1, description="Failures of the challenger below which none aborts."
    )
    traffic_max_failure_share: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of its requests that it may fail at more than the champion, 0 to 1.",
    )
    traffic_min_requests: int = Field(
        50, ge=1, description="Requests of the challenger from which on its latency counts."
    )
    traffic_latency_factor: float = Field(
        3.0, ge=1, description="How many times the champion's latency (p95) it may take."
    )
    traffic_latency_floor_ms: float = Field(
        100.0, ge=0, description="Latency (p95) that is never too long, in milliseconds."
    )


class DemoSettings(BaseSettings):
    """The stack without Docker (`make demo`)."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    mlflow_port: int = Field(5000, ge=1, le=65535, description="Port of the MLflow server.")
    gateway_port: int = Field(8000, ge=1, le=65535, description="Port of the prediction API.")
    modelyard_config: str = Field("configs/train.yaml", description="What `make demo` trains.")
    modelyard_state_dir: Path = Field(Path(".modelyard"), description="Where its state lies.")


Settings = TypeVar("Settings", bound=BaseSettings)


def read_settings(kind: type[Settings]) -> Settings:
    """The settings of a process, from its environment.

    Raises:
        ConfigError: one line a variable that is missing or not of its type; values are not shown.
    """
    try:
        return kind()
    except ValidationError as error:
        lines = [
            f"  {'_'.join(map(str, fault['loc'])).upper()}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        ]
        raise ConfigError(
            "The environment is not valid:\n" + "\n".join(lines),
            fix="Every variable is explained in .env.example.",
        ) from error
