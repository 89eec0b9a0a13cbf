"""A search that outlives its process: its trials in a file, from which `--resume` goes on.

    STATE/studies/EXPERIMENT KEY/RUN ID/   study.db, run, lock

`fit/run_folder.py` says what the lock is for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import optuna
from optuna.trial import TrialState

from modelyard.training.fit.run_folder import claim, interrupted_folders

_FILE, _RUN = "study.db", "run"
_NAME = "search"
_OVER = (TrialState.COMPLETE, TrialState.PRUNED)
RUN_ATTRIBUTE = "run_id"


@dataclass
class KeptStudy:
    """Where the trials of one search are kept; no other process finds it while `lock` is open.

    Attributes:
        run_id: the run that worked on it last.
        folder: None keeps the trials in memory only.
        lost_runs: runs of trials that were interrupted, known once the study is open.
    """

    run_id: str
    folder: Path | None = None
    lock: IO[str] | None = None
    lost_runs: list[str] = field(default_factory=list)

    def open(self, seed: int, pruner: optuna.pruners.BasePruner) -> optuna.Study:
        """The study, with the trials that ended before.

        A trial that was interrupted is tried again first.
        """
        # optuna prints a traceback for a trial that failed; the error itself says what is wrong
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        study = optuna.create_study(
            storage=None if self.folder is None else f"sqlite:///{self.folder / _FILE}",
            study_name=_NAME,
            direction="maximize",
            load_if_exists=True,
            pruner=pruner,
        )
        # with the seed that it had before, the sampler would try the first values again
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            self.lost_runs += filter(None, [trial.user_attrs.get(RUN_ATTRIBUTE)])
            if trial.params:
                study.enqueue_trial(trial.params)
        return study

    def taken_over_by(self, run_id: str) -> None:
        """Let `run_id` be the run that works on it from now on."""
        self.run_id = run_id
        if self.folder is not None:
            (self.folder / _RUN).write_text(run_id, encoding="utf-8")

    def sentence(self) -> str:
        """What was found."""
        return "an interrupted search is there"

    def release(self) -> None:
        """Leave it to others."""
        if self.lock is not None:
            self.lock.close()

    def discard(self) -> None:
        """Remove it: the search is over."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()
        self.release()


def finished(study: optuna.Study) -> int:
    """How many trials came to an end: with a value, or given up."""
    return len(study.get_trials(deepcopy=False, states=_OVER))


def new_study(root: Path, key: str, run_id: str, warn: Callable[[str], None]) -> KeptStudy:
    """A study for the run `run_id`; in memory, with a warning, where `root` is not writable."""
    folder = root / "studies" / key / run_id
    try:
        lock = claim(folder)
    except OSError as error:
        warn(f"the search cannot be resumed: {root} cannot be written to ({error.strerror})")
        return KeptStudy(run_id)
    study = KeptStudy(run_id, folder, lock)
    study.taken_over_by(run_id)
    return study


def find_interrupted_search(root: Path, key: str) -> KeptStudy | None:
    """The newest search for `key` that has trials and is no longer at work."""
    for folder, lock in interrupted_folders(root / "studies" / key, _FILE):
        with suppress(OSError):
            if (folder / _FILE).stat().st_size:
                return KeptStudy((folder / _RUN).read_text(encoding="utf-8"), folder, lock)
        lock.close()
    return None
