"""A prediction, as straight as it can be: body → table → runner → answer, for every protocol.

Plain ASGI in front of FastAPI, whose own handling of a request costs more than everything here.
Bodies over `LARGE_BODY_BYTES` and slow models go to a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from modelyard.errors import ModelyardError
from modelyard.scoring.rows.decoder import Table
from modelyard.scoring.runner import (
    Predictions,
    RunnerAbsentError,
    RunnerError,
    RunnerLostError,
)
from modelyard.serving.model.holder import Holder
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.problem import Headers, Problem, as_problem
from modelyard.serving.protocols.body import ClientGoneError, RequestHeaders
from modelyard.serving.protocols.exchange import (
    LARGE_BODY_BYTES,
    HttpResponse,
    ModelSpec,
    ModelSpecs,
    RequestFormat,
    WireProtocol,
)
from modelyard.serving.web.batcher import TickBatcher
from modelyard.serving.web.collector import Collector
from modelyard.serving.web.deadlines import Deadlines
from modelyard.serving.web.line_limit import LineLimit
from modelyard.serving.web.metrics import ServingMetrics
from modelyard.serving.web.recorder import Recorder
from modelyard.serving.web.request_id import Marks, log_fields

log = logging.getLogger(__name__)

_CLIENT_GONE = 499  # nginx's number; nobody reads it but the metrics
_SERVER_ERROR = 500
_LINES_A_SECOND = 10


class _Predicted(NamedTuple):
    """What was asked, and what came of it."""

    snapshot: Snapshot
    request: bytes
    predictions: Predictions
    answer: HttpResponse


class PredictRoute:
    """Answers the requests for predictions of every protocol.

    Args:
        holder: what is served.
        absence: says why nothing is served.
        specs: what a snapshot takes.
        batcher: scores the rows of those models that run in this process.
        metrics: counts.
        recorder: logs.
    """

    def __init__(
        self,
        holder: Holder,
        absence: Callable[[], ModelyardError],
        specs: ModelSpecs,
        batcher: TickBatcher,
        metrics: ServingMetrics,
        recorder: Recorder,
    ) -> None:
        self._holder = holder
        self._absence = absence
        self._specs = specs
        self._limits = limits = specs.limits
        self._metrics = metrics
        self._recorder = recorder
        self._batcher = batcher
        self._collector = Collector(metrics.batch)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="predict")
        self._lines = LineLimit(_LINES_A_SECOND)
        self._batches: set[asyncio.Task[object]] = set()
        self.deadlines = Deadlines(limits.timeout_s)

    def close(self) -> None:
        """Give the threads back."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(
        self,
        protocol: WireProtocol,
        scope: Scope,
        receive: Receive,
        send: Send,
        heads: RequestHeaders,
        marks: Marks,
    ) -> None:
        """Answer one request; the answer has the headers `marks`."""
        started = perf_counter()
        try:
            predicted = await self._answer(protocol, scope, receive, heads)
        except ClientGoneError:
            self._metrics.prediction(protocol.label, _CLIENT_GONE, perf_counter() - started)
            return
        except Exception as error:  # noqa: BLE001 - the one place where errors become answers
            status, body, headers = self._refuse(protocol, error, marks)
        else:
            status, (body, headers) = 200, predicted.answer
            self._keep(predicted, protocol.label, marks)
        headers = [*headers, (b"content-length", b"%d" % len(body)), *marks]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._metrics.prediction(protocol.label, status, perf_counter() - started)

    async def _answer(
        self, protocol: WireProtocol, scope: Scope, receive: Receive, heads: RequestHeaders
    ) -> _Predicted:
        """Within the limits on concurrency and time: the predictions and the answer."""
        form = protocol.format_of(scope, heads)
        form.body.check_announced(heads)
        if self._metrics.in_flight >= self._limits.max_concurrency:
            raise _too_busy()
        task = asyncio.current_task()
        assert task is not None  # an ASGI call runs in a task
        self._metrics.in_flight += 1
        self.deadlines.enter(task)
        body = None
        try:
            body = await form.body.read(receive, self._begin_batch)
            snapshot = self._holder.snapshot
            if snapshot is None:
                raise self._absence()
            return await self._predict(snapshot, form, body)
        except asyncio.CancelledError:
            if not self.deadlines.is_overdue(task):
                raise
            task.uncancel()
            overdue = _slow_client if body is None else _overdue
            raise overdue(self._limits.timeout_s) from None
        finally:
            self.deadlines.leave(task)
            if self._batches:
                self._batches.discard(task)
            self._metrics.in_flight -= 1

    def _begin_batch(self) -> None:
        """The request that runs is a batch: few of those are held in memory at once."""
        task = asyncio.current_task()
        assert task is not None
        if task not in self._batches and len(self._batches) >= self._limits.max_batch_concurrency:
            raise _too_busy()
        self._batches.add(task)

    async def _predict(self, snapshot: Snapshot, form: RequestFormat, body: bytes) -> _Predicted:
        spec = self._specs.of(snapshot)
        waits_elsewhere = snapshot.queued is not None
        if len(body) > LARGE_BODY_BYTES or not (snapshot.runs_inline or waits_elsewhere):
            return await self._predict_in_thread(spec, form, body)
        table, encode = form.read(spec, body)
        if waits_elsewhere:
            predictions = await self._collector.submit(snapshot, table)
        else:
            predictions = await self._score_in_tick(snapshot, table)
        return _Predicted(snapshot, body, predictions, encode(spec, predictions))

    def _score_in_tick(self, snapshot: Snapshot, table: Table) -> asyncio.Future[Predictions]:
        outcome: asyncio.Future[Predictions] = asyncio.get_running_loop().create_future()
        self._batcher.submit(snapshot, table, partial(_resolve, outcome))
        return outcome

    async def _predict_in_thread(
        self, spec: ModelSpec, form: RequestFormat, body: bytes
    ) -> _Predicted:
        snapshot = spec.snapshot

        def work() -> tuple[Predictions, HttpResponse]:
            table, encode = form.read(spec, body)
            columns = table if isinstance(table, dict) else snapshot.decoder.columns(table)
            predictions = snapshot.runner.predict(columns)
            return predictions, encode(spec, predictions)

        job = asyncio.get_running_loop().run_in_executor(self._threads, work)
        snapshot.usage.enter()
        job.add_done_callback(lambda _: snapshot.usage.leave())  # also when nobody waits any more
        predictions, answer = await asyncio.shield(job)
        self._metrics.batch(len(predictions))
        return _Predicted(snapshot, body, predictions, answer)

    def _keep(self, predicted: _Predicted, label: str, marks: Marks) -> None:
        """In metrics and log, before the answer goes out."""
        snapshot, request, predictions, (answer, _) = predicted
        self._metrics.scores.add(snapshot, predictions)
        self._recorder.add(snapshot, label, marks, len(predictions), request, answer)
        self._recorder.write()

    def _refuse(
        self, protocol: WireProtocol, error: Exception, marks: Marks
    ) -> tuple[int, bytes, Headers]:
        problem = _model_failed(error) if isinstance(error, RunnerError) else as_problem(error)
        fields = log_fields(marks)
        is_defect = problem.status == _SERVER_ERROR
        status, body, headers = protocol.render(problem, fields["request_id"])
        skipped = self._lines.admit(problem.kind)
        if skipped is not None:
            log.log(
                logging.ERROR if is_defect else logging.INFO,
                "%s answered %d: %s",
                protocol.label,
                status,
                problem.kind,
                extra={"fields": fields | ({"left_out_before": skipped} if skipped else {})},
                exc_info=error if is_defect else None,
            )
        self._metrics.refusal(problem.kind)
        if (snapshot := self._holder.snapshot) is not None:
            headers.append(self._specs.of(snapshot).version_header)
        return status, body, headers


def _resolve(outcome: asyncio.Future[Predictions], predictions: Predictions | Exception) -> None:
    if outcome.done():  # its deadline has passed, or its client has gone
        return
    if isinstance(predictions, Exception):
        outcome.set_exception(predictions)
    else:
        outcome.set_result(predictions)


def _too_busy() -> Problem:
    return Problem(
        "too-busy", 503, "Too many requests at once", "The server is at work on all it can hold."
    )


def _overdue(timeout_s: float) -> Problem:
    return Problem(  # not 503: a gateway would ask again, and an overload would feed itself
        "overdue",
        504,
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


def _model_failed(error: RunnerError) -> Problem:
    match error:
        case RunnerLostError():  # not 503: a gateway would ask again, and again end a process
            return Problem(
                "model-process-lost",
                502,
                "The model's process ended",
                "The process that runs the model ended while it worked on this request, or gave no "
                "answer; another one takes its place.",
            )
        case RunnerAbsentError():
            return Problem(
                "model-restarting",
                503,
                "The model is being started again",
                "The process that runs the model has died too often; it is started again.",
            )
        case _:
            return Problem(
                "model-failed",
                500,
                "The model failed",
                "The model failed on this input; the server's log has the reason under this "
                "request's id.",
            )
