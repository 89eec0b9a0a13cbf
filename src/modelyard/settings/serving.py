"""The prediction server."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from modelyard.settings.registry import RegistrySettings

PREDICTION_LOG_DIR = Path("/var/log/modelyard")
"""In containers."""


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
