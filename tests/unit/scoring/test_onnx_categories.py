"""Encoders taken out of a graph: the same answers, and other graphs as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from modelyard.contract import Contract
from modelyard.scoring.column import EncodedStrings
from modelyard.scoring.onnx.categories import take_encoders
from modelyard.scoring.onnx.protobuf import ProtobufError, fields, message
from modelyard.scoring.onnx.runner import OnnxModel, OnnxRunner
from support.models.toy import save_graph

WORDS = ("grün", "blau", "", "a longer word of 25 bytes", "日本")
NUMBERS = (7, -3, 2**40, 0, 5)
CONTRACT = Contract.model_validate(
    {
        "features": [
            {"name": "word", "type": "string"},
            {"name": "amount", "type": "number"},
        ],
        "output": {"name": "answer", "kind": "value"},
        "example": {"word": "blau", "amount": 1.0},
    }
)


def encoder(**attributes: object) -> onnx.NodeProto:
    given = {
        "keys_strings": list(WORDS),
        "values_int64s": [7, -3, 2**40, 0, 5],
        "default_int64": -9,
    }
    return helper.make_node(
        "LabelEncoder", ["word"], ["code"], domain="ai.onnx.ml", **(given | attributes)
    )


def graph(
    path: Path,
    *,
    first: onnx.NodeProto | None = None,
    more: tuple[onnx.NodeProto, ...] = (),
    **also,
) -> Path:
    """`code + amount`; `also` are more outputs."""
    save_graph(
        path,
        [
            first or encoder(),
            helper.make_node("Cast", ["code"], ["wide"], to=TensorProto.DOUBLE),
            helper.make_node("Add", ["wide", "amount"], ["answer"]),
            *more,
        ],
        {"word": (TensorProto.STRING, ["n"]), "amount": (TensorProto.DOUBLE, ["n"])},
        {"answer": (TensorProto.DOUBLE, ["n"]), **also},
    )
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graph(tmp_path_factory.mktemp("encoder") / "model.onnx")


@given(st.lists(st.sampled_from([*WORDS, "unknown", "日", "x" * 300]), min_size=1, max_size=40))
def test_the_answers_are_those_of_the_whole_graph(model: Path, words: list[str]):
    amounts = np.arange(len(words), dtype=np.float64)
    whole = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    strings = np.array(words, object)
    (expected,) = whole.run(["answer"], {"word": strings, "amount": amounts})
    runner = OnnxRunner(OnnxModel(model), CONTRACT)
    values = sorted(set(words))
    encoded = EncodedStrings(values, np.array([values.index(word) for word in words], np.uint8))
    for column in (strings, encoded):
        assert runner.predict({"word": column, "amount": amounts}).tolist() == expected.tolist()


def test_what_is_left_is_a_good_graph_without_strings(model: Path):
    taken = take_encoders(model)
    assert taken is not None
    data, encoders = taken
    left = onnx.load_from_string(data)
    onnx.checker.check_model(left, full_check=True)
    assert [node.op_type for node in left.graph.node] == ["Cast", "Add"]
    assert {i.name: i.type.tensor_type.elem_type for i in left.graph.input} == {
        "code": TensorProto.INT64,
        "amount": TensorProto.DOUBLE,
    }
    assert encoders["word"].default == -9
    assert encoders["word"].numbers == dict(zip(WORDS, NUMBERS, strict=True))


def test_the_model_still_says_that_it_takes_strings(model: Path):
    assert {str(tensor) for tensor in OnnxModel(model).inputs} == {
        "word: tensor(string)[n]",
        "amount: tensor(double)[n]",
    }


def inner(name: str) -> onnx.GraphProto:
    """A branch that looks at `name` of the graph around it."""
    shape = helper.make_node("Shape", [name], ["size"])
    return helper.make_graph(
        [shape], "branch", [], [helper.make_tensor_value_info("size", TensorProto.INT64, [1])]
    )


BRANCHES = {"then_branch": inner("word"), "else_branch": inner("bad")}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"more": (helper.make_node("Shape", ["word"], ["size"]),)}, id="another node"),
        pytest.param(
            {
                "more": (
                    helper.make_node("IsNaN", ["amount"], ["bad"]),
                    helper.make_node("ReduceMax", ["amount"], ["top"], keepdims=0),
                    helper.make_node("Cast", ["top"], ["any"], to=TensorProto.BOOL),
                    helper.make_node(
                        *("If", ["any"], ["size"]),
                        then_branch=inner("word"),
                        else_branch=inner("bad"),
                    ),
                )
            },
            id="a graph within a node",
        ),
        pytest.param({"code": (TensorProto.INT64, ["n"])}, id="an output"),
        pytest.param(
            {
                "first": helper.make_node(
                    "LabelEncoder",
                    *(["word"], ["code"]),
                    domain="ai.onnx.ml",
                    keys_strings=["a"],
                    values_floats=[1.0],
                )
            },
            id="to floats",
        ),
        pytest.param({"first": encoder(keys_strings=["a"] * 5)}, id="a key twice"),
        pytest.param(
            {"first": helper.make_node("Cast", ["word"], ["code"], to=TensorProto.INT64)},
            id="no encoder",
        ),
    ],
)
def test_other_graphs_are_left_alone(tmp_path: Path, changes: dict[str, object]):
    assert take_encoders(graph(tmp_path / "model.onnx", **changes)) is None


def test_a_graph_with_weights_in_other_files_is_left_alone(tmp_path: Path):
    """Opened from memory, it would look for them somewhere else."""
    path = graph(tmp_path / "model.onnx")
    whole = onnx.load(path)
    whole.graph.initializer.append(numpy_helper.from_array(np.ones(9), "weights"))
    onnx.save_model(whole, path, save_as_external_data=True, location="weights", size_threshold=0)
    assert (tmp_path / "weights").exists()
    assert take_encoders(path) is None
    assert OnnxModel(path).encoders == {}


@given(st.binary(max_size=60))
def test_what_is_no_message_is_left_to_onnxruntime(tmp_path_factory, data: bytes):
    path = tmp_path_factory.mktemp("bytes") / "model.onnx"
    path.write_bytes(data)
    assert take_encoders(path) is None


@given(st.data())
def test_a_damaged_graph_is_taken_or_left_and_never_an_error(
    model: Path, tmp_path_factory, data: st.DataObject
):
    good = model.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    path = tmp_path_factory.mktemp("bytes") / "model.onnx"
    path.write_bytes(good[:place] + bytes([data.draw(st.integers(0, 255))]) + good[place + 1 :])
    take_encoders(path)


@given(st.binary(max_size=300))
def test_a_message_is_read_as_it_was_written(content: bytes):
    (field,) = fields(memoryview(message(7, content)))
    assert (field.number, bytes(field.value)) == (7, content)


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\x80" * 12, b"\x0f", b"\x09ab"])
def test_a_message_that_is_cut_short_is_told(data: bytes):
    with pytest.raises(ProtobufError):
        list(fields(memoryview(data)))


def test_many_rows_are_answered_as_few_are(model: Path):
    """More than one slice of them, the last one shorter."""
    rows = 2 * 8192 + 5
    runner = OnnxRunner(OnnxModel(model), CONTRACT)
    codes = np.arange(rows) % len(WORDS)
    words = np.array(WORDS, object)[codes]
    amounts = np.arange(rows, dtype=np.float64)
    together = runner.predict({"word": EncodedStrings(WORDS, codes), "amount": amounts})
    one_by_one = [
        runner.predict({"word": words[at : at + 1], "amount": amounts[at : at + 1]})[0]
        for at in (*range(0, rows, 977), 8191, 8192, rows - 1)
    ]
    assert together.shape == (rows,)
    assert [together[at] for at in (*range(0, rows, 977), 8191, 8192, rows - 1)] == one_by_one
