"""`modelyard tune`: many fits of one experiment, each a nested run; the best one as a YAML file.

A trial is judged by the primary metric on the validation rows: the test rows stay unseen, for the
training that follows. One whose validation loss is worse than the median of the others at the same
epoch is given up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna

from modelyard.config import Frozen, dump_yaml, validate
from modelyard.errors import ConfigError, TrainingError
from modelyard.program import Echo
from modelyard.provenance import package_list
from modelyard.settings import TrainingSettings
from modelyard.training.fit.loop import DivergedError
from modelyard.training.fit.run_folder import to_resume
from modelyard.training.judge.metrics import PRIMARY_METRIC, evaluate
from modelyard.training.preparation import Prepared, experiment_key, prepare
from modelyard.training.project import FitContext
from modelyard.training.resolution import ResolvedExperiment
from modelyard.training.search_space import TuneConfig, with_values
from modelyard.training.tracking.run import TrackedRun
from modelyard.training.tune.study import (
    RUN_ATTRIBUTE,
    KeptStudy,
    find_interrupted_search,
    finished,
    new_study,
)

BEST_FILE = "best-config.yaml"


def run_search(
    resolved: ResolvedExperiment,
    settings: TrainingSettings,
    root: Path,
    echo: Echo,
    *,
    trials: int,
    output: Path,
    resume: bool = False,
) -> None:
    """Try `trials` variations of the experiment and write the best as a configuration.

    Args:
        trials: in all, with those of the search that is resumed.
        output: the YAML file to write, for `modelyard train --config`.
        resume: go on with the newest interrupted search of the same code, data and configuration.

    Raises:
        ConfigError: there is no `tune` section, the fit refuses what it would try, or `output`
            cannot be written.
        TrainingError: no trial was completed.
    """
    experiment, tune = resolved.experiment, resolved.experiment.tune
    if tune is None:
        raise ConfigError(
            "The configuration has no tune section, so nothing says what to vary.",
            fix="configs/tune.yaml has one, which `modelyard tune` reads without --config. For "
            "example: tune: {space: {fit.learning_rate: {low: 1.0e-4, high: 0.1, log: true}}}",
        )
    tune.check(type(resolved.fit_config), experiment.fit)
    _require_writable(output)
    prepared = prepare(resolved, settings, root, echo)

    def warn(line: str) -> None:
        echo(f"warning   {line}")

    state_dir = settings.training_state_dir
    searched = {"experiment": prepared.key, "tune": tune.model_dump(mode="json")}
    key = experiment_key(searched, prepared.data.md5, prepared.code.commit)
    earlier = to_resume(find_interrupted_search(state_dir, key), "search", echo, resume=resume)

    def start(kind: str, **tags: str) -> TrackedRun:
        own = {"mlflow.source.name": "modelyard tune", "modelyard.kind": kind, **tags}
        return TrackedRun.of(settings, experiment.experiment, {**prepared.tags, **own}, warn)

    with start("tune") as parent:
        echo(f'run       "{parent.name}" ({parent.run_id}) in experiment "{experiment.experiment}"')
        study = earlier or new_study(state_dir, key, parent.run_id, warn)
        resumed = study.run_id
        if earlier is not None:
            parent.take_over(resumed)
            study.taken_over_by(parent.run_id)
        parent.log_text(dump_yaml(resolved.config), "config.yaml")
        parent.log_text(package_list(), "packages.txt")

        def start_trial(number: int) -> TrackedRun:
            nested = {"mlflow.parentRunId": parent.run_id, "mlflow.runName": f"trial-{number}"}
            return start("trial", **nested)

        search = Search(prepared, tune, study, start_trial, echo)
        opened = search.open()
        if earlier is not None:
            echo(f"resume    run {resumed}, after {finished(opened)} finished trials")
        for run_id in study.lost_runs:
            parent.end_interrupted(run_id)
        best = search.run(opened, trials)
        text = search.best_config(best)
        parent.log_metrics({f"best_validation_{search.metric}": best.value or 0.0})
        parent.log_params({"best_trial": best.number, **search.values(best)})
        parent.log_text(text, BEST_FILE)
    output.write_text(text, encoding="utf-8")
    study.discard()
    echo(f"best      trial {best.number}: {search.metric} {best.value:.4f}, written to {output}")
    echo(f"next      modelyard train --config {output}")


class Search:
    """One search; `start_trial` starts the run of the trial with that number."""

    def __init__(
        self,
        prepared: Prepared,
        config: TuneConfig,
        kept: KeptStudy,
        start_trial: Callable[[int], TrackedRun],
        echo: Echo,
    ) -> None:
        self._prepared = prepared
        self._config = config
        self._kept = kept
        self._start_trial = start_trial
        self._echo = echo
        self.metric = PRIMARY_METRIC[prepared.project.contract.output.kind]

    def open(self) -> optuna.Study:
        """The study, with what an interrupted search left in it."""
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=self._config.startup_trials,
            n_warmup_steps=self._config.warmup_epochs + 1,  # optuna counts from 0
        )
        return self._kept.open(self._prepared.experiment.seed, pruner)

    def run(self, study: optuna.Study, trials: int) -> optuna.trial.FrozenTrial:
        """The best of `trials` trials, including those that `study` already has."""
        study.optimize(self._try, n_trials=max(trials - finished(study), 0))
        if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
            raise TrainingError(
                f"None of {trials} trials was completed.",
                fix="Narrow tune.space, above all the learning rate.",
            )
        return study.best_trial

    def values(self, trial: optuna.trial.FrozenTrial | optuna.Trial) -> Mapping[str, Any]:
        """What `trial` set each key to."""
        fixed = optuna.trial.FixedTrial(dict(trial.params))
        return {key: p.suggest(fixed, key) for key, p in self._config.space.items()}

    def best_config(self, best: optuna.trial.FrozenTrial) -> str:
        """The text of the configuration that `best` has tried."""
        fit = self._fit_config(self.values(best)).model_dump(mode="json")
        return (
            f"# Best of a search: trial {best.number}, {self.metric} {best.value:.5f} on the "
            f"validation rows.\n{dump_yaml({**self._prepared.resolved.config, 'fit': fit})}"
        )

    def _fit_config(self, values: Mapping[str, Any]) -> Frozen:
        section = with_values(self._prepared.experiment.fit, values)
        return validate(self._prepared.project.fit_config, section, "tune.space: fit")

    def _try(self, trial: optuna.Trial) -> float:
        try:
            return self._fit(trial)
        except DivergedError as error:
            # pruned tells the sampler that this is a bad place; failed would tell it nothing
            self._echo(f"trial {trial.number:3d} given up: {error.detail}")
            raise optuna.TrialPruned("diverged") from error

    def _fit(self, trial: optuna.Trial) -> float:
        values = {key: p.suggest(trial, key) for key, p in self._config.space.items()}
        project, split = self._prepared.project, self._prepared.split
        config = self._fit_config(values)
        pruned: optuna.TrialPruned | None = None
        with self._start_trial(trial.number) as run:
            trial.set_user_attr(RUN_ATTRIBUTE, run.run_id)
            run.log_params(values)

            def report(epoch: int, metrics: Mapping[str, float]) -> None:
                run.log_epoch(epoch, metrics)
                if (loss := metrics.get("validation_loss")) is not None:
                    trial.report(-loss, epoch)
                    if trial.should_prune():
                        raise optuna.TrialPruned(f"given up after epoch {epoch}")

            try:
                context = FitContext(self._prepared.experiment.seed, report)
                model = self._prepared.fit(config, context)
            except optuna.TrialPruned as error:
                pruned = error
                run.log_metrics({"pruned": 1.0})
            else:
                rows = split.validation
                predicted = model.predict(project.columns(rows))
                truth = rows[project.target].to_numpy()
                value = evaluate(project.contract.output, truth, predicted)[self.metric]
                run.log_metrics({f"validation_{self.metric}": value})
        shown = "  ".join(f"{key}={json.dumps(value)}" for key, value in values.items())
        if pruned is not None:
            self._echo(f"trial {trial.number:3d} {pruned}  {shown}")
            raise pruned
        self._echo(f"trial {trial.number:3d} {self.metric} {value:.4f}  {shown}")
        return value


def _require_writable(output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("a"):
            pass
        if output.stat().st_size == 0:
            output.unlink()
    except OSError as error:
        raise ConfigError(
            f"The best configuration cannot be written to {output}: {error.strerror}.",
            fix="Name another file: --output FILE",
        ) from error
