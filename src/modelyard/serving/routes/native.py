"""The routes that FastAPI answers; each one translates, none decides."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST

from modelyard import __version__
from modelyard.errors import ModelyardError
from modelyard.serving.following.follower import Follower
from modelyard.serving.model.holder import Holder
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.problem import Problem, as_problem
from modelyard.serving.routes.admin import AdminToken
from modelyard.serving.routes.report import (
    Health,
    Life,
    ModelView,
    Reload,
    view_follower,
    view_model,
)
from modelyard.serving.web.drain import Drain
from modelyard.serving.web.metrics import ServingMetrics

MLFLOW_VERSION = "3.17.2"
"""Not asked of the package, which the leanest image does not have."""

_bearer = HTTPBearer(auto_error=False, description="The token in SERVING_ADMIN_TOKEN_FILE.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def native_routes(
    holder: Holder,
    follower: Follower,
    metrics: ServingMetrics,
    token: AdminToken,
    drain: Drain,
) -> APIRouter:
    """Modelyard's own routes, save `/predict`."""
    routes = APIRouter()

    def served() -> Snapshot:
        if holder.snapshot is None:
            raise _with_follower(follower.absence(), follower)
        return holder.snapshot

    @routes.get("/health", tags=["state"], summary="Is a model served?")
    async def health() -> Health:
        served()
        drain.check_ready()
        return Health()

    @routes.get("/livez", tags=["state"], summary="Does the process answer?")
    async def livez() -> Life:
        return Life()

    @routes.get("/model", tags=["state"], summary="What is served, and where it comes from")
    async def model() -> ModelView:
        return view_model(served(), follower)

    @routes.post("/admin/reload", tags=["admin"], summary="Look at the registry now")
    async def reload(credentials: Credentials) -> Reload:
        token.check(credentials.credentials if credentials else None)
        report = await follower.reload()
        if report.error is not None:
            raise _with_follower(report.error, follower)
        version = served().version
        return Reload(name=version.name, version=version.version, loaded_at=served().loaded_at)

    @routes.get(
        "/metrics", tags=["state"], summary="Prometheus metrics", response_class=PlainTextResponse
    )
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return routes


def mlflow_routes(holder: Holder, follower: Follower, drain: Drain) -> APIRouter:
    """What MLflow's scoring protocol answers beside predictions; `/health` is ours and its."""
    routes = APIRouter(tags=["mlflow scoring"])

    # MLflow's body is one line feed, which it calls JSON
    @routes.get("/ping", summary="Is a model served?", response_class=PlainTextResponse)
    async def ping() -> PlainTextResponse:
        if holder.snapshot is None:
            raise follower.absence()
        drain.check_ready()
        return PlainTextResponse("\n")

    @routes.get(
        "/version",
        summary="The MLflow version whose protocol is spoken; Modelyard's own is in a header",
        response_class=PlainTextResponse,
    )
    async def mlflow_version() -> PlainTextResponse:
        return PlainTextResponse(MLFLOW_VERSION, headers={"X-Modelyard-Version": __version__})

    return routes


def _with_follower(error: ModelyardError, follower: Follower) -> Problem:
    """`error` as a problem that also shows where the follower stands."""
    problem = as_problem(error)
    problem.members["follower"] = view_follower(follower.report).model_dump(mode="json")
    return problem
