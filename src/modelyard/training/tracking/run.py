"""One MLflow run, from its start to the registered version, and what happens when MLflow fails.

By default MLflow's client blocks for four minutes on a dead server. Here the start of a run fails
at once. Later, metrics are kept until the server answers again, and calls that must succeed are
repeated for as long as `Patience` allows. A failure becomes an error with a next step.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from mlflow import MlflowClient, environment_variables
from mlflow.entities import LoggedModelStatus, Metric, Param, RunStatus
from mlflow.exceptions import MlflowException

from modelyard.errors import RegistryError, RegistryUnavailableError
from modelyard.settings import TrainingSettings
from modelyard.training.tracking.patience import Patience, Returned, is_outage

_MAX_METRICS = 1_000  # in one request
_MAX_TAG_CHARACTERS = 5_000
_RUNNING = RunStatus.to_string(RunStatus.RUNNING)
_ALREADY_THERE = "RESOURCE_ALREADY_EXISTS"


def _bound_waiting(max_retries: int, timeout_s: int) -> None:
    """Let the client give up in seconds, and keep artifacts on the way through the server."""
    environment_variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(max_retries)
    environment_variables.MLFLOW_HTTP_REQUEST_TIMEOUT.set(timeout_s)
    if not environment_variables.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get_raw():
        environment_variables.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.set(1)
    environment_variables.MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD.set(False)
    environment_variables.MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD.set(False)
    environment_variables.MLFLOW_DISABLE_TELEMETRY.set(True)
    environment_variables.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
    environment_variables.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    for name in ("mlflow.utils.environment", "mlflow.store.model_registry.abstract_store"):
        logging.getLogger(name).setLevel(logging.ERROR)


class TrackedRun:
    """A run that is ended whatever happens: FINISHED, FAILED, or KILLED when it was stopped."""

    def __init__(
        self,
        tracking_uri: str,
        experiment: str,
        user: str,
        tags: Mapping[str, str],
        patience: Patience,
    ) -> None:
        self._patience = patience
        self._unsent: list[Metric] = []
        self._client = MlflowClient(tracking_uri)
        self._tracking_uri = tracking_uri
        with self._mlflow_errors():
            self._experiment_id = self._find_experiment(experiment)
            run = self._client.create_run(
                self._experiment_id,
                tags={
                    "mlflow.user": user,
                    "mlflow.source.name": "modelyard train",
                    "mlflow.source.type": "JOB",
                    **{key: value[:_MAX_TAG_CHARACTERS] for key, value in tags.items()},
                },
            )
        self.run_id: str = run.info.run_id
        self.name: str = run.info.run_name

    @classmethod
    def of(
        cls,
        settings: TrainingSettings,
        experiment: str,
        tags: Mapping[str, str],
        warn: Callable[[str], None],
    ) -> Self:
        """A run on the server, for the user and with the patience that a process' settings name.

        Args:
            warn: told when MLflow does not answer, and when it does again.
        """
        _bound_waiting(
            settings.mlflow_http_request_max_retries, settings.mlflow_http_request_timeout
        )
        patience = Patience(settings.tracking_patience_s, warn)
        uri, user = settings.mlflow_tracking_uri, settings.modelyard_user
        return cls(uri, experiment, user, tags, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        status = RunStatus.FINISHED
        if kind is not None:
            status = RunStatus.FAILED if issubclass(kind, Exception) else RunStatus.KILLED
        if error is None:
            self._call(lambda: self._terminate(status))
            return
        # the error that ended the run is the one to report: MLflow gets one attempt, no patience
        with suppress(MlflowException, requests.RequestException):
            self._send_metrics()
            text = str(error)[:_MAX_TAG_CHARACTERS]
            self._client.set_tag(self.run_id, "modelyard.error", text)
            self._terminate(status)

    def _terminate(self, status: int) -> None:
        self._client.set_terminated(self.run_id, RunStatus.to_string(status))

    def take_over(self, run_id: str) -> None:
        """Go on with the work of the interrupted run `run_id`, and mark it as ended."""
        self._call(lambda: self._client.set_tag(self.run_id, "modelyard.resumes", run_id))
        self.end_interrupted(run_id)

    def end_interrupted(self, run_id: str) -> None:
        """Mark the interrupted run `run_id` as ended, and this one as its successor."""
        with suppress(MlflowException):  # deleted, or of another server
            self._client.set_tag(run_id, "modelyard.resumed_by", self.run_id)
            if self._client.get_run(run_id).info.status == _RUNNING:
                self._client.set_terminated(run_id, RunStatus.to_string(RunStatus.KILLED))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters; nested sections get dotted names."""
        found = [Param(key, str(value)) for key, value in _flat(params)]
        self._call(lambda: self._client.log_batch(self.run_id, params=found))

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record an epoch's metrics; without an answer they are kept and sent with later ones."""
        self._keep(metrics, epoch)
        try:
            self._send_metrics()
        except (MlflowException, requests.RequestException) as error:
            if not is_outage(error):
                raise RegistryError(f"MLflow refused: {error}") from error

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record metrics of the whole run, and those of epochs that were not sent yet."""
        self._keep(metrics, 0)
        self._call(self._send_metrics)

    def log_text(self, text: str, name: str) -> None:
        """Store `text` as the run's artifact `name`."""
        self._call(lambda: self._client.log_text(self.run_id, text, name))

    def log_files(self, folder: Path) -> None:
        """Store every file under `folder` as an artifact of the run."""
        self._call(lambda: self._client.log_artifacts(self.run_id, str(folder)))

    @contextmanager
    def new_model(self, name: str, kind: str = "onnx") -> Iterator[str]:
        """A logged model that becomes READY when the block ends well and FAILED otherwise.

        Yields its id (`m-…`), for the package and for `upload_model`.
        """
        model_id: str = self._call(
            lambda: self._client.create_logged_model(
                self._experiment_id, name=name, source_run_id=self.run_id, model_type=kind
            )
        ).model_id
        try:
            yield model_id
        except BaseException:
            with suppress(MlflowException, requests.RequestException):
                self._client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
            raise
        self._call(lambda: self._client.finalize_logged_model(model_id, LoggedModelStatus.READY))

    def upload_model(self, model_id: str, folder: Path) -> None:
        """Store every file of `folder` as the logged model's."""
        self._call(lambda: self._client.log_model_artifacts(model_id, str(folder)))

    def register(self, name: str, model_id: str, tags: Mapping[str, str]) -> str:
        """Register the logged model as the next version of `name`; returns its number."""

        def create_model() -> None:
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != _ALREADY_THERE:
                    raise

        def create_version() -> str:
            # repeated when an answer is lost, perhaps after the version was made
            made = self._client.search_model_versions(f"run_id='{self.run_id}'")
            version = next((v for v in made if v.name == name), None)
            if version is None:
                version = self._client.create_model_version(
                    name,
                    source=f"models:/{model_id}",
                    run_id=self.run_id,
                    model_id=model_id,
                    tags=dict(tags),
                )
            return str(version.version)

        self._call(create_model)
        return self._call(create_version)

    def _keep(self, metrics: Mapping[str, float], step: int) -> None:
        now = time.time_ns() // 1_000_000
        self._unsent += [Metric(key, value, now, step) for key, value in metrics.items()]

    def _send_metrics(self) -> None:
        while self._unsent:
            batch = self._unsent[:_MAX_METRICS]
            self._client.log_batch(self.run_id, metrics=batch)
            del self._unsent[: len(batch)]

    def _call(self, call: Callable[[], Returned]) -> Returned:
        with self._mlflow_errors():
            return self._patience(call)

    def _find_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException as error:  # another training was faster
                if error.error_code != _ALREADY_THERE:
                    raise
            found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage == "deleted":
            raise RegistryError(
                f'The experiment "{name}" was deleted in MLflow.',
                fix="Restore it in the MLflow UI, or name another one: --set experiment=NAME",
            )
        return str(found.experiment_id)

    @contextmanager
    def _mlflow_errors(self) -> Iterator[None]:
        try:
            yield
        except requests.RequestException as error:
            raise self._unavailable(error) from error
        except MlflowException as error:
            if is_outage(error):
                raise self._unavailable(error) from error
            raise RegistryError(f"MLflow refused: {error.message}") from error

    def _unavailable(self, error: Exception) -> RegistryUnavailableError:
        why = " ".join(str(error).split())[:300]
        return RegistryUnavailableError(
            f"MLflow at {self._tracking_uri}, or the store behind it, does not answer: {why}",
            fix="Look at `docker compose ps` and `docker compose logs mlflow storage`; then go on "
            "with `modelyard train --resume`.",
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
