"""MLflow's answers as values: registered models, model versions, runs and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from modelyard.errors import RegistryError


@dataclass(frozen=True)
class ModelVersion:
    """One model version as the registry describes it."""

    name: str
    version: str
    run_id: str
    source: str
    status: str
    created_ms: int
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def created(self) -> datetime:
        """When it was registered, in UTC."""
        return datetime.fromtimestamp(self.created_ms / 1000, UTC)


@dataclass(frozen=True)
class RegisteredModel:
    """Aliases (alias → version number) and tags of a registered model, read at one moment."""

    name: str
    aliases: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """What a run recorded: the last value of each metric, parameters and tags."""

    run_id: str
    status: str
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    name: str = ""
    experiment_id: str = ""
    artifact_uri: str = ""
    started_ms: int = 0
    ended_ms: int = 0


@dataclass(frozen=True)
class ArtifactFile:
    """One file of a model version: path relative to the version's folder, size in bytes."""

    path: PurePosixPath
    size_bytes: int


def version_of(body: Any) -> ModelVersion:
    """The model version in an answer from MLflow."""
    try:
        return ModelVersion(
            name=body["name"],
            version=str(body["version"]),
            run_id=body.get("run_id", ""),
            source=body.get("source", ""),
            status=body.get("status", ""),
            created_ms=int(body.get("creation_timestamp", 0)),
            aliases=tuple(body.get("aliases", ())),
            tags={tag["key"]: tag["value"] for tag in body.get("tags", [])},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RegistryError("The server's answer is no model version: is it MLflow?") from error


def model_of(body: Mapping[str, Any]) -> RegisteredModel:
    """The registered model in an answer from MLflow."""
    return RegisteredModel(
        name=body["name"],
        aliases={entry["alias"]: str(entry["version"]) for entry in body.get("aliases", [])},
        tags={tag["key"]: tag["value"] for tag in body.get("tags", [])},
    )


def run_of(body: Mapping[str, Any]) -> Run:
    """The run in an answer from MLflow."""
    info, data = body["info"], body.get("data", {})
    return Run(
        run_id=str(info.get("run_id", "")),
        status=info["status"],
        metrics={m["key"]: float(m["value"]) for m in data.get("metrics", [])},
        params={p["key"]: p["value"] for p in data.get("params", [])},
        tags={t["key"]: t["value"] for t in data.get("tags", [])},
        name=info.get("run_name", ""),
        experiment_id=info.get("experiment_id", ""),
        artifact_uri=info.get("artifact_uri", ""),
        started_ms=int(info.get("start_time") or 0),
        ended_ms=int(info.get("end_time") or 0),
    )
