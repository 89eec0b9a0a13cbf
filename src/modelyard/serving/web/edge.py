"""The outermost ASGI application: predictions take a way of their own, all else goes to FastAPI.

A request whose head can be read in two ways is refused here. What FastAPI answers gets the
request's id and the version of the served model, and is counted.
"""

from __future__ import annotations

import logging

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard.serving.model.holder import Holder
from modelyard.serving.problem import Headers, Problem
from modelyard.serving.protocols.body import RequestHeaders
from modelyard.serving.protocols.exchange import VERSION_HEADER, Addresses
from modelyard.serving.protocols.wording import render_for
from modelyard.serving.web.cross_origin import CrossOrigin
from modelyard.serving.web.direct import DirectRoute
from modelyard.serving.web.metrics import ServingMetrics
from modelyard.serving.web.predict import PredictRoute
from modelyard.serving.web.request_head import check_headers, check_path, identities
from modelyard.serving.web.request_id import IdHeaders, RequestIds, log_fields

log = logging.getLogger(__name__)

REQUEST_ID = "request_id"
"""Key of the request's id in the scope's state."""
WHOLE_SERVER = b"/*"
"""The path of `OPTIONS *`, which asks about the server and no route of it."""
_NO_CONTENT = 204
_EMPTY: Headers = []


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
        cross_origin: which pages of other origins may read the answers.
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
        cross_origin: CrossOrigin,
    ) -> None:
        self.direct = direct
        self._app = app
        self._predict = predict_route
        self._addresses = addresses
        self._holder = holder
        self._metrics = metrics
        self._ids = ids
        self._cross_origin = cross_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in start and stop."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            check_path(scope["raw_path"])
            request_headers = check_headers(scope["headers"])
        except Problem as problem:
            id_headers = self._ids.id_headers(identities(scope["headers"]))
            await self._refuse(scope, send, problem, id_headers)
            return
        if self._cross_origin.covers(scope["path"]):
            send = self._cross_origin.readable(request_headers, send)
        if scope["method"] == "OPTIONS" and await self._introduce(scope, send, request_headers):
            return
        protocol = self._addresses.at(scope["path"])
        if protocol is not None:
            await self._predict(protocol, scope, receive, send, request_headers)
        else:
            await self._pass_on(scope, receive, send, self._ids.id_headers(request_headers))

    async def _introduce(self, scope: Scope, send: Send, headers: RequestHeaders) -> bool:
        """Whether this was a question about what may be asked, which is answered then."""
        id_headers = self._ids.id_headers(headers)
        is_about_all = scope["raw_path"] == WHOLE_SERVER
        answer: Headers | None = _EMPTY if is_about_all else None
        if answer is None and self._cross_origin.covers(scope["path"]):
            try:
                answer = self._cross_origin.preflight(headers)
            except Problem as problem:
                await self._refuse(scope, send, problem, id_headers)
                return True
        if answer is None:
            return False
        await _respond(self._identified(scope, send, id_headers), _NO_CONTENT, b"", answer)
        return True

    async def _refuse(
        self, scope: Scope, send: Send, problem: Problem, id_headers: IdHeaders
    ) -> None:
        """Answer a request that reaches no route."""
        render = render_for(scope["path"])
        status, body, headers = render(problem, log_fields(id_headers)["request_id"])
        headers.append((b"content-length", b"%d" % len(body)))
        await _respond(self._identified(scope, send, id_headers), status, body, headers)

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, id_headers: IdHeaders
    ) -> None:
        if scope["method"] == "HEAD":  # FastAPI knows GET only; uvicorn leaves the body out
            scope = {**scope, "method": "GET"}
        scope.setdefault("state", {})[REQUEST_ID] = log_fields(id_headers)["request_id"]
        await self._app(scope, receive, self._identified(scope, send, id_headers))

    def _identified(self, scope: Scope, send: Send, id_headers: IdHeaders) -> Send:
        """`send`, which names the request and the served version, counts, and logs."""

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
                    extra={"fields": log_fields(id_headers)},
                )
            await send(message)

        return send_identified


async def _respond(send: Send, status: int, body: bytes, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
