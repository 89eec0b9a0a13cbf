"""The three read-only pages of the service `traffic`, for use inside the stack."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import Receive, Scope, Send

from modelyard.traffic.metrics import ReportMetrics


class Pages:
    """An ASGI application; `/livez` answers 200 once there is a report."""

    def __init__(self, metrics: ReportMetrics) -> None:
        self._metrics = metrics

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, kind, body = self._page(scope["path"])
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _page(self, path: str) -> tuple[int, str, bytes]:
        report = self._metrics.report
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, self._metrics.text()
        if path not in {"/livez", "/report"}:
            return 404, "text/plain", b"The pages are /livez, /report and /metrics.\n"
        if report is None:
            return 503, "text/plain", b"There is no report yet.\n"
        if path == "/livez":
            return 200, "application/json", b'{"status":"alive"}'
        return 200, "application/json", report.model_dump_json().encode()
