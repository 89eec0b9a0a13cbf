from __future__ import annotations

import threading

import pytest

from support.serving_app import Server


def test_a_retired_model_that_no_thread_can_close_costs_no_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    server.serve(2)
    assert server.holder.snapshot.version.version == "2"
    assert "Version 1 was retired, and no thread can be started." in caplog.text
