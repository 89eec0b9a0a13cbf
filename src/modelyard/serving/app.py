"""The ASGI application, put together from its collaborators. Importing this does nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from modelyard.errors import ModelyardError
from modelyard.serving.admin import AdminToken
from modelyard.serving.edge import REQUEST_ID, Edge
from modelyard.serving.follower import Follower
from modelyard.serving.holder import Holder
from modelyard.serving.metrics import ServingMetrics
from modelyard.serving.openapi import build_openapi
from modelyard.serving.predict import Limits, PredictRoute
from modelyard.serving.problem import Problem, as_problem, render
from modelyard.serving.routes import native_routes
from modelyard.settings import ServingSettings

log = logging.getLogger(__name__)

_DOCUMENTATION = ("/docs", "/openapi.json")


def create_app(settings: ServingSettings, holder: Holder, follower: Follower) -> Edge:
    """The whole server; its lifespan starts and stops `follower`."""
    metrics = ServingMetrics(holder, follower)
    limits = Limits(
        max_body_bytes=settings.serving_max_body_bytes,
        max_rows=settings.serving_max_rows,
        max_concurrency=settings.serving_max_concurrency,
        timeout_s=settings.serving_request_timeout_s,
    )
    predict = PredictRoute(holder, follower.absence, limits, metrics)
    token = AdminToken(settings.serving_admin_token_file)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(predict.deadlines.watch(), name="deadlines")
        await follower.start()
        yield
        await follower.stop()
        watch.cancel()
        predict.close()
        holder.close()

    app = FastAPI(
        title="Modelyard",
        version=_version(),
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    routes = native_routes(holder, follower, metrics, token)
    app.include_router(routes)
    app.openapi = lambda: build_openapi(  # type: ignore[method-assign]  # as FastAPI documents it
        app, holder.snapshot, limits.max_rows
    )
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(ModelyardError, _answer_error)
    app.add_exception_handler(Exception, _answer_error)
    known = {path for route in routes.routes if (path := getattr(route, "path", None))}
    known.update(_DOCUMENTATION)
    return Edge(app, predict, holder, metrics, known_route=lambda p: p if p in known else "other")


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = f"{request.method} is not answered at this path."
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = "There is nothing at this path; /docs lists what there is."
    kind = phrase.lower().replace(" ", "-")
    return _answer(request, Problem(kind, error.status_code, phrase, detail, headers=error.headers))


async def _answer_error(request: Request, error: Exception) -> Response:
    return _answer(request, as_problem(error))


def _answer(request: Request, problem: Problem) -> Response:
    body, headers = render(problem, getattr(request.state, REQUEST_ID, ""))
    return Response(
        body, problem.status, headers={name.decode(): value.decode() for name, value in headers}
    )


def _version() -> str:
    try:
        return version("modelyard")
    except PackageNotFoundError:  # run from a source tree
        return "0"
