"""`POST /predict`, as straight as it can be: body → rows → columns → runner → answer.

A plain ASGI route in front of FastAPI, whose own handling of a request costs more than everything
here. Bodies over `LARGE_BODY_BYTES` and slow models go to a thread; whatever is odd goes to
`faults.examine`, which says what.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

from starlette.types import Receive, Scope, Send

from modelyard.errors import ModelyardError
from modelyard.serving.batcher import TickBatcher
from modelyard.serving.body import ClientGoneError, check_headers, read_body
from modelyard.serving.deadlines import Deadlines
from modelyard.serving.decoder import UNDECODABLE, Row
from modelyard.serving.faults import check_row_count, examine
from modelyard.serving.holder import Holder
from modelyard.serving.metrics import ServingMetrics
from modelyard.serving.problem import Headers, Problem, as_problem, render
from modelyard.serving.request_id import HEADER as REQUEST_ID
from modelyard.serving.runner import RunnerError
from modelyard.serving.snapshot import Snapshot

log = logging.getLogger(__name__)

PATH = "/predict"
LARGE_BODY_BYTES = 64 * 1024
_CLIENT_GONE = 499  # nginx's number; nobody reads it but the metrics
_SERVER_ERROR = 500


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take."""

    max_body_bytes: int
    max_rows: int
    max_concurrency: int
    timeout_s: float


class PredictRoute:
    """Answers requests to `/predict`.

    Args:
        holder: what is served.
        absence: says why nothing is served.
        limits: see `Limits`.
        metrics: counts.
    """

    def __init__(
        self,
        holder: Holder,
        absence: Callable[[], ModelyardError],
        limits: Limits,
        metrics: ServingMetrics,
    ) -> None:
        self._holder = holder
        self._absence = absence
        self._limits = limits
        self._metrics = metrics
        self._batcher = TickBatcher(metrics.batch)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="predict")
        self.deadlines = Deadlines(limits.timeout_s)

    def close(self) -> None:
        """Give the threads back."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, request_id: bytes) -> None:
        """Answer one request."""
        started = perf_counter()
        headers: Headers
        try:
            snapshot, body = await self._answer(scope, receive)
        except ClientGoneError:
            self._metrics.prediction(_CLIENT_GONE, perf_counter() - started)
            return
        except Exception as error:  # noqa: BLE001 - the one place where errors become answers
            status, body, headers = self._refuse(error, request_id)
        else:
            status, headers = 200, snapshot.answer_headers
        headers = [
            *headers,
            (b"content-length", b"%d" % len(body)),
            (REQUEST_ID, request_id),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._metrics.prediction(status, perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[Snapshot, bytes]:
        """Within the limits on concurrency and time: who answered, and the answer."""
        if scope["method"] != "POST":
            raise _method_not_allowed()
        check_headers(scope["headers"], self._limits.max_body_bytes)
        if self._metrics.in_flight >= self._limits.max_concurrency:
            raise _too_busy()
        task = asyncio.current_task()
        assert task is not None  # an ASGI call runs in a task
        self._metrics.in_flight += 1
        self.deadlines.enter(task)
        body = None
        try:
            body = await read_body(receive, self._limits.max_body_bytes)
            snapshot = self._holder.snapshot
            if snapshot is None:
                raise self._absence()
            return snapshot, await self._predict(snapshot, body)
        except asyncio.CancelledError:
            if not self.deadlines.is_overdue(task):
                raise
            task.uncancel()
            overdue = _slow_client if body is None else _overdue
            raise overdue(self._limits.timeout_s) from None
        finally:
            self.deadlines.leave(task)
            self._metrics.in_flight -= 1

    async def _predict(self, snapshot: Snapshot, body: bytes) -> bytes:
        if len(body) > LARGE_BODY_BYTES or not snapshot.runs_inline:
            return await self._predict_in_thread(snapshot, body)
        outcome = self._batcher.submit(snapshot, self._read(snapshot, body))
        predictions = await outcome if isinstance(outcome, asyncio.Future) else outcome
        return snapshot.encode(predictions)

    async def _predict_in_thread(self, snapshot: Snapshot, body: bytes) -> bytes:
        def work() -> tuple[int, bytes]:
            rows = self._read(snapshot, body)
            predictions = snapshot.runner.predict(snapshot.decoder.columns(rows))
            return len(rows), snapshot.encode(predictions)

        job = asyncio.get_running_loop().run_in_executor(self._threads, work)
        snapshot.usage.enter()
        job.add_done_callback(lambda _: snapshot.usage.leave())  # also when nobody waits any more
        rows, answer = await asyncio.shield(job)
        self._metrics.batch(rows)
        return answer

    def _read(self, snapshot: Snapshot, body: bytes) -> Sequence[Row]:
        """The rows in `body`; raises the Problem that says what is wrong with it."""
        decoder = snapshot.decoder
        try:
            rows = decoder.decode(body)
        except UNDECODABLE:
            rows = ()
        if not rows or not decoder.has_single_keys(body, rows):
            return decoder.rows(examine(body, snapshot.contract, self._limits.max_rows))
        check_row_count(len(rows), self._limits.max_rows)
        return rows

    def _refuse(self, error: Exception, request_id: bytes) -> tuple[int, bytes, Headers]:
        problem = _model_failed() if isinstance(error, RunnerError) else as_problem(error)
        text_id = request_id.decode("ascii")
        is_defect = problem.status == _SERVER_ERROR
        log.log(
            logging.ERROR if is_defect else logging.INFO,
            "%s answered %d: %s",
            PATH,
            problem.status,
            problem.kind,
            extra={"fields": {"request_id": text_id}},
            exc_info=error if is_defect else None,
        )
        self._metrics.refusal(problem.kind)
        body, headers = render(problem, text_id)
        if (snapshot := self._holder.snapshot) is not None:
            headers.append(snapshot.version_header)
        return problem.status, body, headers


def _method_not_allowed() -> Problem:
    return Problem(
        "method-not-allowed",
        405,
        "Method Not Allowed",
        f"{PATH} takes POST.",
        headers={"allow": "POST"},
    )


def _too_busy() -> Problem:
    return Problem(
        "too-busy", 503, "Too many requests at once", "The server is at work on all it can hold."
    )


def _overdue(timeout_s: float) -> Problem:
    return Problem(
        "overdue",
        503,
        "The request took too long",
        f"The model gave no answer within {timeout_s:g} s.",
    )


def _slow_client(timeout_s: float) -> Problem:
    return Problem(
        "slow-client",
        408,
        "Request Timeout",
        f"The request's body was not complete within {timeout_s:g} s.",
        headers={"connection": "close"},
    )


def _model_failed() -> Problem:
    return Problem(
        "model-failed",
        500,
        "The model failed",
        "The model failed on this input; the server's log has the reason under this request's id.",
    )
