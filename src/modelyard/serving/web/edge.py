"""The outermost ASGI application: predictions take a way of their own, all else goes to FastAPI.

What FastAPI answers gets the request's id and the version of the served model, and is
counted.
"""

from __future__ import annotations

import logging

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard.serving.model.holder import Holder
from modelyard.serving.protocols.exchange import VERSION_HEADER, Addresses
from modelyard.serving.web.direct import DirectRoute
from modelyard.serving.web.metrics import ServingMetrics
from modelyard.serving.web.predict import PredictRoute
from modelyard.serving.web.request_id import IdHeaders, RequestIds, log_fields

log = logging.getLogger(__name__)

REQUEST_ID = "request_id"
"""Key of the request's id in the scope's state."""


class Edge:
    """The server's ASGI application.

    Args:
        app: answers everything but predictions.
        predict_route: answers predictions.
        direct: answers those that a connection need not bring here.
        addresses: which protocol is spoken where.
        holder: what is served.
        metrics: counts.
        ids: names the requests.
    """

    def __init__(
        self,
        app: ASGIApp,
        predict_route: PredictRoute,
        direct: DirectRoute,
        addresses: Addresses,
        holder: Holder,
        metrics: ServingMetrics,
        ids: RequestIds,
    ) -> None:
        self.direct = direct
        self._app = app
        self._predict = predict_route
        self._addresses = addresses
        self._holder = holder
        self._metrics = metrics
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in start and stop."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_headers = dict(scope["headers"])
        protocol = self._addresses.at(scope["path"])
        if protocol is not None:
            await self._predict(protocol, scope, receive, send, request_headers)
        else:
            await self._pass_on(scope, receive, send, self._ids.id_headers(request_headers))

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, id_headers: IdHeaders
    ) -> None:
        fields = log_fields(id_headers)
        if scope["method"] == "HEAD":  # FastAPI knows GET only; uvicorn leaves the body out
            scope = {**scope, "method": "GET"}
        scope.setdefault("state", {})[REQUEST_ID] = fields["request_id"]

        async def send_identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in id_headers:
                    headers[name.decode("ascii")] = value.decode("ascii")
                if (snapshot := self._holder.snapshot) is not None:
                    headers[VERSION_HEADER.decode()] = snapshot.version.version
                # the route's own path, with names for its parts, so that labels stay few
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.request(route, message["status"])
                # probes and scrapes ask too often for a line each
                is_change = scope["method"] == "POST" and route != "other"
                log.log(
                    logging.INFO if is_change else logging.DEBUG,
                    "%s %s answered %d",
                    scope["method"],
                    route,
                    message["status"],
                    extra={"fields": fields},
                )
            await send(message)

        await self._app(scope, receive, send_identified)
