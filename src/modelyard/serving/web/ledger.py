"""Where every request for predictions is booked, whichever way it takes through the server.

An entry begins with a request's headers, may be admitted, and ends with an answer or a refusal.
What it holds of the server is given back when it ends, whatever is raised on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from modelyard.scoring.runner import Predictions
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.protocols.body import RequestHeaders
from modelyard.serving.web.metrics import ServingMetrics
from modelyard.serving.web.recorder import Recorder
from modelyard.serving.web.request_id import IdHeaders, RequestIds, trace_id

_OK = 200
_NO_ROUTE = "other"
_FAULTS_OF_MODELS = frozenset(
    {
        *("model-failed", "model-process-lost", "model-restarting"),
        *("no-finite-answer", "overdue", "internal"),
    }
)
"""What a request is refused with when it reached a model, and got no answer from it."""


class Entry:
    """One request for predictions, from its headers to its answer."""

    __slots__ = ("id_headers", "is_admitted", "label", "snapshot", "started")

    def __init__(self, label: str, id_headers: IdHeaders) -> None:
        self.label = label
        self.id_headers = id_headers
        self.started = perf_counter()
        self.is_admitted = False
        self.snapshot: Snapshot | None = None


class Ledger:
    """Names, counts, times and logs requests. Used from the event loop's thread only.

    Args:
        ids: names the requests.
        metrics: has the counts.
        recorder: writes the prediction log.
        max_concurrency: requests that are admitted at the same time.
    """

    def __init__(
        self, ids: RequestIds, metrics: ServingMetrics, recorder: Recorder, max_concurrency: int
    ) -> None:
        self._ids = ids
        self._metrics = metrics
        self._recorder = recorder
        self._max_concurrency = max_concurrency

    def begin(self, label: str, headers: RequestHeaders) -> Entry:
        """The entry of a request with these headers, to the address `label`."""
        return Entry(label, self._ids.id_headers(headers))

    def admit(self, entry: Entry) -> bool:
        """Whether there is room for the request; what it takes is held until the entry ends."""
        metrics = self._metrics
        if metrics.in_flight >= self._max_concurrency:
            return False
        metrics.in_flight += 1
        entry.is_admitted = True
        return True

    def release(self, entry: Entry) -> None:
        """Give back what the request holds; the second time changes nothing."""
        if entry.is_admitted:
            entry.is_admitted = False
            self._metrics.in_flight -= 1

    def outlive(self, entry: Entry) -> Callable[[], None]:
        """What the request holds stays taken when the entry ends, until the result is called.

        For work that goes on after its request was given up.
        """
        if not entry.is_admitted:
            return lambda: None
        entry.is_admitted = False
        return self._give_back

    def _give_back(self) -> None:
        self._metrics.in_flight -= 1

    def answered(
        self,
        entry: Entry,
        snapshot: Snapshot,
        predictions: Predictions,
        request: bytes,
        answer: bytes,
    ) -> None:
        """Book an answer and end the entry; `write_log` has to follow before the answer goes out.

        Whatever this raises, the entry is released and nothing else is booked: the 503 `Problem`
        where the log is required and cannot be written.

        Args:
            entry: the request's.
            snapshot: what answered.
            predictions: what it answered.
            request: the request's body.
            answer: the answer's body.
        """
        metrics, recorder = self._metrics, self._recorder
        if entry.is_admitted:
            entry.is_admitted = False
            metrics.in_flight -= 1
        line = None
        if recorder.encoder is not None:
            version, id_headers = snapshot.version, entry.id_headers
            line = recorder.encoder.encode(
                version.name,
                version.version,
                entry.label,
                id_headers[0][1],
                trace_id(id_headers) if len(id_headers) > 1 else b"",
                len(predictions),
                request,
                answer,
            )
            if recorder.is_required:
                recorder.write_required(line)
                line = None
        metrics.scores.add(snapshot, predictions)
        if line is not None:
            recorder.pending.append(line)
        metrics.prediction(entry.label, _OK, perf_counter() - entry.started)

    def write_log(self) -> None:
        """Write to the log what was answered since the last time."""
        self._recorder.write()

    def unreadable(self, status: int) -> IdHeaders:
        """Book what was no request and is answered with `status`; what identifies the answer."""
        self._metrics.request(_NO_ROUTE, status)
        return self._ids.id_headers({})

    def refused(self, entry: Entry, status: int, kind: str = "") -> None:
        """Book a request that gets no predictions, and end its entry.

        Args:
            entry: the request's.
            status: the status that it is answered with.
            kind: the reason; empty when the client has gone.
        """
        self.release(entry)
        if kind:
            self._metrics.refusal(kind)
            if kind in _FAULTS_OF_MODELS and entry.snapshot is not None:
                self._metrics.failure(entry.snapshot.tenure, kind)
        self._metrics.prediction(entry.label, status, perf_counter() - entry.started)
