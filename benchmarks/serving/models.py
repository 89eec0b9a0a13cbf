"""What is served: one small network, one forest, in every form that a contestant needs.

small/onnx      the fraud network of a smoke training, packaged as training does it
small/pyfunc    the same graph behind an MLflow pyfunc: any code
small/numpy     the same network as a pyfunc of scikit-learn and numpy
forest/onnx     200 trees, compiled as training compiles a pipeline
forest/sklearn  the same pipeline as it is; forest/model.joblib for those without MLflow
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import mlflow.pyfunc
import numpy as np
import onnxruntime
import polars as pl
from mlflow.models import Model
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.serving import numpy_form
from benchmarks.serving.dialects import Row
from benchmarks.serving.places import PEERS, ROOT, STATE
from modelyard.config import validate
from modelyard.contract import FILE_NAME as CONTRACT_FILE
from modelyard.registry import write_manifest
from modelyard.training.experiment import Experiment, read_experiment
from modelyard.training.package.export import export_model
from modelyard.training.package.folder import signature_of, write_package, write_pipeline_package
from modelyard.training.package.sklearn_model import SklearnModel, feature_table
from modelyard.training.project import FitContext, FittedModel, Project, Split, find_project

TREES = 200
SAMPLE_ROWS = 256
BULK_ROWS = 100_000
_IDS = {"run_id": "", "model_id": ""}


@dataclass(frozen=True)
class Models:
    """The folders, rows to ask for, and what the fitted models themselves answer."""

    folder: Path
    rows: Sequence[Row]
    bulk: pl.DataFrame
    expected: dict[str, np.ndarray]
    """Model → probabilities of `rows`; `small.bulk` and `forest.bulk` of `bulk`."""

    def path(self, name: str) -> Path:
        """A model's folder or file, as the module lists them."""
        return self.folder / name


def make_models() -> Models:
    """Fit and write everything again; takes seconds."""
    folder = STATE / "models"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "forest").mkdir(parents=True)
    experiment = read_experiment(ROOT / "configs" / "train-smoke.yaml")
    project = find_project(experiment.project)
    split, bulk = _data(project, folder / "data.parquet", experiment.sample_rows or 0)
    network = _fit_network(experiment, project, split)
    forest = SklearnModel(_fit_forest(split.train, project, experiment.seed), project.contract)
    _write_small(folder / "small", project, network)
    parts = numpy_form.write(folder / "small", network)
    _write_pyfunc(folder / "small" / "numpy", "sklearn_pyfunc", parts, project)
    _write_forest(folder, project, split, forest)
    sample = split.test.head(SAMPLE_ROWS)
    names = list(project.contract.names)
    expected = {}
    for kind, model in (("small", network), ("forest", forest)):
        expected[kind] = np.asarray(model.predict(project.columns(sample)))
        expected[f"{kind}.bulk"] = np.asarray(model.predict(project.columns(bulk)))
    return Models(folder, sample.select(names).to_dicts(), bulk.select(names), expected)


def make_small_models(folder: Path) -> Path:
    """Fit the small network and write `onnx` and `pyfunc` into `folder`, which is returned."""
    folder.mkdir(parents=True)
    experiment = read_experiment(ROOT / "configs" / "train-smoke.yaml")
    project = find_project(experiment.project)
    split, _ = _data(project, folder / "data.parquet", experiment.sample_rows or 0)
    _write_small(folder, project, _fit_network(experiment, project, split))
    return folder


def _data(project: Project, path: Path, sample_rows: int) -> tuple[Split, pl.DataFrame]:
    assert project.generate is not None
    project.generate(path)
    data = project.load(path)
    return project.split(data.head(sample_rows)), data.tail(BULK_ROWS)


def _fit_network(experiment: Experiment, project: Project, split: Split) -> FittedModel:
    config = validate(project.fit_config, experiment.fit, "fit")
    network = project.fit(split, config, FitContext(seed=experiment.seed))
    assert isinstance(network, FittedModel)
    return network


def _fit_forest(train: pl.DataFrame, project: Project, seed: int) -> Pipeline:
    numbers, words = ["amount", "hour"], ["merchant_category"]
    before = ColumnTransformer(
        [("numbers", StandardScaler(), numbers), ("words", OneHotEncoder(), words)]
    )
    trees = RandomForestClassifier(TREES, min_samples_leaf=5, n_jobs=1, random_state=seed)
    table = feature_table(project.columns(train), project.contract)
    return Pipeline([("before", before), ("trees", trees)]).fit(
        table, train[project.target].to_numpy()
    )


def _write_small(folder: Path, project: Project, network: FittedModel) -> None:
    write_package(folder / "onnx", network.to_onnx(), project.contract, **_IDS)
    graph = {"graph": str(folder / "onnx" / "model.onnx")}
    _write_pyfunc(folder / "pyfunc", "onnx_pyfunc", graph, project)


def _write_forest(folder: Path, project: Project, split: Split, forest: SklearnModel) -> None:
    contract = project.contract
    columns = project.columns(split.test)
    compiled = export_model(forest, contract, columns, forest.predict(columns))
    if compiled.graph is not None:
        write_package(folder / "forest" / "onnx", compiled.graph, contract, **_IDS)
    write_pipeline_package(folder / "forest" / "sklearn", forest.pipeline, contract, **_IDS)
    joblib.dump(forest.pipeline, folder / "forest" / "model.joblib")
    found = {"forest": compiled.sentence(), "graph_bytes": _size(folder / "forest" / "onnx")}
    (folder / "made.json").write_text(json.dumps(found))


def _write_pyfunc(folder: Path, script: str, artifacts: dict[str, str], project: Project) -> None:
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(PEERS / f"{script}.py"),
        artifacts=artifacts,
        signature=signature_of(project.contract),
        mlflow_model=Model(**_IDS),
        pip_requirements=[f"onnxruntime=={onnxruntime.__version__}"],
    )
    (folder / CONTRACT_FILE).write_text(project.contract.to_yaml(), encoding="utf-8")
    write_manifest(folder)


def _size(folder: Path) -> int:
    path = folder / "model.onnx"
    return path.stat().st_size if path.is_file() else 0
