"""Which pages of other origins may read answers, by the setting SERVING_CORS_ORIGINS.

A browser sends such a page's request, or asks first whether it may (a preflight), and shows the
page the answer only if its headers allow that. https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import Message, Send

from modelyard.serving.problem import Headers, Problem
from modelyard.serving.protocols.body import RequestHeaders

ORIGIN = b"origin"
_ANY = "*"
_CLOSED = ("/admin", "/metrics", "/v2/repository/models")
"""What steers or shows the server is no page's business."""
_EXPOSED = (
    b"X-Request-Id, X-Model-Version, X-Model-Arm, X-Modelyard-Version, "
    b"Inference-Header-Content-Length, Retry-After, Allow, traceparent"
)
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    (b"access-control-allow-headers", b"*, Authorization"),
    (b"access-control-max-age", b"600"),
]


class CrossOrigin:
    """Answers preflights, and lets pages of these origins read every other answer.

    Args:
        origins: as browsers send them, `*` for all of them; none: no page of another origin.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self.is_on = bool(origins)
        self._allows_any = _ANY in origins
        self._origins = {origin.encode("ascii") for origin in origins}

    def covers(self, path: str) -> bool:
        """Whether pages may ask at `path` at all."""
        return self.is_on and not path.startswith(_CLOSED)

    def preflight(self, headers: RequestHeaders) -> Headers | None:
        """The headers that answer an OPTIONS that is a preflight; None when it is none.

        Raises:
            Problem: 403 for an origin that is not listed.
        """
        if ORIGIN not in headers or b"access-control-request-method" not in headers:
            return None
        if not self._is_listed(headers):
            raise Problem(
                "origin-not-allowed",
                403,
                "Forbidden",
                "Pages of this origin may not ask here.",
                fix="Add the origin to SERVING_CORS_ORIGINS.",
            )
        return _PREFLIGHT

    def readable(self, headers: RequestHeaders, send: Send) -> Send:
        """`send`, with what a browser needs to show the answer to the page that asked."""
        added = self._headers(headers)

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        return send_readable

    def _headers(self, headers: RequestHeaders) -> Headers:
        # a cache must not give one origin's answer to another
        added: Headers = [] if self._allows_any else [(b"vary", b"Origin")]
        if self._is_listed(headers):
            allowed = _ANY.encode() if self._allows_any else headers[ORIGIN]
            added.append((b"access-control-allow-origin", allowed))
            added.append((b"access-control-expose-headers", _EXPOSED))
        return added

    def _is_listed(self, headers: RequestHeaders) -> bool:
        origin = headers.get(ORIGIN)
        return origin is not None and (self._allows_any or origin in self._origins)
