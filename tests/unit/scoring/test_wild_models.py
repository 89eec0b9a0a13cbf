"""Models as notebooks log them: each answers properly, or is refused with a good sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from modelyard.errors import ModelRefusedError
from modelyard.scoring.bundle import Bundle, open_bundle
from modelyard.scoring.child import opening
from modelyard.scoring.child.opening import ChildOptions
from modelyard.scoring.trial import TrialRow
from support.models import wild
from support.models.in_process import WorkerInProcess

CASES = wild.cases()


@contextmanager
def opened(case: wild.Wild, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bundle]:
    monkeypatch.setattr(opening, "ChildProcess", WorkerInProcess)
    case.save(folder)
    with open_bundle(folder, ChildOptions.offline()) as bundle:
        yield bundle


@pytest.mark.parametrize("what", [name for name, case in CASES.items() if case.is_served])
def test_what_is_served_has_answered(what: str, tmp_path, monkeypatch):
    case = CASES[what]
    with opened(case, tmp_path / "model", monkeypatch) as bundle:
        trial = bundle.try_out()
        assert bundle.contract.output.kind == case.expected
        assert bundle.has_example == (trial.source is TrialRow.EXAMPLE)
        rows = bundle.decoder.decode(msgspec.json.encode(case.asked.to_dict("records")))
        answer = bundle.runner.predict(bundle.decoder.columns(rows))
        assert np.isfinite(answer).all()
        assert answer.dtype.itemsize <= 8


@pytest.mark.parametrize("what", [name for name, case in CASES.items() if not case.is_served])
def test_what_is_refused_says_what_it_answers_and_what_helps(what: str, tmp_path, monkeypatch):
    case = CASES[what]
    with (
        pytest.raises(ModelRefusedError) as refusal,
        opened(case, tmp_path / "model", monkeypatch) as bundle,
    ):
        bundle.try_out()
    assert case.expected in refusal.value.sentence()
    assert refusal.value.fix or "batch" in refusal.value.detail
