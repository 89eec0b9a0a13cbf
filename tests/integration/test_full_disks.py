"""Disks that are really full: the server answers, says so, and goes on when there is room."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

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


@pytest.mark.parametrize("required", [False, True])
def test_a_full_disk_for_the_prediction_log_is_said_and_no_line_is_half(
    make_server: MakeServer, tmp_path: Path, required: bool
):
    with small_disk(tmp_path / "predictions", 512) as disk:
        server = make_server(poll_interval_s=0.2, prediction_log_required=required)
        server.registry.add(1)

        async def main() -> int:
            acknowledged = 0
            async with server.following() as client:
                await until(client, "/health", lambda body: body["status"] == "healthy")
                for phase in ("room", "full", "room again"):
                    if phase == "full":
                        disk.fill()
                    if phase == "room again":
                        disk.clear()
                        await until(client, "/health", lambda body: body["status"] == "healthy")
                    answers = [await client.post("/predict", json=ROW) for _ in range(300)]
                    codes = {answer.status_code for answer in answers}
                    if phase != "full" or not required:
                        assert codes == {200}
                        acknowledged += len(answers) if phase != "full" else 0
                    else:  # what is left of the last page takes some
                        assert 503 in codes
                        acknowledged += sum(answer.status_code == 200 for answer in answers)
                    if phase == "full":
                        health = await client.get("/health")
                        assert health.status_code == (503 if required else 200)
                        assert health.json()["status"] != "healthy"
                        assert "No space left on device" in health.text
                        assert "lost" in (await client.get("/metrics")).text
            return acknowledged

        acknowledged = asyncio.run(main())
        lines = [
            line for path in disk.folder.glob("*.ndjson") for line in path.read_text().splitlines()
        ]
        assert all(json.loads(line) for line in lines)
        assert len(lines) >= acknowledged
