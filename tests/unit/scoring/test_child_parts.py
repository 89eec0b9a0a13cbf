"""The parts of the child runner that need no process: the wire, the counts, the plan of columns."""

from __future__ import annotations

import json
import socket
import threading

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.contract import Output
from modelyard.errors import ModelRefusedError
from modelyard.scoring.answers import as_predictions
from modelyard.scoring.child import wire
from modelyard.scoring.child.columns import plan
from modelyard.scoring.child.environment import child_environment
from modelyard.scoring.child.supervision import TOO_MANY, WINDOW_S, Deaths, Pace
from modelyard.scoring.runner import RunnerError
from support.models.toy import contract_of

# -- the wire ------------------------------------------------------------------------------------

COLUMNS = {
    "amount": np.array([1.5, -0.0, 1e308]),
    "hour": np.array([2**63 - 1, -(2**63), 0]),
    "online": np.array([True, False, True]),
    "note": np.array(["", "é\u0000", "😀"], object),
}


def body_of(message) -> bytes:
    return wire.frame(message)[wire.HEAD_BYTES :]


def test_columns_arrive_as_they_were_sent_in_the_order_that_is_asked_for():
    names = ["note", "hour", "amount", "online"]
    said = wire.parse_to_child(body_of(wire.ask(COLUMNS, names)))
    assert isinstance(said, wire.Ask)
    assert said.rows == 3
    for name, column in zip(names, wire.columns_of(said), strict=True):
        assert column.dtype == COLUMNS[name].dtype
        assert column.tolist() == COLUMNS[name].tolist()


def test_a_part_of_a_column_is_sent_and_nothing_of_the_rest():
    part = wire.ask({"a": np.arange(10)[::3]}, ["a"])
    (column,) = wire.columns_of(wire.parse_to_child(body_of(part)))
    assert column.tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize(
    "array", [np.array([0.25]), np.ones((2, 3), np.float32), np.array([1, 2]), np.array([True])]
)
def test_predictions_arrive_as_they_were_sent(array):
    said = wire.parse_from_child(body_of(wire.answer(array, 7)))
    assert isinstance(said, wire.Answer)
    assert said.resident_bytes == 7
    np.testing.assert_array_equal(wire.predictions_of(said), array)


@pytest.mark.parametrize(
    ("dtype", "shape", "data"),
    [
        ("|O", [1], b"\0" * 8),
        ("<U4", [1], b"\0" * 16),
        ("<f8", [2], b"\0" * 8),
        ("<f8", [-3, 1], b"\0" * 8),
        ("<f8", [], b"\0" * 8),
        ("<f8", [10**12], b""),
        ("nonsense", [1], b"\0" * 8),
        ("<f8,<f8", [1], b"\0" * 16),
    ],
)
def test_an_answer_that_is_no_array_of_numbers_is_refused(dtype, shape, data):
    with pytest.raises(wire.WireError):
        wire.predictions_of(wire.Answer(dtype, shape, data, 0))


@given(st.binary(max_size=200))
@example(b"\x93\xa6Failed\xa2x\xff\xc2")  # a string that is not UTF-8
def test_no_bytes_of_a_child_do_more_than_be_refused(body: bytes):
    try:
        said = wire.parse_from_child(body)
    except wire.WireError:
        return
    assert isinstance(said, wire.Loaded | wire.Bound | wire.Answer | wire.Failed)


def test_a_message_comes_whole_however_it_is_cut_and_an_end_is_told():
    here, there = socket.socketpair()
    sent = wire.frame(wire.Failed("x" * 100_000))

    def drip() -> None:
        with there:
            for start in range(0, len(sent), 7001):
                there.sendall(sent[start : start + 7001])

    thread = threading.Thread(target=drip)
    thread.start()
    with here:
        body = wire.receive(here)
        assert body is not None
        assert wire.parse_from_child(body) == wire.Failed("x" * 100_000)
        assert wire.receive(here) is None
    thread.join()


def test_an_absurd_length_is_refused_before_memory_is_taken():
    with pytest.raises(wire.WireError, match="4294967295 bytes"):
        wire.body_bytes(b"\xff\xff\xff\xff")


# -- counts --------------------------------------------------------------------------------------


def test_deaths_are_too_many_within_the_window_only_and_the_pauses_grow():
    now = [100.0]
    deaths = Deaths(lambda: now[0])
    assert not deaths.are_too_many
    pauses = []
    for _ in range(TOO_MANY):
        assert not deaths.are_too_many
        deaths.record()
        pauses.append(deaths.pause_s)
    assert deaths.are_too_many
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    now[0] += WINDOW_S + 1
    assert not deaths.are_too_many
    assert deaths.pause_s == 0
    for _ in range(1000):
        deaths.record()
    assert deaths.pause_s <= 15


def test_a_slow_model_gets_few_rows_at_once_and_a_fast_one_many():
    slow, fast = Pace(budget_s=0.5), Pace(budget_s=0.5)
    assert slow.rows(1024) == 256
    for _ in range(100):
        slow.record(rows := slow.rows(1024), rows * 0.05)
        fast.record(rows := fast.rows(1024), rows * 1e-5)
    assert 5 <= slow.rows(1024) <= 20
    assert fast.rows(1024) == 1024
    slow.record(1, 60.0)
    assert slow.rows(1024) == 1


def test_a_model_that_takes_its_time_whatever_the_rows_gets_many():
    pace = Pace(budget_s=0.5)
    pace.record(1, 0.4)
    assert pace.rows(1024) == 1
    for _ in range(10):
        pace.record(pace.rows(1024), 0.4)
    assert pace.rows(1024) == 1024
    pace.record(1024, 3.0)  # a hiccup
    assert pace.rows(1024) == 512


TWO = ("number", "integer")

# -- the plan of columns ---------------------------------------------------------------------------


def mlmodel(*inputs) -> dict:
    return {"signature": {"inputs": json.dumps(list(inputs))}}


def column(name: str, kind: str, **more) -> dict:
    return {"name": name, "type": kind, **more}


def tensor(dtype: str, *shape: int) -> dict:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}


LABELLER = wire.Loaded("m", [], only_labels=True)
UNKNOWN = wire.Loaded("m", [], only_labels=False)


def classifier(*classes: str) -> wire.Loaded:
    return wire.Loaded("m", list(classes), only_labels=False)


def test_columns_come_in_the_order_and_of_the_types_of_the_signature():
    signature = mlmodel(
        column("b", "double"), column("a", "float"), column("z", "long", required=False)
    )
    found = plan(contract_of(TWO), signature, UNKNOWN)
    assert found.names == ["b", "a"]
    assert found.dtypes == ["float64", "float32"]
    assert found.matrix_dtype == ""


def test_without_a_signature_the_contract_has_the_say():
    found = plan(contract_of(TWO), {}, UNKNOWN)
    assert (found.names, found.dtypes) == (["a", "b"], ["float64", "int64"])


def test_a_tensor_is_one_matrix():
    assert (
        plan(contract_of(TWO), mlmodel(tensor("float32", -1, 2)), UNKNOWN).matrix_dtype == "float32"
    )


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (mlmodel(column("a", "double")), "does not fit the contract"),
        (mlmodel(column("a", "double"), column("c", "long")), "does not fit the contract"),
        (mlmodel(column("a", "long"), column("b", "long")), "a is a number"),
        (mlmodel(column("a", "double"), column("b", "integer")), "b is a integer in the contract"),
        (mlmodel(column("a", "double"), column("b", "string")), "cannot take it"),
        (mlmodel(column("a", "datetime"), column("b", "long")), "cannot take it"),
        (mlmodel(tensor("float32", -1, 3)), "-1, 2"),
        (mlmodel(tensor("int64", -1, 2)), "a tensor"),
        (mlmodel({"type": "tensor"}), "expected"),
    ],
)
def test_a_signature_that_could_not_hold_every_allowed_value_is_refused(signature, words):
    with pytest.raises(ModelRefusedError, match=words):
        plan(contract_of(TWO), signature, UNKNOWN)


def test_the_probability_is_that_of_the_second_class_and_classes_come_in_the_contracts_order():
    binary = contract_of(TWO, kind="probability")
    assert plan(binary, {}, classifier("no", "yes")).class_order == [1]
    assert plan(binary, {}, UNKNOWN).class_order == []
    many = contract_of(TWO, kind="class_probabilities", classes=["low", "mid", "high"])
    assert plan(many, {}, classifier("high", "low", "mid")).class_order == [1, 2, 0]
    assert plan(many, {}, classifier("0", "1", "2")).class_order == [0, 1, 2]
    assert plan(contract_of(TWO), {}, classifier("no", "yes")).class_order == []


@pytest.mark.parametrize(
    ("output", "loaded"),
    [
        ({"kind": "probability"}, LABELLER),
        ({"kind": "probability"}, classifier("a", "b", "c")),
        ({"kind": "class_probabilities", "classes": ["a", "b"]}, classifier("a", "c")),
        ({"kind": "class_probabilities", "classes": ["a", "b"]}, classifier("a", "b", "c")),
    ],
)
def test_a_classifier_that_does_not_tell_what_the_contract_promises_is_refused(output, loaded):
    with pytest.raises(ModelRefusedError, match="promises"):
        plan(contract_of(TWO, **output), {}, loaded)


# -- what is an answer -----------------------------------------------------------------------------


def test_answers_have_one_prediction_a_row():
    probability = Output(kind="probability")
    two = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert as_predictions(two, 2, probability).tolist() == [0.1, 0.8]
    assert as_predictions(two[:, :1], 2, probability).tolist() == [0.9, 0.2]
    for shape, output in [
        ((3,), Output()),
        ((2, 2), Output()),
        ((2, 3), probability),
        ((2,), Output(kind="class_probabilities", classes=("a", "b"))),
    ]:
        with pytest.raises(RunnerError, match="the shape"):
            as_predictions(np.zeros(shape), 2, output)


# -- the environment -----------------------------------------------------------------------------


@pytest.mark.parametrize(("given_threads", "threads"), [(None, "1"), ("", "1"), ("2", "2")])
def test_a_child_computes_with_one_thread_unless_told_otherwise(
    monkeypatch, given_threads, threads
):
    monkeypatch.delenv("OMP_NUM_THREADS")
    if given_threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given_threads)
    assert child_environment()["OMP_NUM_THREADS"] == threads
