"""A search that outlives its process: its trials in a file, from which `--resume` goes on.

    STATE/studies/EXPERIMENT KEY/RUN ID/   study.db, run, lock

The lock tells an interrupted search from one that is still at work (`run_folder.py`).
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

from modelyard.training.fit.run_folder import claim, take_over

_FILE, _RUN = "study.db", "run"
_NAME = "search"
_OVER = (TrialState.COMPLETE, TrialState.PRUNED)
RUN_ATTRIBUTE = "run_id"


@dataclass
class KeptStudy:
    """Where the trials of one search are kept; nobody else finds it while `lock` is open.

    `run_id` is the run that worked on it last, `lost_runs` are those of trials that it did not live
    to finish, known once it is open. Without a folder, trials are in memory only.
    """

    run_id: str
    folder: Path | None = None
    lock: IO[str] | None = None
    lost_runs: list[str] = field(default_factory=list)

    def open(self, seed: int, pruner: optuna.pruners.BasePruner) -> optuna.Study:
        """The study, with the trials that came to an end before.

        A trial that did not is tried again first.
        """
        # of a trial that failed it prints a traceback; the error itself says what is wrong
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        study = optuna.create_study(
            storage=None if self.folder is None else f"sqlite:///{self.folder / _FILE}",
            study_name=_NAME,
            direction="maximize",
            load_if_exists=True,
            pruner=pruner,
        )
        # a sampler that begins anew with the same seed would try the first values again
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


def find_interrupted(root: Path, key: str) -> KeptStudy | None:
    """The newest search for `key` that has trials and is no longer at work."""
    files = [path for path in (root / "studies" / key).glob(f"*/{_FILE}") if path.stat().st_size]
    for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
        folder = path.parent
        if (lock := take_over(folder)) is None:
            continue
        try:
            return KeptStudy((folder / _RUN).read_text(encoding="utf-8"), folder, lock)
        except OSError:
            lock.close()
    return None
