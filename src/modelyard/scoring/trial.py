"""A new model is tried on its contract's example before anybody asks it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from modelyard.contract import Contract, OutputKind
from modelyard.errors import ModelNotLoadedError, ModelRefusedError
from modelyard.scoring.daemon import DaemonCall
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.scoring.runner import Predictions, Runner, RunnerError

_REPEATS = 4
_BATCH = 3
_TOLERANCE = 1e-4


def try_example(runner: Runner, decoder: RowDecoder, contract: Contract) -> float:
    """Warm `runner` and hold its answers to the contract; returns seconds for one row.

    The example is asked alone and several times over in one batch: rows of different requests are
    scored together, so a row's answer must not depend on its neighbours.

    Raises:
        ModelRefusedError: it failed, or answered something that is not finite, no probability, or
            not the same for the same row.
        ModelNotLoadedError: it took longer than the contract allows.
    """
    row = decoder.rows([contract.example])[0]

    def predict(times: int) -> Predictions:
        return runner.predict(decoder.columns([row] * times))

    limit_s = contract.inference_timeout_s
    seconds = limit_s
    for _ in range(_REPEATS):  # the first call of a session is slower than all others
        started = perf_counter()
        alone = _within(limit_s, lambda: predict(1))
        seconds = min(seconds, perf_counter() - started)
    together = _within(limit_s, lambda: predict(_BATCH))
    _check(alone, contract)
    if not np.allclose(together, alone, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ModelRefusedError(
            "The model answers its example differently alone and in a batch: its rows are not "
            "independent of each other."
        )
    return seconds


def _within(limit_s: float, call: Callable[[], Predictions]) -> Predictions:
    try:
        return DaemonCall(call, name="try-model").result(limit_s)
    except TimeoutError as error:
        raise ModelNotLoadedError(
            f"The model did not answer its example within {limit_s:g} s (the contract's "
            "inference_timeout_s)."
        ) from error
    except RunnerError as error:
        raise ModelRefusedError(f"The model failed on its own example: {error}") from error


def _check(answer: Predictions, contract: Contract) -> None:
    if answer.dtype.kind not in "biuf" or not np.isfinite(answer).all():
        raise ModelRefusedError("The model's answer to its example is not a finite number.")
    if contract.output.kind is OutputKind.VALUE:
        return
    if answer.min() < -_TOLERANCE or answer.max() > 1 + _TOLERANCE:
        raise ModelRefusedError(
            "The model's answer to its example is no probability: expected 0 to 1."
        )
