"""Models that rank by one of two columns: a graph, and a pipeline of trees that has no graph."""

from __future__ import annotations

import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.training.package.onnx_export import OPSET, normalise
from modelyard.training.package.sklearn_model import feature_table

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


def boosted_trees(column: str) -> BaseEstimator:
    """A pipeline that learned to rank by `column`, of a kind that has no ONNX graph."""
    rows = held_out_rows()
    table = feature_table(rows, CONTRACT)
    label = (rows[column] > 0).to_numpy().astype(np.int64)
    return make_pipeline(
        ColumnTransformer([("all", "passthrough", list(CONTRACT.names))]),
        HistGradientBoostingClassifier(max_iter=20, random_state=0),
    ).fit(table, label)
