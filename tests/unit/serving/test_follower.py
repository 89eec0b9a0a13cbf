"""What is served follows the alias; whatever goes wrong keeps the old model and says so."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

import httpx
import pytest

from modelyard.scoring.proof import ProofLimits
from modelyard.serving.following.report import FollowerReport, State
from support.follower import follow, served, settled, until
from support.models.toy import NAME, ROW, contract_with
from support.serving_app import TOKEN, MakeServer, Server

ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def quick(make_server: MakeServer) -> Server:
    """A server that looks at its registry all the time."""
    return make_server(poll_interval_s=0.01)


def test_a_promotion_is_followed_and_a_rollback_comes_from_the_cache(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        await until(lambda: quick.follower.report.state is State.NOT_FOUND)
        for number in (1, 2):
            quick.registry.add(number)
            await until(lambda number=number: served(quick) == str(number))
        quick.registry.alias = "1"
        await until(lambda: served(quick) == "1")
        assert quick.registry.downloads == ["1", "2"]
        await until(lambda: not quick.follower.report.stale)
        assert quick.follower.report.wanted_version == "1"

    follow(quick, work)


def test_the_reason_for_no_model_is_told(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        await until(settled(quick))
        answer = (await client.get("/health")).json()
        assert answer["type"] == "urn:modelyard:problem:no-model"
        assert answer["title"] == "No model is served"
        assert "No model is promoted under models:/toy@champion yet" in answer["detail"]
        assert "docker compose --profile train run --rm training" in answer["detail"]
        quick.registry.reachable = False
        await until(lambda: quick.follower.report.state is State.UNREACHABLE)
        answer = await client.get("/health")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "registry.invalid does not answer" in answer.json()["detail"]
        assert "train" not in answer.json()["detail"]
        quick.registry.add(1, graph=lambda path: path.write_bytes(b"junk"))
        quick.registry.reachable = True
        await client.post("/admin/reload", headers=ADMIN)
        assert "cannot load model.onnx" in (await client.get("/health")).json()["detail"]

    follow(quick, work)


def test_a_bad_version_keeps_the_old_one_and_is_tried_once(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1)
        await until(lambda: served(quick) == "1")
        quick.registry.add(2, graph=lambda path: path.write_bytes(b"junk"))
        await until(lambda: quick.follower.report.state is State.REFUSED)
        for _ in range(5):
            before = quick.follower.report.checked_at
            await until(lambda before=before: quick.follower.report.checked_at != before)
        assert quick.registry.downloads == ["1", "2"]
        model = (await client.get("/model")).json()
        assert model["version"] == "1"
        assert model["stale"] is True
        assert "cannot load model.onnx" in model["last_error"]
        assert model["follower"]["wanted_version"] == "2"
        assert (await client.post("/predict", json=ROW)).json()["prediction"] == [1012.5]
        assert (
            'modelyard_model_loads_total{result="refused"} 1.0'
            in (await client.get("/metrics")).text
        )
        refused = await client.post("/admin/reload", headers=ADMIN)
        assert refused.status_code == 409
        assert quick.follower.loads["refused"] == 2
        quick.registry.add(3)
        await until(lambda: served(quick) == "3")

    follow(quick, work)


def test_a_slow_download_keeps_no_rollback_waiting(quick: Server, monkeypatch):
    """The registry is asked while a version loads; what is not wanted any more is abandoned."""
    fetch, loads, may_go_on = quick.registry.download, [], threading.Event()

    def drip(version, folder, transfer) -> None:
        loads.append(version.version)
        while version.version == "2" and not may_go_on.wait(0.01):
            transfer.receive(1)
        fetch(version, folder, transfer)

    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1)
        await until(lambda: served(quick) == "1")
        monkeypatch.setattr(quick.registry, "download", drip)
        quick.registry.add(2)
        await until(lambda: quick.follower.report.state is State.LOADING)
        model = (await client.get("/model")).json()
        assert (model["version"], model["stale"]) == ("1", True)
        assert model["follower"]["wanted_version"] == "2"
        quick.registry.alias = "1"  # a rollback
        await until(lambda: quick.follower.report.state is State.FOLLOWING)
        assert served(quick) == "1"
        quick.registry.add(3)
        await until(lambda: served(quick) == "3")
        assert loads == ["2", "3"]

    follow(quick, work)
    may_go_on.set()


def test_a_version_that_was_loaded_for_nothing_is_closed(quick: Server, monkeypatch):
    closed, load, may_go_on = [], quick.loader.load, threading.Event()

    def slow(version, contract, abandoned):
        snapshot = load(version, contract, abandoned)
        if version.version == "2":
            monkeypatch.setattr(snapshot.runner, "close", lambda: closed.append(version.version))
            may_go_on.wait()
        return snapshot

    async def work(_: httpx.AsyncClient) -> None:
        quick.registry.add(1)
        await until(lambda: served(quick) == "1")
        monkeypatch.setattr(quick.loader, "load", slow)
        quick.registry.add(2)
        await until(lambda: quick.follower.report.state is State.LOADING)
        quick.registry.alias = "1"
        await until(lambda: quick.follower.report.state is State.FOLLOWING)
        may_go_on.set()
        await until(lambda: closed == ["2"])
        assert served(quick) == "1"

    follow(quick, work)


def test_what_ran_out_of_time_is_tried_again_and_keeps_nothing_waiting(quick: Server):
    """A busy machine is no verdict on a version: it is served as soon as there is time for it."""

    async def work(_: httpx.AsyncClient) -> None:
        quick.registry.add(1)
        await until(lambda: served(quick) == "1")
        quick.loader._proof = ProofLimits(seconds=0.001)
        quick.registry.add(2)
        await until(lambda: quick.follower.report.state is State.FAILED)
        error = quick.follower.report.error
        assert "not opened and asked within 0.001 s" in error.detail
        assert served(quick) == "1"
        quick.registry.add(3)  # while version 2 is paused
        await until(lambda: quick.follower.report.wanted_version == "3")
        await until(lambda: quick.follower.loads["failed"] >= 3)
        quick.loader._proof = ProofLimits()
        await until(lambda: served(quick) == "3")
        assert quick.follower.report.state is State.FOLLOWING

    follow(quick, work)


def test_a_registry_that_goes_away_changes_nothing_but_stale(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1)
        await until(lambda: served(quick) == "1" and not quick.follower.report.stale)
        quick.registry.reachable = False
        await until(lambda: quick.follower.report.stale)
        assert (await client.get("/health")).status_code == 200
        assert (await client.post("/predict", json=ROW)).status_code == 200
        assert "modelyard_stale 1.0" in (await client.get("/metrics")).text
        assert (await client.post("/admin/reload", headers=ADMIN)).status_code == 503
        quick.registry.reachable = True
        quick.registry.add(2)
        assert (await client.post("/admin/reload", headers=ADMIN)).json()["version"] == "2"
        assert not quick.follower.report.stale

    follow(quick, work)


def test_an_alias_that_flaps_is_followed_and_no_answer_is_torn(quick: Server):
    """Fifty moves a second, and requests between them."""

    async def work(client: httpx.AsyncClient) -> None:
        for number in (1, 2):
            quick.registry.add(number)
        await until(lambda: served(quick) == "2")
        for move in range(50):
            quick.registry.alias = str(1 + move % 2)
            answer = await client.post("/predict", json=ROW)
            version = answer.headers["x-model-version"]
            assert answer.json()["prediction"] == [1000 * int(version) + 12.5]
            await asyncio.sleep(0.02)
        quick.registry.alias = "1"
        await until(lambda: served(quick) == "1" and not quick.follower.report.stale)
        assert (await client.post("/predict", json=ROW)).json()["prediction"] == [1012.5]

    follow(quick, work)


def test_an_alias_that_is_taken_away_keeps_the_model(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1)
        await until(lambda: served(quick) == "1")
        quick.registry.alias = None
        await until(lambda: quick.follower.report.state is State.NOT_FOUND)
        assert (await client.post("/predict", json=ROW)).status_code == 200
        assert (await client.get("/model")).json()["stale"] is True

    follow(quick, work)


def test_what_nobody_foresaw_does_not_end_the_follower(quick: Server, monkeypatch):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1)
        await until(lambda: served(quick) == "1")
        with monkeypatch.context() as patch:
            patch.setattr(quick.loader, "resolve", lambda: 1 / 0)
            await until(lambda: quick.follower.report.state is State.FAILED)
        with monkeypatch.context() as patch:
            patch.setattr(quick.loader, "load", lambda *_: 1 / 0)
            quick.registry.add(2)
            answer = await client.post("/admin/reload", headers=ADMIN)
            assert "ZeroDivisionError" in answer.json()["detail"]
        await client.post("/admin/reload", headers=ADMIN)
        assert served(quick) == "2"

    follow(quick, work)


def test_fifty_reloads_at_once_make_one_load(make_server: MakeServer):
    server = make_server()

    async def work(client: httpx.AsyncClient) -> None:
        await until(settled(server))
        server.registry.add(1)
        answers = await asyncio.gather(
            *(client.post("/admin/reload", headers=ADMIN) for _ in range(50))
        )
        assert {(a.status_code, a.json()["version"]) for a in answers} == {(200, "1")}
        assert server.registry.downloads == ["1"]
        assert server.follower.loads["loaded"] == 1

    follow(server, work)


def test_a_reload_sees_the_alias_as_it_was_when_it_was_asked(make_server: MakeServer, monkeypatch):
    """A pass that asked the registry before is not enough."""
    server = make_server()

    async def work(client: httpx.AsyncClient) -> None:
        server.registry.add(1)
        await client.post("/admin/reload", headers=ADMIN)
        load = server.loader.load
        loading = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow_load(*arguments):
            loop.call_soon_threadsafe(loading.set)
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop).result()
            return load(*arguments)

        monkeypatch.setattr(server.loader, "load", slow_load)
        server.registry.add(2)
        first = asyncio.create_task(client.post("/admin/reload", headers=ADMIN))
        await loading.wait()
        server.registry.add(3)
        assert (await client.post("/admin/reload", headers=ADMIN)).json()["version"] == "3"
        assert (await first).json()["version"] == "2"

    follow(server, work)


def test_a_start_without_a_registry_serves_the_last_good_version(make_server: MakeServer):
    before = make_server()

    async def prepare(client: httpx.AsyncClient) -> None:
        before.registry.add(1)
        await client.post("/admin/reload", headers=ADMIN)

    follow(before, prepare)
    server = make_server(registry=before.registry)
    before.registry.reachable = False

    async def work(client: httpx.AsyncClient) -> None:
        answer = await client.post("/predict", json=ROW)  # at once, before any pass
        assert answer.json()["model"] == {"name": NAME, "version": "1"}
        await until(settled(server))
        model = (await client.get("/model")).json()
        assert model["stale"] is True
        assert "does not answer" in model["last_error"]
        server.registry.reachable = True
        await client.post("/admin/reload", headers=ADMIN)
        assert (await client.get("/model")).json()["stale"] is False
        assert server.registry.downloads == ["1"]

    follow(server, work)


def test_a_restart_does_not_let_a_refused_schema_in(make_server: MakeServer):
    before = make_server()
    other = contract_with(features=[{"name": "amount", "type": "number"}], example={"amount": 1.0})

    async def prepare(client: httpx.AsyncClient) -> None:
        before.registry.add(1)
        await client.post("/admin/reload", headers=ADMIN)
        before.registry.add(2, contract=other)
        refused = await client.post("/admin/reload", headers=ADMIN)
        assert "hour is gone" in refused.json()["detail"]

    follow(before, prepare)
    server = make_server(registry=before.registry)

    async def work(client: httpx.AsyncClient) -> None:
        await until(settled(server))
        assert served(server) == "1"
        assert server.follower.report.state is State.REFUSED

    follow(server, work)


def test_a_damaged_cache_is_mended_when_the_registry_answers(make_server: MakeServer):
    before = make_server()

    async def prepare(client: httpx.AsyncClient) -> None:
        before.registry.add(1)
        await client.post("/admin/reload", headers=ADMIN)

    follow(before, prepare)
    for graph in (before.folder / "cache" / "versions").rglob("model.onnx"):
        graph.write_bytes(b"rot")
    server = make_server(registry=before.registry)

    async def work(client: httpx.AsyncClient) -> None:
        await until(lambda: served(server) == "1")
        assert server.registry.downloads == ["1", "1"]

    follow(server, work)


def test_a_clock_that_is_set_makes_nothing_stale():
    past = datetime(2001, 1, 1, tzinfo=UTC)
    report = FollowerReport(State.FOLLOWING, stale=False, checked_at=past, checked_at_s=monotonic())
    assert not report.is_stale(3600)
    assert replace(report, checked_at_s=monotonic() - 3601).is_stale(3600)
