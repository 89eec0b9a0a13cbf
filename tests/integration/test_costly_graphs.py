"""A row may make a graph take any time or memory: it costs its own request, and no other one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from modelyard.scoring.bundle import open_bundle
from modelyard.scoring.child.opening import ChildOptions
from modelyard.scoring.child.runner import ChildRunner
from modelyard.scoring.runner import RunnerError
from support.models.costly import CONTRACT_OF_ONE, looping, saved, swelling
from support.models.folders import write_version
from support.serving_app import MakeServer

ENDLESS, HUGE = 17.0, 12.0  # turns and numbers: powers of ten


async def until_healthy(client: httpx.AsyncClient) -> None:
    for _ in range(2400):
        if (await client.get("/health")).status_code == 200:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the server does not become healthy")


@pytest.mark.parametrize("model_formats", ["any", "onnx"])
@pytest.mark.parametrize(("graph", "poison"), [(looping, ENDLESS), (swelling, HUGE)])
def test_it_costs_its_own_request_only(
    make_server: MakeServer, graph: Any, poison: float, model_formats: str
):
    server = make_server(
        model_formats=model_formats, request_timeout_s=4, child_processes=2, child_memory_mb=512
    )
    server.registry.add(1, contract=CONTRACT_OF_ONE, graph=saved(graph))

    async def ask(client: httpx.AsyncClient, amount: float) -> httpx.Response:
        return await client.post("/predict", json={"amount": amount}, timeout=120)

    async def main() -> None:
        async with server.following() as client:
            await until_healthy(client)
            runs_as = (await client.get("/model")).json()["runner"]
            assert "onnxruntime" in runs_as and "in a process of its own" in runs_as
            assert (await ask(client, 2.0)).json()["prediction"] == [2.0]
            poisoned = asyncio.create_task(ask(client, poison))
            await asyncio.sleep(0.2)
            # the loop turns meanwhile, and another child answers
            assert (await client.get("/livez")).status_code == 200
            assert (await ask(client, 1.0)).json()["prediction"] == [1.0]
            refused = await poisoned
            assert refused.status_code in (500, 502), refused.text
            assert refused.headers["content-type"] == "application/problem+json"
            while (again := await ask(client, 3.0)).status_code != 200:
                assert again.status_code == 503, again.text
                await asyncio.sleep(0.1)
            assert again.json()["prediction"] == [3.0]
            assert (await client.get("/health")).status_code == 200

    asyncio.run(main())


def test_the_gate_and_batch_run_it_elsewhere_too(tmp_path: Path):
    write_version(tmp_path, contract=CONTRACT_OF_ONE, graph=saved(looping))
    with open_bundle(tmp_path, ChildOptions.offline()) as bundle:
        assert isinstance(bundle.runner, ChildRunner)
        answer = bundle.runner.predict({"amount": np.array([1.0, 0.0, 2.0])})
    assert answer.tolist() == [1.0, 0.0, 2.0]


def test_a_call_that_never_ends_is_ended_with_its_process(tmp_path: Path):
    write_version(tmp_path, contract=CONTRACT_OF_ONE, graph=saved(looping))
    options = ChildOptions(count=1, memory_bytes=0, start_s=60, batch_rows=64, request_s=4)
    with open_bundle(tmp_path, options) as bundle:
        with pytest.raises(RunnerError, match="no answer within"):
            bundle.runner.predict({"amount": np.array([ENDLESS])})
        assert bundle.runner.predict({"amount": np.array([1.0])}) == [1.0]
