"""What torch exports, by both of its exporters, may run on the event loop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modelyard.scoring.onnx.cost import unbounded_cost


class Recurrent(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells = torch.nn.LSTM(4, 8, batch_first=True)

    def forward(self, rows):
        return self.cells(rows)[0][:, -1]


class Positions(torch.nn.Module):
    """Sizes that are computed: a range, a mask, an expansion."""

    def forward(self, rows):
        places = torch.arange(rows.shape[1], device=rows.device)
        mask = torch.ones(rows.shape[1], rows.shape[1]).tril()
        return (rows + places[None, :, None].expand(rows.shape[0], -1, 4)).transpose(1, 2) @ mask


NETWORKS = {
    "perceptron": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 8), torch.nn.GELU()),
    "recurrent": Recurrent(),
    "transformer": torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
    "convolution": torch.nn.Sequential(torch.nn.Conv1d(5, 3, 2), torch.nn.BatchNorm1d(3)),
    "positions": Positions(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_of_torch_are_bounded(tmp_path: Path, name: str, dynamo: bool):
    if name == "transformer" and not dynamo:
        pytest.skip("torch's older exporter cannot trace it")
    path, rows = tmp_path / "model.onnx", torch.ones(3, 5, 4)
    shapes = (
        {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamo
        else {"dynamic_axes": {"rows": {0: "n"}}}
    )  # fmt: skip
    torch.onnx.export(
        NETWORKS[name].eval(), (rows,), path, input_names=["rows"], opset_version=20,
        dynamo=dynamo, external_data=False, **shapes,
    )  # fmt: skip
    assert unbounded_cost(path) == ""
