"""Small packaged model versions in a real registry: a ranking by one of two columns."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import mlflow
import numpy as np
import onnx
import polars as pl
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from onnx import TensorProto, helper
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.training.package.folder import write_package, write_pipeline_package
from modelyard.training.package.onnx_export import OPSET, normalise
from modelyard.training.package.sklearn_model import feature_table

EXPERIMENT = "small models"
TARGET = "label"
SIGNAL, NOISE = Feature(name="signal", type=FeatureType.NUMBER), Feature(
    name="noise", type=FeatureType.NUMBER
)  # fmt: skip
NIGHT = Feature(name="night", type=FeatureType.BOOLEAN)


def contract_of(*features: Feature) -> Contract:
    """A contract of these features whose answer is a probability."""
    examples = {"number": 0.5, "integer": 1, "boolean": False, "category": "x", "string": "x"}
    return Contract(
        features=features,
        output=Output(name="score", kind=OutputKind.PROBABILITY),
        example={feature.name: examples[feature.type] for feature in features},
    )


CONTRACT = contract_of(SIGNAL, NOISE, NIGHT)


def ranking(day: str, night: str, contract: Contract = CONTRACT) -> onnx.ModelProto:
    """A graph that answers the column `day`, and at night the column `night`."""
    kinds = {
        "number": TensorProto.DOUBLE,
        "integer": TensorProto.INT64,
        "boolean": TensorProto.BOOL,
    }
    nodes = [
        helper.make_node("Where", ["night", night, day], ["chosen"]),
        helper.make_node("Cast", ["chosen"], ["score"], to=TensorProto.FLOAT),
    ]
    inputs = [
        helper.make_tensor_value_info(feature.name, kinds[feature.type], ["rows"])
        for feature in contract.features
    ]
    output = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows"])
    model = helper.make_model(
        helper.make_graph(nodes, "ranking", inputs, [output]),
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    model.ir_version = 10
    return normalise(model)


def held_out_rows(rows: int = 3_000) -> pl.DataFrame:
    """Rows whose label follows `signal` and not `noise`, half of them at night."""
    random = np.random.default_rng(11)
    signal = random.normal(size=rows)
    return pl.DataFrame(
        {
            "signal": signal,
            "noise": random.normal(size=rows),
            "night": np.arange(rows) % 2 == 0,
            "count": random.integers(0, 9, rows),
            TARGET: (signal + random.normal(size=rows) > 0.5).astype(np.int64),
        }
    )


def write_version(folder: Path, graph: onnx.ModelProto, contract: Contract = CONTRACT) -> str:
    """Package `graph` in `folder`; returns the manifest's digest."""
    return write_package(folder, graph, contract, run_id="", model_id="")


def boosted_trees(column: str) -> BaseEstimator:
    """A pipeline that learned to rank by `column`, of a kind that has no ONNX graph."""
    rows = held_out_rows()
    table = feature_table(rows, CONTRACT)
    label = (rows[column] > 0).to_numpy().astype(np.int64)
    return make_pipeline(
        ColumnTransformer([("all", "passthrough", list(CONTRACT.names))]),
        HistGradientBoostingClassifier(max_iter=20, random_state=0),
    ).fit(table, label)


def register(
    mlflow_url: str,
    name: str,
    graph: onnx.ModelProto | BaseEstimator,
    contract: Contract = CONTRACT,
    *,
    tags: Mapping[str, str] | None = None,
    run_tags: Mapping[str, str] | None = None,
    without: tuple[str, ...] = (),
) -> str:
    """Register `graph` as the next version of `name`, by the way that training takes.

    Args:
        graph: or a scikit-learn pipeline, which is packaged as it is.
        without: files of the package that are left out; without manifest.json also its digest.
    """
    client = mlflow.MlflowClient(mlflow_url)
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    run_id = client.create_run(experiment, tags=dict(run_tags or {})).info.run_id
    model_id = client.create_logged_model(experiment, name=name, source_run_id=run_id).model_id
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        write = write_package if isinstance(graph, onnx.ModelProto) else write_pipeline_package
        digest = write(folder, graph, contract, run_id=run_id, model_id=model_id)
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
    return str(version.version)
