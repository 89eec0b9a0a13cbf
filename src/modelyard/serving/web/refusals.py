"""What a request for predictions is refused with, whatever its protocol."""

from __future__ import annotations

from modelyard.scoring.runner import RunnerAbsentError, RunnerError, RunnerLostError
from modelyard.serving.problem import Problem


def too_busy() -> Problem:
    """503: there is no room for another request."""
    return Problem(
        "too-busy", 503, "Too many requests at once", "The server is at work on all it can hold."
    )


def overdue(timeout_s: float) -> Problem:
    """504: the model did not answer in time."""
    return Problem(  # not 503: a gateway would ask again, and an overload would feed itself
        "overdue",
        504,
        "The request took too long",
        f"The model gave no answer within {timeout_s:g} s.",
    )


def slow_client(timeout_s: float) -> Problem:
    """408: the client did not send its request in time."""
    return Problem(
        "slow-client",
        408,
        "Request Timeout",
        f"The request's body was not complete within {timeout_s:g} s.",
        headers={"connection": "close"},
    )


def model_failed(error: RunnerError) -> Problem:
    """502, 503 or 500: the model's process ended, is not there, or the model raised."""
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
