"""A new model is tried before anybody asks it: it has to answer a row as serving will ask it.

A version with an example is tried on that. Without one the example of the version that is served
now is tried, where it fits, and then rows that are made from the contract: one that is answered is
enough, as a model may refuse rows that make no sense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from modelyard.contract import Contract, Feature, FeatureType, OutputKind, Value
from modelyard.errors import ModelNotLoadedError, ModelRefusedError
from modelyard.scoring.daemon import DaemonCall
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.scoring.runner import Predictions, Runner, RunnerError, RunnerLostError

_REPEATS = 4
_BATCH = 3
_TOLERANCE = 1e-4

_MADE_ROWS = 12
_NUMBERS = (1.0, 0.0, 10.0, 0.5, 100.0, -1.0, 1000.0)
_TEXTS = ("a", "", "0", "unknown", "2026-01-31", "a" * 200)

RowValues = Mapping[str, Value]


class TrialRow(StrEnum):
    """Where the row comes from that a model answered on trial."""

    EXAMPLE = "its own example"
    SERVED = "the example of the version that was served before"
    MADE = "a row made from its signature"


@dataclass(frozen=True)
class Trial:
    """A row that was answered, and seconds for one such row."""

    row: RowValues
    source: TrialRow
    seconds: float


class _UnansweredError(ModelRefusedError):
    """The model failed on a row, and may answer another one."""


def try_model(
    runner: Runner,
    decoder: RowDecoder,
    contract: Contract,
    *,
    has_example: bool,
    served: Contract | None = None,
    samples: Mapping[str, Sequence[str]] | None = None,
) -> Trial:
    """Warm `runner` and hold its answers to `contract`.

    Args:
        runner: the model.
        decoder: of the contract.
        contract: what it takes and answers.
        has_example: whether the contract's example is a real row, which it has to answer then.
        served: the contract of the version that is served now.
        samples: strings that the model knows, by feature, for rows that are made.

    Raises:
        ModelRefusedError: it answered no row, or something that is not finite, no probability, or
            not the same for the same row.
        ModelNotLoadedError: it took longer than the contract allows.
    """
    if has_example:
        return _try_row(runner, decoder, contract, contract.example, TrialRow.EXAMPLE)
    first: ModelRefusedError | None = None
    tried = 0
    for row, source in _rows_without_example(contract, served, samples or {}):
        try:
            return _try_row(runner, decoder, contract, row, source)
        except _UnansweredError as error:
            first = first or error
            tried += 1
    assert first is not None  # there is always a row that can be made
    raise ModelRefusedError(
        f"The version has no input example, and answered none of {tried} rows that were made from "
        f"its signature: {first.detail}",
        fix="Register it with a row that it answers: log_model(…, input_example=…).",
    )


def made_rows(contract: Contract, samples: Mapping[str, Sequence[str]]) -> Iterator[RowValues]:
    """Rows that keep `contract`: usual numbers, noughts, known, empty and long strings."""
    for number in range(_MADE_ROWS):
        yield {
            feature.name: _made_value(feature, number, samples.get(feature.name, ()))
            for feature in contract.features
        }


def _rows_without_example(
    contract: Contract, served: Contract | None, samples: Mapping[str, Sequence[str]]
) -> Iterator[tuple[RowValues, TrialRow]]:
    if served is not None:
        row = {name: served.example[name] for name in contract.names if name in served.example}
        if len(row) == len(contract.names) and not _faults(contract, row):
            yield row, TrialRow.SERVED
    for made in made_rows(contract, samples):
        yield made, TrialRow.MADE


def _faults(contract: Contract, row: RowValues) -> list[str]:
    found = (feature.fault(row[feature.name]) for feature in contract.features)
    return [fault for fault in found if fault]


def _made_value(feature: Feature, number: int, samples: Sequence[str]) -> Value:
    match feature.type:
        case FeatureType.BOOLEAN:
            return number % 2 == 0
        case FeatureType.NUMBER:
            return _within_range(feature, _NUMBERS[number % len(_NUMBERS)])
        case FeatureType.INTEGER:
            value = math.ceil(_within_range(feature, _NUMBERS[number % len(_NUMBERS)]))
            return value if feature.maximum is None else min(value, math.floor(feature.maximum))
        case _:
            texts = feature.categories or samples or _TEXTS
            return texts[number % len(texts)][: feature.max_length]


def _within_range(feature: Feature, value: float) -> float:
    low = -math.inf if feature.minimum is None else feature.minimum
    high = math.inf if feature.maximum is None else feature.maximum
    return min(max(value, low), high)


def _try_row(
    runner: Runner, decoder: RowDecoder, contract: Contract, values: RowValues, source: TrialRow
) -> Trial:
    """Ask for the row alone, and several times over in one batch.

    Rows of different requests are scored together, so a row's answer must not depend on its
    neighbours.
    """
    row = decoder.decode(msgspec.json.encode(dict(values)))[0]

    def predict(times: int) -> Predictions:
        return runner.predict(decoder.columns([row] * times))

    limit_s = contract.inference_timeout_s
    seconds = limit_s
    for _ in range(_REPEATS):  # the first call of a session is slower than all others
        started = perf_counter()
        alone = _within(limit_s, lambda: predict(1), source)
        seconds = min(seconds, perf_counter() - started)
    together = _within(limit_s, lambda: predict(_BATCH), source)
    _check(alone, contract, source)
    if not np.allclose(together, alone, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ModelRefusedError(
            f"The model answers {source} differently alone and in a batch: its rows are not "
            "independent of each other."
        )
    return Trial(values, source, seconds)


def _within(limit_s: float, call: Callable[[], Predictions], source: TrialRow) -> Predictions:
    try:
        return DaemonCall(call, name="try-model").result(limit_s)
    except TimeoutError as error:
        raise ModelNotLoadedError(
            f"The model did not answer {source} within {limit_s:g} s (the contract's "
            "inference_timeout_s)."
        ) from error
    except RunnerLostError as error:  # it may end its process over each row
        raise ModelRefusedError(f"The model failed on {source}: {error}") from error
    except RunnerError as error:
        raise _UnansweredError(f"The model failed on {source}: {error}") from error


def _check(answer: Predictions, contract: Contract, source: TrialRow) -> None:
    if not _are_finite_numbers(answer):
        raise _UnansweredError(f"The model's answer to {source} is not a finite number.")
    if contract.output.kind is OutputKind.VALUE:
        return
    if answer.min() < -_TOLERANCE or answer.max() > 1 + _TOLERANCE:
        raise _UnansweredError(
            f"The model's answer to {source} is no probability: expected 0 to 1."
        )


def _are_finite_numbers(answer: np.ndarray[Any, Any]) -> bool:
    return answer.dtype.kind in "biuf" and bool(np.isfinite(answer).all())
