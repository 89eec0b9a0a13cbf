"""A prediction, as straight as it can be: body → table → runner → answer, for every protocol.

Plain ASGI in front of FastAPI, whose own handling of a request costs more than everything here.
Bodies over `INLINE_BODY_BYTES` and slow models go to a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from starlette.types import Receive, Scope, Send

from modelyard.errors import ModelyardError
from modelyard.scoring.runner import Call, Predictions, RunnerError
from modelyard.serving.problem import Headers, as_problem
from modelyard.serving.protocols.body import ClientGoneError, RequestHeaders
from modelyard.serving.protocols.exchange import (
    INLINE_BODY_BYTES,
    HttpResponse,
    ModelSpec,
    ModelSpecs,
    RequestFormat,
    WireProtocol,
)
from modelyard.serving.web.batcher import TickBatcher
from modelyard.serving.web.collector import Collector
from modelyard.serving.web.deadlines import Deadlines
from modelyard.serving.web.jobs import Jobs
from modelyard.serving.web.joining import resolve
from modelyard.serving.web.ledger import Entry, Ledger
from modelyard.serving.web.line_limit import LineLimit
from modelyard.serving.web.refusals import model_failed, overdue, slow_client, too_busy
from modelyard.serving.web.request_id import log_fields

log = logging.getLogger(__name__)

_CLIENT_GONE = 499  # nginx's number; only the metrics show it
_SERVER_ERROR = 500
_LINES_A_SECOND = 10
_THREADS = 2

ABANDON = "modelyard.abandon"
"""Key in the scope of what a connection calls when its client has gone: the request is given up."""


class PredictRoute:
    """Answers the requests for predictions of every protocol.

    Args:
        specs: what is served.
        absence: says why nothing is served.
        batcher: scores the rows of those models that run in this process.
        observe: called with the number of rows of each call of another model.
        ledger: books the requests.
    """

    def __init__(
        self,
        specs: ModelSpecs,
        absence: Callable[[], ModelyardError],
        batcher: TickBatcher,
        observe: Callable[[int], None],
        ledger: Ledger,
    ) -> None:
        self._specs = specs
        self._absence = absence
        self._limits = limits = specs.limits
        self._batcher = batcher
        self._observe = observe
        self._ledger = ledger
        self._collector = Collector(observe)
        self._jobs = Jobs(_THREADS)
        self._lines = LineLimit(_LINES_A_SECOND)
        self._batches: set[asyncio.Future[Any]] = set()
        self.deadlines = Deadlines(limits.timeout_s)

    def close(self) -> None:
        """Give the threads back, and give up what they do."""
        self._jobs.close()

    async def __call__(
        self,
        protocol: WireProtocol,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_headers: RequestHeaders,
    ) -> None:
        """Answer one request."""
        entry = self._ledger.begin(protocol.label, request_headers)
        try:
            status, (body, headers) = (
                200,
                await self._answer(entry, protocol, scope, receive, request_headers),
            )
        except ClientGoneError:
            self._ledger.refused(entry, _CLIENT_GONE)
            return
        except Exception as error:  # noqa: BLE001 - the one place where errors become answers
            status, body, headers = self._refuse(entry, protocol, error)
        length = (b"content-length", b"%d" % len(body))
        headers = [*headers, length, *entry.id_headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self,
        entry: Entry,
        protocol: WireProtocol,
        scope: Scope,
        receive: Receive,
        headers: RequestHeaders,
    ) -> HttpResponse:
        """Within the limits on concurrency and time: the answer, which is booked."""
        request_format = protocol.format_of(scope, headers)
        request_format.body.check_announced(headers)
        if not self._ledger.admit(entry):
            raise too_busy()
        task = asyncio.current_task()
        assert task is not None  # an ASGI call runs in a task
        self.deadlines.enter(task)
        scope[ABANDON] = partial(self.deadlines.give_up, task)
        body = None
        try:
            body = await request_format.body.read(receive, self._begin_batch)
            spec = self._specs.current()
            if spec is None:
                raise self._absence()
            entry.snapshot = spec.snapshot
            predictions, response = await self._predict(entry, spec, request_format, body)
        except asyncio.CancelledError:
            if self.deadlines.has_gone(task):
                task.uncancel()
                raise ClientGoneError from None
            if not self.deadlines.is_overdue(task):
                raise
            task.uncancel()
            late = slow_client if body is None else overdue
            raise late(self._limits.timeout_s) from None
        finally:
            self.deadlines.leave(task)
            if self._batches:
                self._batches.discard(task)
            self._ledger.release(entry)
        self._ledger.answered(entry, spec.snapshot, predictions, body, response[0])
        self._ledger.write_log()
        return response

    def _begin_batch(self) -> None:
        """The request that runs is a batch: few of those are held in memory at once."""
        task = asyncio.current_task()
        assert task is not None
        if task not in self._batches and len(self._batches) >= self._limits.max_batch_concurrency:
            raise too_busy()
        self._batches.add(task)

    async def _predict(
        self, entry: Entry, spec: ModelSpec, request_format: RequestFormat, body: bytes
    ) -> tuple[Predictions, HttpResponse]:
        snapshot = spec.snapshot
        waits_elsewhere = snapshot.queued is not None
        if len(body) > INLINE_BODY_BYTES or not (snapshot.runs_inline or waits_elsewhere):
            return await self._predict_in_thread(entry, spec, request_format, body)
        table, encode = request_format.read(spec, body)
        if waits_elsewhere:
            request = self._collector.submit(snapshot, table)
            try:
                predictions = await request.predictions
            except asyncio.CancelledError:
                if request.call is not None:
                    self._keep(entry, request.call)
                raise
        else:
            outcome: asyncio.Future[Predictions] = asyncio.get_running_loop().create_future()
            self._batcher.submit(snapshot, table, partial(resolve, outcome), outcome.done)
            predictions = await outcome
        return predictions, encode(spec, predictions)

    async def _predict_in_thread(
        self, entry: Entry, spec: ModelSpec, request_format: RequestFormat, body: bytes
    ) -> tuple[Predictions, HttpResponse]:
        snapshot = spec.snapshot

        def work(call: Call) -> tuple[Predictions, HttpResponse]:
            call.check()
            table, encode = request_format.read(spec, body)
            call.check()
            columns = table if isinstance(table, dict) else snapshot.decoder.columns(table)
            predictions = snapshot.runner.predict(columns, call)
            call.check()
            return predictions, encode(spec, predictions)

        with ExitStack() as held:
            snapshot.usage.enter()
            held.callback(snapshot.usage.leave)

            def keep(job: asyncio.Future[Any]) -> None:
                self._keep(entry, job, held.pop_all().close)

            predictions, response = await self._jobs.run(work, keep)
        self._observe(len(predictions))
        return predictions, response

    def _keep(
        self, entry: Entry, work: asyncio.Future[Any], end: Callable[[], None] = lambda: None
    ) -> None:
        """The request of the task that runs is given up, its work goes on and counts until it ends.

        Args:
            entry: the request's.
            work: done when the work has ended.
            end: called then.
        """
        give_back, batches = self._ledger.outlive(entry), self._batches
        task = asyncio.current_task()
        if task in batches:
            batches.discard(task)
            batches.add(work)

        def ended(_: object) -> None:
            batches.discard(work)
            give_back()
            end()

        work.add_done_callback(ended)

    def _refuse(
        self, entry: Entry, protocol: WireProtocol, error: Exception
    ) -> tuple[int, bytes, Headers]:
        """Book and log the refusal that `error` means; its status, body and headers."""
        problem = model_failed(error) if isinstance(error, RunnerError) else as_problem(error)
        fields = log_fields(entry.id_headers)
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
        self._ledger.refused(entry, status, problem.kind)
        if (spec := self._specs.current()) is not None:
            headers.append(spec.version_header)
        return status, body, headers
