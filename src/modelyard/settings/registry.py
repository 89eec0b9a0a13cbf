"""How processes reach the registry, and who they are there."""

from __future__ import annotations

from pydantic import Field

from modelyard.settings.environment import Environment, HttpUrl, login_name


class RegistrySettings(Environment):
    """How to reach the MLflow server; shared by every process that does."""

    mlflow_tracking_uri: HttpUrl = Field(
        "http://127.0.0.1:5000", description="Address of the MLflow server."
    )
    registry_timeout_s: float = Field(
        5.0, gt=0, le=60, description="Seconds that one request to the MLflow server may take."
    )


class ActorSettings(RegistrySettings):
    """A process in which somebody changes the registry."""

    modelyard_user: str = Field(
        default_factory=login_name, description="Who trains and promotes, for the record."
    )
