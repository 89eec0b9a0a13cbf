"""Runners around a real one that count, fail or hang."""

from __future__ import annotations

import threading
from dataclasses import replace

from modelyard.scoring.runner import RunnerError


class Wrapped:
    description = "a wrapped runner"

    def __init__(self, runner):
        self.runner = runner

    def predict(self, columns, call=None):
        return self.runner.predict(columns, call)

    def close(self):
        self.runner.close()


class Counting(Wrapped):
    def __init__(self, runner):
        super().__init__(runner)
        self.rows: list[int] = []

    def predict(self, columns, call=None):
        self.rows.append(len(columns["amount"]))
        return super().predict(columns, call)


class Allergic(Wrapped):
    def __init__(self, runner, amount):
        super().__init__(runner)
        self.amount = amount

    def predict(self, columns, call=None):
        if self.amount in columns["amount"]:
            raise RunnerError("secret reason")
        return super().predict(columns, call)


class Blocking(Wrapped):
    def __init__(self, runner, release):
        super().__init__(runner)
        self.release, self.entered, self.closed = release, threading.Event(), threading.Event()

    def predict(self, columns, call=None):
        self.entered.set()
        self.release.wait(10)
        return super().predict(columns, call)

    def close(self):
        super().close()
        self.closed.set()


def with_runner(snapshot, runner, *, inline=True):
    return replace(snapshot, runner=runner, runs_inline=inline)
