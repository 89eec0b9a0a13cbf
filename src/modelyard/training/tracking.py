"""One MLflow run, from its start to the registered version, and what happens when MLflow fails.

MLflow's client blocks for four minutes on a dead server by default; here it gives up within half a
minute, and its failures become errors with a next step.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from mlflow import MlflowClient, environment_variables
from mlflow.entities import LoggedModelStatus, Metric, Param, RunStatus
from mlflow.exceptions import MlflowException

from modelyard.errors import RegistryError, RegistryUnavailableError

_MAX_TAG_CHARACTERS = 5_000
_ALREADY_THERE = "RESOURCE_ALREADY_EXISTS"


def _bound_waiting() -> None:
    """Let the client give up in seconds, and keep artifacts on the way through the server."""
    environment_variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(3)
    environment_variables.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.set(1)
    environment_variables.MLFLOW_HTTP_REQUEST_TIMEOUT.set(15)
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
        self, tracking_uri: str, experiment: str, user: str, tags: Mapping[str, str]
    ) -> None:
        _bound_waiting()
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
        try:
            if error is not None:
                self._client.set_tag(
                    self.run_id, "modelyard.error", str(error)[:_MAX_TAG_CHARACTERS]
                )
            self._client.set_terminated(self.run_id, RunStatus.to_string(status))
        except (MlflowException, requests.RequestException):
            if kind is None:  # else the error that ended the run is the one to report
                raise RegistryUnavailableError(
                    f"MLflow at {self._tracking_uri} stopped answering before the run ended."
                ) from None

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters; nested sections get dotted names."""
        with self._mlflow_errors():
            self._client.log_batch(
                self.run_id, params=[Param(key, str(value)) for key, value in _flat(params)]
            )

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record metrics at `step`."""
        now = time.time_ns() // 1_000_000
        with self._mlflow_errors():
            self._client.log_batch(
                self.run_id,
                metrics=[Metric(key, value, now, step) for key, value in metrics.items()],
            )

    def log_text(self, text: str, name: str) -> None:
        """Store `text` as the run's artifact `name`."""
        with self._mlflow_errors():
            self._client.log_text(self.run_id, text, name)

    @contextmanager
    def new_model(self, name: str) -> Iterator[str]:
        """A logged model that becomes READY when the block ends well and FAILED otherwise.

        Yields its id (`m-…`), for the package and for `upload_model`.
        """
        with self._mlflow_errors():
            model_id: str = self._client.create_logged_model(
                self._experiment_id, name=name, source_run_id=self.run_id, model_type="onnx"
            ).model_id
            try:
                yield model_id
            except BaseException:
                with suppress(MlflowException, requests.RequestException):
                    self._client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
                raise
            self._client.finalize_logged_model(model_id, LoggedModelStatus.READY)

    def upload_model(self, model_id: str, folder: Path) -> None:
        """Store every file of `folder` as the logged model's."""
        with self._mlflow_errors():
            self._client.log_model_artifacts(model_id, str(folder))

    def register(self, name: str, model_id: str, tags: Mapping[str, str]) -> str:
        """Register the logged model as the next version of `name`; returns its number."""
        with self._mlflow_errors():
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != _ALREADY_THERE:
                    raise
            version = self._client.create_model_version(
                name,
                source=f"models:/{model_id}",
                run_id=self.run_id,
                model_id=model_id,
                tags=dict(tags),
            )
        return str(version.version)

    def _find_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException as error:  # another training made it in between
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
            if error.get_http_status_code() >= requests.codes.server_error:
                raise self._unavailable(error) from error
            raise RegistryError(f"MLflow refused: {error.message}") from error

    def _unavailable(self, error: Exception) -> RegistryUnavailableError:
        why = " ".join(str(error).split())[:300]
        return RegistryUnavailableError(
            f"MLflow at {self._tracking_uri}, or the store behind it, does not answer: {why}",
            fix="Look at `docker compose ps` and `docker compose logs mlflow storage`; then train "
            "again.",
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
