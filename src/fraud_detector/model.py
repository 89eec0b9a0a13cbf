"""The fraud model: preprocessing, the torch network, the scikit-learn baseline, the ONNX export.

Category and hour enter as embeddings, not one-hot: the network finds which categories and hours
behave alike, and its first layer stays small. The amount enters as its standardised logarithm. The
loss is plain cross-entropy without class weights, which would rank no better and make the
probabilities wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
import onnx
import polars as pl
import torch
from pydantic import Field
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from torch import Tensor, nn

from fraud_detector.contract import CONTRACT, MERCHANT_CATEGORIES, TARGET
from modelyard.scoring.column import Columns
from modelyard.training.data.stream import Moments
from modelyard.training.fit.loop import LoopConfig, fit_network
from modelyard.training.package.onnx_export import encode_category, export_network, normalise
from modelyard.training.project import FitContext, Split, StreamedSplit
from modelyard.training.tensors import RowSource, Tensors

HOURS = 24


class FitConfig(LoopConfig):
    """The `fit` section: the loop's fields, and the network's shape."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (64, 32), min_length=1, description="Width of each hidden layer."
    )
    embedding: int = Field(8, ge=1, description="Width of each embedding.")


@dataclass(frozen=True)
class Scale:
    """What the network has to know of the training rows before its first epoch."""

    log_mean: float
    log_deviation: float
    base_rate: float


class FraudNetwork(nn.Module):
    """amount float64 [n], category code int64 [n], hour int64 [n] → logit float32 [n]."""

    def __init__(self, config: FitConfig, scale: Scale) -> None:
        super().__init__()
        self.category = nn.Embedding(len(MERCHANT_CATEGORIES), config.embedding)
        self.hour = nn.Embedding(HOURS, config.embedding)
        self.register_buffer("log_mean", torch.tensor(scale.log_mean, dtype=torch.float32))
        deviation = torch.tensor(scale.log_deviation or 1.0, dtype=torch.float32)
        self.register_buffer("log_deviation", deviation)
        widths = (1 + 2 * config.embedding, *config.hidden)
        layers: list[nn.Module] = []
        for width, next_width in pairwise(widths):
            layers += [nn.Linear(width, next_width), nn.SiLU()]
        last = nn.Linear(widths[-1], 1)
        # frauds are rare, and the first epochs need not learn how rare
        rate = min(max(scale.base_rate, 1e-6), 1 - 1e-6)
        nn.init.constant_(last.bias, math.log(rate / (1 - rate)))
        self.layers = nn.Sequential(*layers, last)

    def forward(self, amount: Tensor, merchant_category: Tensor, hour: Tensor) -> Tensor:
        """Logit of fraud, float32 [n]."""
        # the logarithm in float64, then one cast: small amounts keep their digits
        scaled = (torch.log1p(amount).float() - self.log_mean) / self.log_deviation
        parts = (scaled.unsqueeze(1), self.category(merchant_category), self.hour(hour))
        logits: Tensor = self.layers(torch.cat(parts, dim=1)).squeeze(1)
        return logits


class Probability(nn.Module):
    """A network's logit as a probability: what is exported and served."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, amount: Tensor, merchant_category: Tensor, hour: Tensor) -> Tensor:
        """P(fraud), float32 [n]."""
        return torch.sigmoid(self.network(amount, merchant_category, hour))


class FittedFraudModel:
    """A fitted network that predicts from columns and exports itself."""

    def __init__(self, network: FraudNetwork) -> None:
        self._network = Probability(network).eval()

    def predict(self, columns: Columns) -> np.ndarray:
        """P(fraud) of each row, float32 [n]."""
        with torch.inference_mode():
            probability: np.ndarray = self._network(**_inputs(columns)).numpy()
        return probability

    def to_onnx(self) -> onnx.ModelProto:
        """Preprocessing and network as one graph; categories enter as strings."""
        example = {
            "amount": torch.tensor([10.0, 500.0], dtype=torch.float64),
            "merchant_category": torch.tensor([0, 1]),
            "hour": torch.tensor([12, 23]),
        }
        graph = export_network(self._network, example, CONTRACT.output.name)
        return normalise(encode_category(graph, "merchant_category", MERCHANT_CATEGORIES))


def fit(split: Split, config: FitConfig, context: FitContext) -> FittedFraudModel:
    """Fit the network on `split.train`, stopping by `split.validation`."""
    log_amount = np.log1p(split.train["amount"].to_numpy())
    base_rate = float(split.train[TARGET].to_numpy().mean())
    scale = Scale(float(log_amount.mean()), float(log_amount.std()), base_rate)
    return _fit(tensors(split.train), split.validation, scale, config, context)


def fit_stream(split: StreamedSplit, config: FitConfig, context: FitContext) -> FittedFraudModel:
    """The same for rows that do not fit in memory: one pass for the scale, one for each epoch."""
    log_amount, label = Moments(), Moments()
    for frame in split.train.frames():
        log_amount.add(np.log1p(frame["amount"].to_numpy()))
        label.add(frame[TARGET].to_numpy())
    scale = Scale(log_amount.mean, log_amount.deviation, label.mean)
    return _fit(split.train.tensors(tensors), split.validation, scale, config, context)


def _fit(
    train: RowSource,
    validation: pl.DataFrame,
    scale: Scale,
    config: FitConfig,
    context: FitContext,
) -> FittedFraudModel:
    torch.manual_seed(context.seed)
    network = FraudNetwork(config, scale)
    loss = nn.BCEWithLogitsLoss()
    fit_network(network, loss, train, tensors(validation), config, context)
    return FittedFraudModel(network)


def tensors(data: pl.DataFrame) -> Tensors:
    """Features and labels of `data` as the network and its loss take them."""
    category = data["merchant_category"].cast(pl.Enum(MERCHANT_CATEGORIES)).to_physical()
    inputs = {
        "amount": torch.tensor(data["amount"].to_numpy(), dtype=torch.float64),
        "merchant_category": torch.tensor(category.to_numpy(), dtype=torch.int64),
        "hour": torch.tensor(data["hour"].to_numpy(), dtype=torch.int64),
    }
    return Tensors(inputs, torch.tensor(data[TARGET].to_numpy(), dtype=torch.float32))


class Baseline:
    """Logistic regression on log amount and one-hot category and hour."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def predict(self, columns: Columns) -> np.ndarray:
        """P(fraud) of each row, float64 [n]."""
        probability: np.ndarray = self._pipeline.predict_proba(_matrix(columns))[:, 1]
        return probability


def fit_baseline(train: pl.DataFrame, seed: int) -> Baseline:
    """Fit the baseline on `train`."""
    columns = {name: train[name].to_numpy() for name in CONTRACT.names}
    log_amount = make_pipeline(FunctionTransformer(np.log1p), StandardScaler())
    pipeline = make_pipeline(
        ColumnTransformer([("amount", log_amount, [0]), ("codes", OneHotEncoder(), [1, 2])]),
        LogisticRegression(max_iter=200, random_state=seed),
    )
    return Baseline(pipeline.fit(_matrix(columns), train[TARGET].to_numpy()))


def _codes(category: np.ndarray) -> np.ndarray:
    """Index of each category in MERCHANT_CATEGORIES, int64 [n]; the tuple is sorted."""
    codes: np.ndarray = np.searchsorted(MERCHANT_CATEGORIES, category.astype(str)).astype(np.int64)
    return codes


def _inputs(columns: Columns) -> dict[str, Tensor]:
    return {
        "amount": torch.tensor(columns["amount"], dtype=torch.float64),
        "merchant_category": torch.from_numpy(_codes(columns["merchant_category"])),
        "hour": torch.tensor(columns["hour"], dtype=torch.int64),
    }


def _matrix(columns: Columns) -> np.ndarray:
    """Amount, category code and hour as float64 [n, 3]."""
    return np.column_stack(
        [columns["amount"], _codes(columns["merchant_category"]), columns["hour"]]
    ).astype(np.float64)
