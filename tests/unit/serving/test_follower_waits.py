"""How long the follower waits between two looks at the registry, and that it can be stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from modelyard.serving.following.follower import Follower
from modelyard.serving.following.report import State
from support.follower import follow, served, settled, until
from support.models.toy import ROW
from support.serving_app import MakeServer


def waits_after(follower: Follower, failures: range) -> list[float]:
    found = []
    for follower._failures in failures:
        found.append(follower._delay_s())
    return found


def test_the_wait_grows_while_the_registry_is_down_and_is_bounded(make_server: MakeServer):
    server = make_server(poll_interval_s=2.0)
    server.registry.add(1)

    async def work(_: httpx.AsyncClient) -> None:
        await until(lambda: served(server) == "1")
        waits = waits_after(server.follower, range(8))
        assert 1.5 <= waits[0] <= 2.5
        assert waits[4] > waits[0]
        assert all(wait <= 15 * 1.25 for wait in waits)

    follow(server, work)


def test_a_server_without_a_model_never_waits_long(make_server: MakeServer):
    server = make_server(poll_interval_s=2.0)
    assert all(wait <= 2 * 1.25 for wait in waits_after(server.follower, range(8)))


def test_stopping_ends_a_reload_that_waits(make_server: MakeServer):
    server = make_server()

    async def main() -> None:
        await server.follower.start()
        await until(settled(server))
        await server.follower.stop()
        waiting = asyncio.create_task(server.follower.reload())
        await asyncio.sleep(0)
        await server.follower.stop()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_a_version_that_arrives_damaged_is_refused_and_tried_again(make_server: MakeServer):
    """The store may be well again, or the byte may have flipped on the way."""
    quick = make_server(poll_interval_s=0.01)

    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1)
        await until(lambda: served(quick) == "1")
        graph = Path(quick.registry.add(2).source) / "model.onnx"
        good = graph.read_bytes()
        graph.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        await until(lambda: quick.registry.downloads.count("2") == 3)
        await until(lambda: quick.follower.report.state is State.REFUSED)
        model = (await client.get("/model")).json()
        assert (model["version"], model["stale"]) == ("1", True)
        assert "model.onnx was changed after registration" in model["last_error"]
        assert (await client.post("/predict", json=ROW)).json()["prediction"] == [1012.5]
        graph.write_bytes(good)
        await until(lambda: served(quick) == "2")

    follow(quick, work)
