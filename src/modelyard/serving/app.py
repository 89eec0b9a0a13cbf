"""The ASGI application, put together from its collaborators. Importing this does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from modelyard import __version__
from modelyard.errors import ModelyardError
from modelyard.serving.following.follower import Follower
from modelyard.serving.limits import Limits
from modelyard.serving.model.holder import Holder
from modelyard.serving.problem import Problem, as_problem
from modelyard.serving.protocols.exchange import Addresses, ModelSpecs, WireProtocol
from modelyard.serving.protocols.inference import InferenceProtocol
from modelyard.serving.protocols.mlflow_scoring import MlflowProtocol
from modelyard.serving.protocols.native import NativeProtocol
from modelyard.serving.protocols.wording import render_for
from modelyard.serving.routes.admin import AdminToken
from modelyard.serving.routes.documentation import add_documentation
from modelyard.serving.routes.inference import metadata_routes, repository_routes
from modelyard.serving.routes.native import mlflow_routes, native_routes
from modelyard.serving.routes.openapi import build_openapi
from modelyard.serving.watchdog import Watchdog
from modelyard.serving.web.batcher import TickBatcher
from modelyard.serving.web.cross_origin import CrossOrigin
from modelyard.serving.web.direct import DirectRoute
from modelyard.serving.web.drain import Drain
from modelyard.serving.web.edge import REQUEST_ID, Edge
from modelyard.serving.web.ledger import Ledger
from modelyard.serving.web.metrics import ServingMetrics
from modelyard.serving.web.outbox import Outbox
from modelyard.serving.web.predict import PredictRoute
from modelyard.serving.web.readiness import Readiness
from modelyard.serving.web.recorder import Recorder
from modelyard.serving.web.request_id import RequestIds
from modelyard.settings import ServingSettings


def create_app(settings: ServingSettings, holder: Holder, follower: Follower) -> Edge:
    """The whole server; its lifespan starts and stops `follower`.

    Raises:
        ConfigError: the folder for the prediction log cannot be used.
    """
    recorder = Recorder.of(settings)
    metrics = ServingMetrics(holder, follower, recorder)
    drain = Drain()
    readiness = Readiness(drain, recorder)
    limits = Limits.of(settings)
    specs = ModelSpecs(holder, limits)
    ids = RequestIds()
    ledger = Ledger(ids, metrics, recorder, limits.max_concurrency)
    outbox = Outbox(ledger.write_log)
    batcher = TickBatcher(metrics.batch, outbox.send)
    predict = PredictRoute(specs, follower.absence, batcher, metrics.batch, ledger)
    watchdog = Watchdog(settings.watchdog_s, holder.interrupt)
    token = AdminToken(settings.admin_token_file)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watchdog.start()
        watch = asyncio.create_task(predict.deadlines.watch(), name="deadlines")
        await follower.start()
        yield
        await follower.stop()
        watch.cancel()
        watchdog.stop()
        predict.close()
        recorder.close()
        holder.close()

    app = FastAPI(
        title="Modelyard",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(native_routes(follower, metrics, token, readiness))
    app.include_router(mlflow_routes(follower, readiness))
    app.include_router(metadata_routes(follower, app.version, readiness))
    app.include_router(repository_routes(follower, token))
    app.openapi = lambda: build_openapi(  # type: ignore[method-assign]  # as FastAPI documents it
        app, specs.current(), limits
    )
    add_documentation(app)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(ModelyardError, _answer_error)
    app.add_exception_handler(Exception, _answer_error)
    at_paths: list[WireProtocol] = [NativeProtocol(limits), MlflowProtocol(limits)]
    addresses = Addresses(at_paths, InferenceProtocol(limits).at)
    cross_origin = CrossOrigin(settings.allowed_origins)
    direct = DirectRoute(addresses, specs, batcher, outbox, ledger, drain, cross_origin)
    return Edge(app, predict, direct, addresses, holder, metrics, ids, cross_origin)


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
    # the path that was routed: `request.url` leaves line ends out
    render = render_for(request.scope["path"])
    status, body, headers = render(problem, getattr(request.state, REQUEST_ID, ""))
    return Response(
        body, status, headers={name.decode(): value.decode() for name, value in headers}
    )
