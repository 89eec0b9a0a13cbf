"""A model that fails on every request since it was taken up is called failing, everywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from modelyard.scoring.runner import RunnerError
from modelyard.serving.model.tenure import Tenure
from support.misbehaving_runners import Wrapped
from support.models.folders import write_version
from support.models.toy import ROW
from support.protocol_requests import ARROW, V2, arrow_stream, lists_of, post, tensors
from support.serving_app import Server, snapshot_of


class Moody(Wrapped):
    """Fails, or has no finite answer, when it is in the mood for that."""

    mood = "raise"

    def predict(self, columns):
        if self.mood == "raise":
            raise RunnerError("secret 4711")
        answer = super().predict(columns)
        return answer * np.nan if self.mood == "nan" else answer


def serve_moody(server: Server, number: int = 2) -> Moody:
    """Let the server take up a version that fails from now on."""
    files = server.folder / f"moody-{number}"
    write_version(files, number)
    snapshot = snapshot_of(files, number)
    moody = Moody(snapshot.runner)
    server.holder.replace(replace(snapshot, runner=moody))
    return moody


def health(server: Server) -> dict:
    answer = server.ask("GET", "/health")
    assert answer.status_code == 200  # the gateway must not take every replica out for it
    return answer.json()


def ask(server: Server, times: int = 1) -> None:
    for _ in range(times):
        post(server, "/predict", ROW)


def test_a_version_that_failed_on_everything_is_called_failing_until_it_answers(server: Server):
    ask(server, 3)  # the version before answers
    assert health(server) == {"status": "healthy"}
    moody = serve_moody(server)
    assert health(server) == {"status": "healthy"}  # it was asked nothing
    ask(server, 5)
    said = health(server)
    assert said["status"] == "failing"
    assert said["reasons"][0].startswith("Version 2 has failed on all 5 requests since it was ")
    assert said["reasons"][0].endswith("taken up; the last was refused as model-failed.")
    model = server.ask("GET", "/model").json()
    assert (model["answers"], model["failures"]) == (0, 5)
    assert model["health"] == said
    metrics = server.ask("GET", "/metrics").text
    assert "modelyard_failing 1.0" in metrics
    assert 'modelyard_version_requests_total{outcome="failed",version="2"} 5.0' in metrics
    moody.mood = ""
    ask(server)
    assert health(server) == {"status": "healthy"}
    metrics = server.ask("GET", "/metrics").text
    assert "modelyard_failing 0.0" in metrics
    assert 'modelyard_version_requests_total{outcome="answered",version="2"} 1.0' in metrics


def test_no_finite_answer_is_none(server: Server):
    serve_moody(server).mood = "nan"
    ask(server)
    assert "failed on the one request" in health(server)["reasons"][0]
    assert "no-finite-answer" in health(server)["reasons"][0]


def test_a_client_s_mistakes_are_no_failures(server: Server):
    moody = serve_moody(server)
    moody.mood = ""
    for body in ({}, ROW | {"amount": "1"}, "nope"):
        assert post(server, "/predict", body).status_code in (400, 422)
    assert health(server) == {"status": "healthy"}
    assert server.ask("GET", "/model").json()["failures"] == 0


def test_a_version_that_answered_is_called_failing_after_many_failures_in_a_row(server: Server):
    moody = serve_moody(server)
    moody.mood = ""
    ask(server, 2)
    moody.mood = "raise"
    ask(server, 19)
    assert health(server) == {"status": "healthy"}
    ask(server)
    assert "has failed on the last 20 requests" in health(server)["reasons"][0]
    moody.mood = ""
    ask(server)
    assert health(server) == {"status": "healthy"}
    model = server.ask("GET", "/model").json()
    assert (model["answers"], model["failures"]) == (3, 20)


def test_answers_belong_to_the_version_that_gave_them(server: Server):
    first = server.holder.snapshot
    ask(server, 3)
    serve_moody(server).mood = ""
    ask(server, 2)
    second = server.holder.snapshot
    post(server, "/invocations", {"inputs": [ROW]})
    server.ask("GET", "/metrics")
    assert (first.tenure.answers, second.tenure.answers) == (3, 3)


def test_a_tenure_that_was_asked_nothing_has_no_trouble():
    assert Tenure().trouble == ""


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "int64", "uint8", "uint64", "float16", "float32", "float64"]
)
def test_every_type_that_a_runner_may_answer_is_written_in_every_protocol(
    server: Server, dtype: str
):
    """What the trial lets through has an answer: none of them is a 500 on each request."""
    snapshot = server.holder.snapshot

    class Typed(Wrapped):
        def predict(self, columns):
            return np.ones(len(columns["amount"]), dtype)

    server.holder.snapshot = replace(snapshot, runner=Typed(snapshot.runner))
    stream = arrow_stream(pa.table(lists_of([ROW])))
    answers = [
        post(server, "/predict", ROW),
        post(server, "/predict", {"columns": lists_of([ROW] * 500)}),
        post(server, "/predict", stream, content_type=ARROW),
        post(server, "/invocations", {"inputs": [ROW]}),
        post(server, V2, {"inputs": tensors([ROW])}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 5
