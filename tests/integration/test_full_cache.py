"""A full cache: the old version answers, the reason is said, and room is all that it needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from support.models.toy import ROW
from support.serving_app import MakeServer
from support.small_disk import small_disk

LOOKS = 2400


async def until(client: httpx.AsyncClient, path: str, holds: Any) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for _ in range(LOOKS):
        body = (await client.get(path)).json()
        if holds(body):
            return body
        await asyncio.sleep(0.05)
    raise AssertionError(body)


def test_a_full_cache_is_said_and_is_well_again_when_there_is_room(
    make_server: MakeServer, tmp_path: Path
):
    with small_disk(tmp_path / "cache") as disk:
        server = make_server(poll_interval_s=0.2)
        server.registry.add(1)

        async def main() -> None:
            async with server.following() as client:
                await until(client, "/health", lambda body: body["status"] == "healthy")
                disk.fill()
                server.registry.add(2)
                said = await until(
                    client, "/model", lambda body: "could not be written" in str(body["last_error"])
                )
                assert "No space left on device" in said["last_error"]
                assert "SERVING_CACHE_VERSIONS" in said["last_error"]
                assert said["version"] == "1"
                answer = await client.post("/predict", json=ROW)
                assert answer.json()["prediction"] == [1012.5]
                assert not list((disk.folder / "incoming").iterdir())
                disk.clear()
                await until(client, "/model", lambda body: body["version"] == "2")
                answer = await client.post("/predict", json=ROW)
                assert answer.json()["prediction"] == [2012.5]

        asyncio.run(main())
