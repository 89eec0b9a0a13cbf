"""The prediction server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from modelyard.settings.registry import RegistrySettings

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?").fullmatch


def _origins(text: str) -> str:
    origins = [origin.strip().lower().rstrip("/") for origin in text.split(",") if origin.strip()]
    if origins != ["*"] and not all(map(_ORIGIN, origins)):
        raise ValueError(
            "expected origins of web pages as a browser names them, scheme://host or "
            "scheme://host:port with http or https, separated by commas, or * alone"
        )
    return ",".join(origins)


Origins = Annotated[str, AfterValidator(_origins)]
"""`*`, or origins separated by commas."""
PREDICTION_LOG_DIR = Path("/var/log/modelyard")
"""In containers."""


class ServingSettings(RegistrySettings):
    """The serving process."""

    model_config = SettingsConfigDict(env_prefix="SERVING_")

    model_uri: str = Field(
        validation_alias="MODEL_URI",
        description="What to serve and follow: models:/NAME@ALIAS, models:/NAME/VERSION, "
        "models:/NAME/STAGE or models:/NAME/latest.",
    )
    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    cache_dir: Path = Field(
        Path("/var/cache/modelyard"), description="Folder for verified model versions."
    )
    cache_versions: int = Field(
        3, ge=1, description="Model versions kept on disk, so that a restart needs no registry."
    )
    poll_interval_s: float = Field(
        1.0,
        gt=0,
        description="Seconds between two looks at the alias (jittered by a quarter), one small "
        "request to MLflow each; with 1, replicas agree within 2 s of the first that serves a new "
        "version.",
    )
    download_timeout_s: float = Field(
        600.0, gt=0, description="Seconds that fetching a model version may take in all."
    )
    max_version_mb: int = Field(
        4096,
        ge=1,
        description="Largest model version in MiB, all files together; no larger one is served.",
    )
    admin_token_file: Path | None = Field(
        None, description="File with the token for /admin; without one /admin refuses everybody."
    )
    cors_origins: Origins = Field(
        "",
        description="Origins of web pages that may ask for predictions and read the answers, "
        "separated by commas (https://app.example.org,http://localhost:3000), or * for all pages; "
        "never for /admin and /metrics. Without any, only pages of the API's own origin can.",
    )
    require_manifest: bool = Field(
        default=False, description="true refuses model versions that carry no sha256 manifest."
    )
    allow_schema_change: bool = Field(
        default=False,
        description="true serves a new version also when its features break those who call the "
        "old one.",
    )
    model_formats: Literal["any", "onnx"] = Field(
        "any",
        description="any MLflow flavor, models that are code in processes of their own; or onnx, "
        "nothing that could run code.",
    )
    child_processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that run a model which does not run in the server's own: any but "
        "ONNX, and graphs of which a row decides how long they take.",
    )
    child_memory_mb: int = Field(
        1536,
        ge=0,
        description="MiB that each of them may hold before it is replaced, and so may the process "
        "in which a new ONNX graph is tried before it is served; 0: no limit.",
    )
    child_batch_rows: int = Field(
        1024, ge=1, description="Most rows of several requests that one of them gets at once."
    )
    child_start_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Seconds that one of them may take to load its model, and an ONNX graph on "
        "trial to be opened and to answer.",
    )
    child_isolation: Literal["auto", "required", "off"] = Field(
        "auto",
        description="What a model's code is kept from by Landlock and seccomp (SECURITY.md): auto, "
        "all that this kernel can keep it from; required, refuse models of code where that is not "
        "everything; off, nothing.",
    )
    child_network: bool = Field(
        default=False,
        description="true lets a model's code open connections to wherever the server's networks "
        "lead.",
    )
    max_body_bytes: int = Field(
        2**20, ge=1024, description="Largest body in bytes of one JSON request; more is a 413."
    )
    max_rows: int = Field(1000, ge=1, description="Most rows in one JSON request; more is a 413.")
    max_batch_body_bytes: int = Field(
        32 * 2**20,
        ge=1024,
        description="Largest body in bytes of a batch (columnar JSON, Arrow, binary tensors); more "
        "is a 413, which the gateway gives too.",
    )
    max_batch_rows: int = Field(
        1_000_000, ge=1, description="Most rows in one batch; more is a 413."
    )
    max_batch_concurrency: int = Field(
        4, ge=1, description="Batches held in memory at once; more are answered 503."
    )
    max_depth: int = Field(
        32, ge=4, le=200, description="Deepest nesting of a JSON body; more is a 400."
    )
    max_string_length: int = Field(
        4096,
        ge=1,
        description="Longest string of a row in characters, whatever a contract allows; more is a "
        "422.",
    )
    max_concurrency: int = Field(
        512, ge=1, description="Requests worked on at once; more are answered 503 with Retry-After."
    )
    max_connections: int = Field(
        2048,
        ge=16,
        description="Connections of a prediction server at once; beyond it the server closes those "
        "that have been idle the longest.",
    )
    request_timeout_s: float = Field(
        5.0, gt=0, description="Seconds a prediction may take, from its first byte to its answer."
    )
    watchdog_s: float = Field(
        15.0,
        ge=0,
        description="Seconds that a server's event loop may stand still; then the server ends, and "
        "its container starts it again. 0: any time.",
    )
    drain_s: float = Field(
        1.5,
        ge=0,
        le=60,
        description="Seconds between SIGTERM, when a server stops being ready, and the closing of "
        "its port: longer than the gateway takes to notice (two looks, half a second apart). Then "
        "it finishes what it has begun.",
    )
    prediction_log: Literal["off", "ids", "full"] = Field(
        "ids",
        description="What is logged of each prediction, so that `make trace` finds it by its "
        "X-Request-Id: off; ids (when, id, version, rows); or full, the request and its answer "
        "too.",
    )
    prediction_log_required: bool = Field(
        default=False,
        description="true answers 503 instead of a prediction whose line cannot be written to that "
        "log, for example to a full disk; false answers, and counts the line as lost.",
    )
    prediction_log_dir: Path = Field(
        PREDICTION_LOG_DIR,
        description="Folder of that log; replicas share it, `modelyard trace` searches it.",
    )
    prediction_log_mb: int = Field(
        1024,
        ge=32,
        description="MiB that the log may take for all replicas together, 150 bytes a prediction "
        "without contents; then the oldest goes.",
    )
    prediction_log_days: float = Field(30.0, gt=0, description="Days that the log is kept.")
    log_format: Literal["json", "plain"] = Field(
        "json", description="Log lines: json (one object a line) or plain."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level of the log lines: debug, info, warning or error."
    )

    @property
    def allowed_origins(self) -> list[str]:
        """`cors_origins`, one by one."""
        return [origin for origin in self.cors_origins.split(",") if origin]
