"""One ONNX graph from a torch network and the categories in front of it, reproducible by byte.

torch writes the absolute paths of its own source into the graph, and the order of opset imports
may vary. `normalise` removes both, so that the same weights give the same file.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

OPSET = 20
"""onnx 1.23 writes opset 28 by default, which onnxruntime 1.31 refuses."""

_ML_OPSET = 3  # LabelEncoder from strings to int64
_UNKNOWN = -1


def export_network(
    network: nn.Module, inputs: Mapping[str, Tensor], output: str
) -> onnx.ModelProto:
    """The graph of `network`, which is called with `inputs` by name.

    Args:
        inputs: example columns [n], n ≥ 2; every first axis becomes the dynamic axis `rows`.
        output: name of the graph's one output.
    """
    rows = torch.export.Dim("rows", min=1)
    with quiet("torch.onnx"):  # it remarks on torchvision and on its own deprecations
        program = torch.onnx.export(
            network.eval(),
            kwargs=dict(inputs),
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes={name: {0: rows} for name in inputs},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise TypeError("torch.onnx.export returned no program")  # only without dynamo
    return program.model_proto


def encode_category(
    model: onnx.ModelProto, name: str, categories: Sequence[str]
) -> onnx.ModelProto:
    """`model` with its integer input `name` replaced by a string input of the same name.

    Strings become their index in `categories`; any other string becomes -1.
    """
    code = f"{name}.code"
    for node in model.graph.node:
        node.input[:] = [code if known == name else known for known in node.input]
    encoder = helper.make_node(
        "LabelEncoder",
        [name],
        [code],
        name=f"{name}.encode",
        domain="ai.onnx.ml",
        keys_strings=list(categories),
        values_int64s=list(range(len(categories))),
        default_int64=_UNKNOWN,
    )
    model.graph.node.insert(0, encoder)
    (declared,) = (value for value in model.graph.input if value.name == name)
    declared.type.tensor_type.elem_type = TensorProto.STRING
    if all(opset.domain != "ai.onnx.ml" for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", _ML_OPSET))
    return model


def normalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` without anything in which two exports of one network differ; checked by onnx."""
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    pairs = [(opset.domain, opset.version) for opset in opsets]
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in pairs)
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    for weights in model.graph.initializer:
        del weights.metadata_props[:]
    model.producer_name = "modelyard"
    model.producer_version = ""
    model.doc_string = ""
    model.graph.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Leave out warnings, and what the logger of `library` says below an error."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
