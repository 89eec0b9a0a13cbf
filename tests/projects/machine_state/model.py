"""Preprocessing inside the network, three logits out of it, probabilities in the graph."""

from __future__ import annotations

import numpy as np
import onnx
import polars as pl
import torch
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import Tensor, nn

from machine_state.contract import CONTRACT, SITES
from modelyard.scoring.column import Columns
from modelyard.training.data.stream import Moments
from modelyard.training.fit.loop import LoopConfig, fit_network
from modelyard.training.judge.metrics import class_index
from modelyard.training.package.onnx_export import encode_category, export_network, normalise
from modelyard.training.package.sklearn_model import SklearnModel, feature_table
from modelyard.training.project import FitContext, Split, StreamedSplit
from modelyard.training.tensors import RowSource, Tensors

NUMBERS = ("temperature", "vibration", "starts")


class FitConfig(LoopConfig):
    """The loop's fields, and one of the network's."""

    width: int = 16


class Network(nn.Module):
    """Columns [n] → logits [n, 3]; a site it does not know has an embedding of its own."""

    def __init__(self, width: int, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.site = nn.Embedding(len(SITES) + 1, 2)
        self.layers = nn.Sequential(
            nn.Linear(len(NUMBERS) + 3, width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(width, len(CONTRACT.output.classes)),
        )

    def forward(
        self, temperature: Tensor, vibration: Tensor, starts: Tensor, indoors: Tensor, site: Tensor
    ) -> Tensor:
        numbers = torch.stack([temperature, vibration, starts.double()], dim=1)
        scaled = ((numbers - self.mean) / self.deviation).float()
        parts = (scaled, indoors.float().unsqueeze(1), self.site(site + 1))
        logits: Tensor = self.layers(torch.cat(parts, dim=1))
        return logits


class Probabilities(nn.Module):
    """What is served: the network's logits as probabilities."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, temperature: Tensor, vibration: Tensor, starts: Tensor, indoors: Tensor, site: Tensor
    ) -> Tensor:
        return torch.softmax(self.network(temperature, vibration, starts, indoors, site), dim=1)


class FittedModel:
    """A fitted network that predicts from columns and exports itself."""

    def __init__(self, network: Network) -> None:
        self._network = Probabilities(network).eval()

    def predict(self, columns: Columns) -> np.ndarray:
        with torch.inference_mode():
            return self._network(**_inputs(columns)).numpy()

    def to_onnx(self) -> onnx.ModelProto:
        example = {name: np.array([CONTRACT.example[name]] * 2) for name in CONTRACT.names}
        graph = export_network(self._network, _inputs(example), CONTRACT.output.name)
        return normalise(encode_category(graph, "site", SITES))


def fit(split: Split, config: FitConfig, context: FitContext) -> FittedModel:
    numbers = split.train.select(pl.col(NUMBERS).cast(pl.Float64)).to_torch()
    scale = numbers.mean(dim=0), numbers.std(dim=0)
    return _fit(_rows(split.train), split.validation, scale, config, context)


def fit_stream(split: StreamedSplit, config: FitConfig, context: FitContext) -> FittedModel:
    moments = {name: Moments() for name in NUMBERS}
    for frame in split.train.frames():
        for name, moment in moments.items():
            moment.add(frame[name].to_numpy())
    mean = torch.tensor([moment.mean for moment in moments.values()], dtype=torch.float64)
    deviation = torch.tensor([moment.deviation for moment in moments.values()], dtype=torch.float64)
    train = split.train.tensors(_rows)
    return _fit(train, split.validation, (mean, deviation), config, context)


def _fit(
    train: RowSource,
    validation: pl.DataFrame,
    scale: tuple[Tensor, Tensor],
    config: FitConfig,
    context: FitContext,
) -> FittedModel:
    torch.manual_seed(context.seed)
    network = Network(config.width, *scale)
    fit_network(network, nn.CrossEntropyLoss(), train, _rows(validation), config, context)
    return FittedModel(network)


def fit_baseline(train: pl.DataFrame, seed: int) -> SklearnModel:
    before = ColumnTransformer(
        [
            ("numbers", StandardScaler(), list(NUMBERS)),
            ("sites", OneHotEncoder(handle_unknown="ignore"), ["site"]),
        ]
    )
    pipeline = make_pipeline(before, LogisticRegression(random_state=seed))
    return SklearnModel(pipeline.fit(feature_table(train, CONTRACT), train["state"]), CONTRACT)


def _rows(data: pl.DataFrame) -> Tensors:
    columns = {name: data[name].to_numpy() for name in CONTRACT.names}
    target = class_index(CONTRACT.output.classes, data["state"].to_numpy())
    return Tensors(_inputs(columns), torch.tensor(target))


def _inputs(columns: Columns) -> dict[str, Tensor]:
    codes = {name: index for index, name in enumerate(SITES)}
    site = [codes.get(name, -1) for name in columns["site"]]
    return {
        "temperature": torch.tensor(columns["temperature"], dtype=torch.float64),
        "vibration": torch.tensor(columns["vibration"], dtype=torch.float64),
        "starts": torch.tensor(columns["starts"], dtype=torch.int64),
        "indoors": torch.tensor(columns["indoors"], dtype=torch.bool),
        "site": torch.tensor(site, dtype=torch.int64),
    }
