"""The routes that FastAPI answers; each one translates, none decides."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from modelyard import __version__
from modelyard.errors import ModelyardError
from modelyard.serving.following.follower import Follower
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.problem import Problem, as_problem
from modelyard.serving.routes.admin import AdminToken, Credentials
from modelyard.serving.routes.report import (
    Health,
    Life,
    ModelView,
    Reload,
    view_follower,
    view_health,
    view_model,
    view_reload,
)
from modelyard.serving.web.metrics import ServingMetrics
from modelyard.serving.web.readiness import Readiness

MLFLOW_VERSION = "3.17.2"
"""Written here because the leanest image does not have the package."""


def native_routes(
    follower: Follower, metrics: ServingMetrics, token: AdminToken, readiness: Readiness
) -> APIRouter:
    """Modelyard's own routes, except `/predict`."""
    routes = APIRouter()

    def served() -> Snapshot:
        try:
            return follower.served()
        except ModelyardError as error:
            raise _with_follower(error, follower) from error

    @routes.get(
        "/health",
        tags=["state"],
        summary="Is a model served?",
        response_model_exclude_defaults=True,
    )
    async def health() -> Health:
        served()
        readiness.check_ready()
        return view_health(metrics)

    @routes.get("/livez", tags=["state"], summary="Does the process answer?")
    async def livez() -> Life:
        return Life()

    @routes.get("/model", tags=["state"], summary="What is served, and where it comes from")
    async def model() -> ModelView:
        return view_model(served(), follower, metrics)

    @routes.post("/admin/reload", tags=["admin"], summary="Look at the registry now")
    async def reload(credentials: Credentials) -> Reload:
        token.check(credentials)
        try:
            await follower.reload()
        except ModelyardError as error:
            raise _with_follower(error, follower) from error
        return view_reload(served())

    @routes.get(
        "/metrics", tags=["state"], summary="Prometheus metrics", response_class=PlainTextResponse
    )
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return routes


def mlflow_routes(follower: Follower, readiness: Readiness) -> APIRouter:
    """The other routes of MLflow's scoring protocol; it shares `/health` with the native ones."""
    routes = APIRouter(tags=["mlflow scoring"])

    # MLflow's body is one line feed, which it calls JSON
    @routes.get("/ping", summary="Is a model served?", response_class=PlainTextResponse)
    async def ping() -> PlainTextResponse:
        follower.served()
        readiness.check_ready()
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
    """`error` as a problem that also shows the follower's report."""
    problem = as_problem(error)
    problem.members["follower"] = view_follower(follower.report).model_dump(mode="json")
    return problem
