"""What a child answers, however wrong: the call that waits for it ends, and the next one begins."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import numpy as np
import pytest

from modelyard.contract import Output
from modelyard.scoring.child import channel as channels
from modelyard.scoring.child import wire
from modelyard.scoring.child.channel import Channel
from modelyard.scoring.child.runner import ChildRunner, RunnerLimits
from modelyard.scoring.runner import Call, GivenUpError, RunnerError

LIMITS = RunnerLimits(memory_bytes=0, batch_rows=100, row_s=60, call_s=60)
COLUMNS = {"amount": np.array([1.0])}


class FakeChannel:
    is_idle = True

    def ask(self, _question, _limit_s, done) -> None:
        self.done = done


@pytest.mark.parametrize(
    "answer",
    [
        wire.Answer("(f8", [1], b"\0" * 8, 0),
        wire.Answer("f8,f8", [1], b"\0" * 16, 0),
        wire.Answer("<f8", [2**63, 2**63], b"\0" * 8, 0),
        wire.Answer("<f8", [2**70], b"", 0),
        wire.Answer("<f8", [], b"\0" * 8, 0),
        SimpleNamespace(resident_bytes=0),
    ],
)
def test_whatever_a_child_answers_its_batch_gets_an_outcome(answer):
    runner = ChildRunner("", SimpleNamespace(), ["amount"], Output(), LIMITS)
    channel, outcomes = FakeChannel(), []
    runner._channels = {object(): channel}
    runner.begin(COLUMNS, outcomes.append)
    channel.done(answer)
    (outcome,) = outcomes
    assert isinstance(outcome, RunnerError)


def test_a_question_that_cannot_be_written_leaves_the_child_idle(monkeypatch):
    async def main() -> None:
        ours, theirs = socket.socketpair()
        channel = Channel(SimpleNamespace(front=ours), lambda: None, lambda *_: None)
        with pytest.raises(UnicodeEncodeError):
            channel.ask(wire.ask(COLUMNS, ["amount"]), 60, lambda _: None)
        assert channel.is_idle
        channel._close()
        theirs.close()

    monkeypatch.setattr(channels.wire, "frame", lambda _: "\ud800".encode())
    asyncio.run(main())


def test_a_call_that_was_given_up_asks_no_child_for_its_next_part():
    runner = ChildRunner("", SimpleNamespace(), ["amount"], Output(), LIMITS)
    call, parts = Call(), []

    def predict_part(columns):
        parts.append(len(columns["amount"]))
        call.give_up()
        return columns["amount"]

    runner._predict_part = predict_part
    with pytest.raises(GivenUpError):
        runner.predict({"amount": np.zeros(100_000)}, call)
    assert len(parts) == 1
