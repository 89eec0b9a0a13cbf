"""A model of any flavor with its contract: written into a folder, or registered in MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import onnx
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from sklearn.base import BaseEstimator

from modelyard.contract import Contract
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.training.package.folder import write_package, write_pipeline_package
from support.models.code import write_code
from support.models.toy import CONTRACT, toy_graph

EXPERIMENT = "small models"


@dataclass(frozen=True)
class Model:
    """What a version is made of: an ONNX graph, a scikit-learn pipeline, or Python code."""

    flavor: onnx.ModelProto | BaseEstimator | str
    contract: Contract

    def write(self, folder: Path, run_id: str = "", model_id: str = "") -> str:
        """Write the version's files as training does; returns the sha256 of their manifest."""
        if isinstance(self.flavor, str):
            return write_code(folder, self.flavor, self.contract)
        write = (
            write_package if isinstance(self.flavor, onnx.ModelProto) else write_pipeline_package
        )
        return write(folder, self.flavor, self.contract, run_id=run_id, model_id=model_id)


def register(
    mlflow_url: str,
    name: str,
    model: Model,
    *,
    alias: str = "",
    tags: Mapping[str, str] | None = None,
    run_tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    without: tuple[str, ...] = (),
) -> str:
    """Register `model` as the next version of `name`, the way training does; returns its number.

    Args:
        alias: points to the version afterwards.
        metrics: of its run.
        without: files of the package that are left out; without manifest.json also its digest.
    """
    client = mlflow.MlflowClient(mlflow_url)
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    run_id = client.create_run(experiment, tags=dict(run_tags or {})).info.run_id
    for metric, value in (metrics or {}).items():
        client.log_metric(run_id, metric, value)
    model_id = client.create_logged_model(experiment, "model", run_id).model_id
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        digest = model.write(folder, run_id, model_id)
        for file in without:
            (folder / file).unlink()
        client.log_model_artifacts(model_id, str(folder))
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    client.set_terminated(run_id)
    with suppress(MlflowException):  # not the first version
        client.create_registered_model(name)
    kept = {} if "manifest.json" in without else {DIGEST_TAG: digest}
    source = f"models:/{model_id}"
    version = client.create_model_version(
        name, source=source, run_id=run_id, model_id=model_id, tags={**kept, **(tags or {})}
    )
    if alias:
        client.set_registered_model_alias(name, alias, version.version)
    return str(version.version)


def register_without_files(mlflow_url: str, name: str, *tags: Mapping[str, str]) -> str:
    """Register `name` with a version for each of the `tags`, none of which has files."""
    client = mlflow.MlflowClient(mlflow_url)
    client.create_registered_model(name)
    for given in tags:
        model_id = client.create_logged_model("0", name="empty").model_id
        client.create_model_version(
            name, f"models:/{model_id}", model_id=model_id, tags=dict(given), await_creation_for=0
        )
    return name


def register_toy(
    mlflow_url: str,
    name: str,
    number: int,
    *,
    alias: str = "",
    contract: Mapping[str, Any] = CONTRACT,
) -> str:
    """Register the toy of this number, with a run, a commit and data; returns its version."""
    return register(
        mlflow_url,
        name,
        Model(toy_graph(number, contract), Contract.model_validate(dict(contract))),
        alias=alias,
        tags={"git.commit": "c0ffee", "data.md5": "d41d8cd9"},
        run_tags={"mlflow.source.type": "LOCAL"},
        metrics={"auc": 0.5 + number / 100},
    )
