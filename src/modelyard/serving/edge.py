"""The outermost ASGI application: `/predict` goes its own way, all else goes to FastAPI.

Whatever FastAPI answers gets the request's id and the version of the served model, and is counted.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard.serving import predict
from modelyard.serving.holder import Holder
from modelyard.serving.metrics import ServingMetrics
from modelyard.serving.predict import PredictRoute
from modelyard.serving.request_id import RequestIds

REQUEST_ID = "request_id"
"""Key of the request's id in the scope's state."""


class Edge:
    """See above.

    Args:
        app: answers everything but `/predict`.
        predict_route: answers `/predict`.
        holder: what is served.
        metrics: counts.
        known_route: the label for a path; other paths share one, so that labels stay few.
    """

    def __init__(
        self,
        app: ASGIApp,
        predict_route: PredictRoute,
        holder: Holder,
        metrics: ServingMetrics,
        known_route: Callable[[str], str],
    ) -> None:
        self._app = app
        self._predict = predict_route
        self._holder = holder
        self._metrics = metrics
        self._known_route = known_route
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in start and stop."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._ids.of(scope["headers"])
        if scope["path"] == predict.PATH:
            await self._predict(scope, receive, send, request_id)
            return
        text_id = request_id.decode("ascii")
        scope.setdefault("state", {})[REQUEST_ID] = text_id

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = text_id
                if (snapshot := self._holder.snapshot) is not None:
                    headers["x-model-version"] = snapshot.version.version
                self._metrics.request(self._known_route(scope["path"]), message["status"])
            await send(message)

        await self._app(scope, receive, send_marked)
