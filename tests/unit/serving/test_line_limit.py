"""Log lines of one kind are few; how many were left out is said."""

from __future__ import annotations

import logging

import pytest

from modelyard.serving.web.line_limit import LineLimit
from support.models.toy import ROW
from support.serving_app import Server


def test_so_many_lines_a_second_and_then_the_number_of_those_left_out():
    now = [100.0]
    limit = LineLimit(2, clock=lambda: now[0])
    assert [limit.admit("a") for _ in range(5)] == [0, 0, None, None, None]
    assert limit.admit("b") == 0
    now[0] = 101.5
    assert [limit.admit("a") for _ in range(3)] == [3, 0, None]
    now[0] = 109.0
    assert [limit.admit("a"), limit.admit("b")] == [1, 0]


def test_a_flood_of_refusals_is_counted_and_not_written(
    server: Server, caplog: pytest.LogCaptureFixture
):
    async def main(client) -> None:
        for _ in range(200):
            assert (await client.post("/predict", json=ROW | {"amount": -1})).status_code == 422

    with caplog.at_level(logging.INFO, logger="modelyard.serving.web.predict"):
        server.run(main)
    assert 10 <= len(caplog.records) < 150
    assert 'modelyard_requests_total{route="/predict",status="422"} 200.0' in (
        server.ask("GET", "/metrics").text
    )
