"""How processes reach the registry, and who they are there."""

from __future__ import annotations

from pydantic import Field

from modelyard.settings.environment import Environment, HttpUrl, login_name


class RegistrySettings(Environment):
    """How to reach the MLflow server; shared by every process that does."""

    mlflow_tracking_uri: HttpUrl = Field(
        "http://127.0.0.1:5000",
        validation_alias="MLFLOW_TRACKING_URI",
        description="Address of the MLflow server.",
    )
    registry_timeout_s: float = Field(
        5.0,
        gt=0,
        le=60,
        validation_alias="REGISTRY_TIMEOUT_S",
        description="Seconds that serving and the commands give one request to the MLflow server.",
    )


class ActorSettings(Environment):
    """A process in which somebody changes what others see: an alias, the split of the traffic."""

    modelyard_user: str = Field(
        default_factory=login_name,
        validation_alias="MODELYARD_USER",
        description="Who trains and promotes, for the record; the login name when it is not set.",
    )
