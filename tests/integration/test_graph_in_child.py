"""An ONNX graph whose cost its input decides runs in a process that can be ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from modelyard.errors import ModelRefusedError
from modelyard.scoring.bundle import open_bundle
from modelyard.scoring.child.opening import ChildOptions
from modelyard.scoring.child.runner import ChildRunner
from modelyard.scoring.onnx.runner import OnnxRunner
from modelyard.scoring.runner import RunnerError
from support.follower import follow, served
from support.models.folders import write_version
from support.models.graphs import circular_trees, endless_above, greedy_above, save
from support.models.toy import CONTRACT, contract_with
from support.serving_app import MakeServer

PATIENCE_S = 60
ONE_INPUT = contract_with(features=[CONTRACT["features"][0]], example={"amount": 12.5})
MALICIOUS = {
    "endless": partial(save, partial(endless_above, 900)),
    "greedy": partial(save, partial(greedy_above, 900)),
}


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the condition knows no event
            await asyncio.sleep(0.02)


async def ask(client: httpx.AsyncClient, amount: float) -> httpx.Response:
    return await client.post("/predict", json={"amount": amount})


@pytest.mark.parametrize("formats", ["any", "onnx"])
@pytest.mark.parametrize("what", MALICIOUS)
def test_a_request_that_would_not_end_costs_itself_and_no_other(
    make_server: MakeServer, formats: str, what: str
):
    server = make_server(
        poll_interval_s=0.05, model_formats=formats, child_memory_mb=512, request_timeout_s=4.0
    )

    async def work(client: httpx.AsyncClient) -> None:
        server.registry.add(1, contract=ONE_INPUT, graph=MALICIOUS[what])
        await until(lambda: served(server) == "1")
        assert (await ask(client, 7)).json()["prediction"] == [7.0]
        assert "in a process of its own" in (await client.get("/model")).json()["runner"]
        poisoned = asyncio.create_task(ask(client, 990))
        while not poisoned.done():
            assert (await client.get("/livez")).status_code == 200
            await asyncio.sleep(0.01)
        assert (await poisoned).status_code in {500, 502}
        assert (await ask(client, 8)).json()["prediction"] == [8.0]
        many = {"columns": {"amount": [float(n % 100) for n in range(30_000)]}}
        answer = await client.post("/predict", json=many)
        assert answer.json()["prediction"] == many["columns"]["amount"]

    follow(server, work)


def test_every_way_to_open_it_keeps_it_out_of_this_process(tmp_path: Path):
    write_version(tmp_path / "v", contract=ONE_INPUT, graph=MALICIOUS["endless"])
    write_version(tmp_path / "plain")
    with open_bundle(tmp_path / "v", ChildOptions.offline()) as bundle:
        assert isinstance(bundle.runner, ChildRunner)
    with open_bundle(tmp_path / "plain", ChildOptions.offline()) as bundle:
        assert isinstance(bundle.runner, OnnxRunner)


def test_a_graph_that_is_none_is_refused_in_words(tmp_path: Path):
    folder = tmp_path / "v"
    write_version(folder, contract=ONE_INPUT, graph=lambda path: path.write_bytes(b"no graph"))
    with pytest.raises(ModelRefusedError, match=r"cannot load model\.onnx"):
        open_bundle(folder, ChildOptions.offline())
    write_version(folder, graph=MALICIOUS["endless"])
    with pytest.raises(ModelRefusedError, match="ONNX inputs do not fit the contract"):
        open_bundle(folder, ChildOptions.offline())


def test_trees_that_go_round_in_circles_cost_their_own_request(make_server: MakeServer):
    """onnxruntime opens them, and its `terminate` does not end them."""
    server = make_server(poll_interval_s=0.05, request_timeout_s=4.0)

    async def work(client: httpx.AsyncClient) -> None:
        contract = contract_with(features=[CONTRACT["features"][0]], example={"amount": 600.0})
        server.registry.add(1, contract=contract, graph=partial(save, circular_trees))
        await until(lambda: served(server) == "1")
        assert (await ask(client, 600)).json()["prediction"] == [2.0]
        assert (await ask(client, 30)).status_code == 502
        assert (await ask(client, 600)).json()["prediction"] == [2.0]

    follow(server, work)


def test_a_call_that_never_ends_is_ended_with_its_process(tmp_path: Path):
    write_version(tmp_path / "v", contract=ONE_INPUT, graph=MALICIOUS["endless"])
    options = ChildOptions(count=1, memory_bytes=0, start_s=60, batch_rows=64, request_s=4)
    with open_bundle(tmp_path / "v", options) as bundle:
        with pytest.raises(RunnerError, match="no answer within"):
            bundle.runner.predict({"amount": np.array([990.0])})
        assert bundle.runner.predict({"amount": np.array([1.0])}) == [1.0]
