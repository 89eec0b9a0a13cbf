"""What the server says about itself: the bodies of `/health`, `/livez`, `/model` and a reload."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from modelyard.config import Frozen
from modelyard.scoring.trial import TrialRow
from modelyard.serving.following.follower import Follower
from modelyard.serving.following.report import FollowerReport
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.web.metrics import ServingMetrics


class Health(Frozen):
    """A model is served; whether all is well with it.

    degraded: something beside the answers does not work. failing: the model answers nothing.
    """

    status: Literal["healthy", "degraded", "failing"]
    reasons: tuple[str, ...] = ()


class Life(Frozen):
    """The process answers; it says nothing about a model."""

    status: Literal["alive"] = "alive"


class PredictionLogView(Frozen):
    """The prediction log, since the process started."""

    written: int = Field(description="Predictions that are in the log.")
    lost: int = Field(description="Predictions whose line could not be written.")
    required: bool = Field(description="What cannot be logged is not answered.")
    last_lost_at: datetime | None
    trouble: str = Field(description="Why lines are lost now; empty while none are.")


class FollowerView(Frozen):
    """How the server follows the registry."""

    state: str
    checked_at: datetime | None = Field(description="When the registry last answered.")
    wanted_version: str | None = Field(description="What the followed address meant then.")
    last_error: str | None


class ModelView(Frozen):
    """The served model version, where it comes from and what was checked about it."""

    name: str
    version: str
    uri: str = Field(description="The address that is followed.")
    aliases: tuple[str, ...] = Field(description="Aliases of the version when it was loaded.")
    run_id: str
    commit: str = Field(description="Git commit of the training code; empty when unknown.")
    data_version: str = Field(description="md5 of the dataset; empty when unknown.")
    metrics: dict[str, float | None]
    contract: dict[str, Any]
    contract_source: str
    example_tried: bool = Field(description="The model was tried on a real example at load.")
    trial_row: str = Field(description="Where the row comes from that it answered at load.")
    answers: int = Field(description="Requests that it has answered since it was taken up.")
    failures: int = Field(description="Requests that it has failed on since then.")
    health: Health
    prediction_log: PredictionLogView
    manifest: str = Field(description="verified, unanchored or absent.")
    manifest_explanation: str
    runner: str
    loaded_at: datetime
    stale: bool = Field(description="The registry has not confirmed that this is the version.")
    last_error: str | None
    follower: FollowerView


class Reload(Frozen):
    """What is served after a reload."""

    name: str
    version: str
    loaded_at: datetime


def view_follower(report: FollowerReport) -> FollowerView:
    """The follower's report for a client."""
    return FollowerView(
        state=report.state.value,
        checked_at=report.checked_at,
        wanted_version=report.wanted_version,
        last_error=report.error.sentence() if report.error else None,
    )


def view_reload(snapshot: Snapshot) -> Reload:
    """What a reload ended with."""
    version = snapshot.version
    return Reload(name=version.name, version=version.version, loaded_at=snapshot.loaded_at)


def view_health(metrics: ServingMetrics) -> Health:
    """How well the served version is served."""
    failing, unlogged = metrics.trouble(), metrics.recorder.look_again()
    if unlogged:
        unlogged = f"Predictions are not logged: {unlogged}"
    status: Literal["healthy", "degraded", "failing"] = "degraded" if unlogged else "healthy"
    reasons = tuple(reason for reason in (failing, unlogged) if reason)
    return Health(status="failing" if failing else status, reasons=reasons)


def view_model(snapshot: Snapshot, follower: Follower, metrics: ServingMetrics) -> ModelView:
    """Everything about the served version."""
    health, recorder = view_health(metrics), metrics.recorder
    version, origin = snapshot.version, snapshot.origin
    followed = view_follower(follower.report)
    return ModelView(
        name=version.name,
        version=version.version,
        uri=follower.uri,
        aliases=version.aliases,
        run_id=origin.run_id,
        commit=origin.commit,
        data_version=origin.data_version,
        metrics={k: v if math.isfinite(v) else None for k, v in origin.metrics.items()},
        contract=snapshot.contract.model_dump(mode="json"),
        contract_source=snapshot.contract_source.value,
        example_tried=snapshot.trial_row is not TrialRow.MADE,
        trial_row=snapshot.trial_row.value,
        answers=snapshot.tenure.answers,
        failures=snapshot.tenure.failures,
        health=health,
        prediction_log=PredictionLogView(
            written=recorder.written,
            lost=recorder.lost,
            required=recorder.is_required,
            last_lost_at=recorder.troubled_at,
            trouble=recorder.trouble,
        ),
        manifest=snapshot.verification.value,
        manifest_explanation=snapshot.verification.explanation,
        runner=snapshot.runner.description,
        loaded_at=snapshot.loaded_at,
        stale=follower.is_stale,
        last_error=followed.last_error,
        follower=followed,
    )
