"""The rows of one tick: together where they can be, and each request's outcome its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from modelyard.contract import Contract
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.serving.model.snapshot import Usage
from modelyard.serving.web.batcher import TickBatcher
from support.models.toy import CONTRACT, ROW

DECODER = RowDecoder(Contract.model_validate(CONTRACT))


def rows(*amounts: float) -> Any:
    return DECODER.rows([ROW | {"amount": amount} for amount in amounts])


class Model:
    """As much of a snapshot as the batcher uses; it answers `add` + amount."""

    def __init__(self, add: float = 0) -> None:
        self.decoder = DECODER
        self.usage = Usage()
        self.runner = SimpleNamespace(predict=self.predict)
        self.batches: list[list[float]] = []
        self.ends: list[str] = []
        self._add = add

    def predict(self, columns: Any) -> np.ndarray:
        self.batches.append(columns["amount"].tolist())
        return np.array(columns["amount"]) + self._add

    def retire(self) -> None:
        self.usage.retire(lambda: self.ends.append("idle"))


class Tick:
    """Submits after a tick of two, so that what comes is collected."""

    def __init__(self, observe: Callable[[int], None] = lambda _: None) -> None:
        self.settled = 0
        self.outcomes: dict[str, Any] = {}
        self.batcher = TickBatcher(observe, self._settle)

    def _settle(self) -> None:
        self.settled += 1

    def submit(self, name: str, model: Any, table: Any, *, fails: bool = False) -> None:
        def on_outcome(outcome: Any) -> None:
            assert name not in self.outcomes
            self.outcomes[name] = outcome
            if fails:
                raise ArithmeticError(name)

        self.batcher.submit(model, table, on_outcome)

    def values(self) -> dict[str, Any]:
        return {name: np.asarray(outcome).tolist() for name, outcome in self.outcomes.items()}

    async def begin(self, model: Any) -> None:
        for name in ("a", "b"):
            self.submit(name, model, rows(0))
        await asyncio.sleep(0.01)
        self.outcomes.clear()
        model.batches.clear()
        self.settled = 0


def test_rows_and_columns_of_one_tick_share_a_call():
    async def main() -> None:
        model, tick = Model(), Tick()
        await tick.begin(model)
        tick.submit("one", model, rows(1))
        tick.submit("two", model, DECODER.columns(rows(2, 3)))
        tick.submit("three", model, rows(4))
        assert tick.outcomes == {}
        tick.batcher.flush()
        assert model.batches == [[1, 2, 3, 4]]
        assert tick.values() == {"one": [1], "two": [2, 3], "three": [4]}
        assert tick.settled == 1

    asyncio.run(main())


def test_a_swap_within_a_tick_asks_each_version_for_its_own():
    async def main() -> None:
        old, new, tick = Model(100), Model(200), Tick()
        await tick.begin(old)
        tick.submit("one", old, rows(1))
        old.retire()
        tick.submit("two", new, rows(2))
        tick.submit("three", new, rows(3))
        assert old.ends == []
        tick.batcher.flush()
        assert tick.values() == {"one": [101], "two": [202], "three": [203]}
        assert (old.batches, new.batches) == ([[1]], [[2, 3]])
        assert old.ends == ["idle"]

    asyncio.run(main())


def test_a_callback_that_raises_costs_nobody_else_anything():
    async def main() -> None:
        model, tick = Model(), Tick()
        await tick.begin(model)
        for number in range(4):
            tick.submit(f"r{number}", model, rows(number), fails=number == 1)
        model.retire()
        await asyncio.sleep(0.01)
        assert tick.values() == {f"r{number}": [number] for number in range(4)}
        assert tick.settled == 1
        assert model.ends == ["idle"]
        tick.outcomes.clear()
        tick.batcher.flush()
        await asyncio.sleep(0.01)  # a tick of none, so that the next request is a lone one
        tick.submit("lone", model, rows(7), fails=True)
        tick.submit("after", model, rows(8))
        await asyncio.sleep(0.01)
        assert tick.values() == {"lone": [7], "after": [8]}

    asyncio.run(main())


def test_whatever_fails_in_a_call_is_each_ones_own_outcome():
    async def main() -> None:
        calls = 0

        def observe(_: int) -> None:
            nonlocal calls
            calls += 1
            if calls in (3, 5):  # the call for all, and that for the second one alone
                raise ArithmeticError

        model, tick = Model(), Tick(observe)
        await tick.begin(model)
        assert calls == 2
        for number in range(3):
            tick.submit(f"r{number}", model, rows(number))
        tick.batcher.flush()
        assert isinstance(tick.outcomes.pop("r1"), ArithmeticError)
        assert tick.values() == {"r0": [0], "r2": [2]}
        assert tick.settled == 1

    asyncio.run(main())
