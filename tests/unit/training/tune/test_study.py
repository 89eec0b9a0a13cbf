"""A search is kept where it can be found again, by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from modelyard.training.tune.study import (
    RUN_ATTRIBUTE,
    find_interrupted_search,
    finished,
    new_study,
)

PRUNER = optuna.pruners.NopPruner()


def tried(study: optuna.Study) -> list[float]:
    return [trial.params["x"] for trial in study.get_trials()]


def a_value(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def test_an_interrupted_search_goes_on_and_its_last_trial_is_tried_again(tmp_path: Path):
    kept = new_study(tmp_path, "key", "first", pytest.fail)
    study = kept.open(7, PRUNER)
    study.optimize(a_value, n_trials=2)
    lost = study.ask()
    lost.set_user_attr(RUN_ATTRIBUTE, "lost-run")
    value = a_value(lost)  # and the process dies here
    assert find_interrupted_search(tmp_path, "key") is None  # its run is still at work
    kept.release()

    again = find_interrupted_search(tmp_path, "key")
    assert again is not None
    assert again.run_id == "first"
    study = again.open(7, PRUNER)
    assert again.lost_runs == ["lost-run"]
    assert finished(study) == 2
    study.optimize(a_value, n_trials=2)
    over = study.get_trials(states=(TrialState.COMPLETE,))
    values = [trial.params["x"] for trial in over]
    assert values[2] == value
    assert len(set(values)) == len(values) == 4  # the sampler does not repeat itself
    again.taken_over_by("second")
    again.release()
    third = find_interrupted_search(tmp_path, "key")
    assert third is not None
    assert third.run_id == "second"
    third.discard()
    assert find_interrupted_search(tmp_path, "key") is None
    assert list((tmp_path / "studies").iterdir()) == []


def test_two_searches_with_one_seed_try_the_same_values(tmp_path: Path):
    found = []
    for name in ("one", "two"):
        study = new_study(tmp_path, "key", name, pytest.fail).open(7, PRUNER)
        study.optimize(a_value, n_trials=3)
        found.append(tried(study))
    assert found[0] == found[1]


def test_where_nothing_can_be_written_the_search_is_in_memory_and_that_is_said(tmp_path: Path):
    (tmp_path / "studies").write_text("a file in the way")
    said: list[str] = []
    kept = new_study(tmp_path, "key", "run", said.append)
    kept.open(7, PRUNER).optimize(a_value, n_trials=1)
    assert "cannot be resumed" in said[0]
    kept.discard()


def test_of_a_trial_that_fails_the_error_says_why_and_optuna_says_nothing():
    """In a process of its own: optuna holds on to the stderr of its first message."""
    code = (
        "import optuna\n"
        "from modelyard.errors import ConfigError\n"
        "from modelyard.training.tune.study import KeptStudy\n"
        "def fails(trial):\n"
        "    raise ConfigError('not this one')\n"
        "try:\n"
        "    KeptStudy('run').open(7, optuna.pruners.NopPruner()).optimize(fails, n_trials=1)\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("not this one\n", "")
