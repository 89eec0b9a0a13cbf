"""`POST /predict`: many at once, swaps under load, and models that misbehave."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from support.misbehaving_runners import Allergic, Blocking, Counting, with_runner
from support.models.toy import ROW
from support.predict_requests import check_problem, row
from support.serving_app import Server


def test_rows_of_one_tick_share_a_call_and_each_gets_its_own_answer(server: Server):
    snapshot = server.holder.snapshot
    counting = Counting(snapshot.runner)
    server.holder.snapshot = with_runner(snapshot, counting)

    async def main(client: httpx.AsyncClient) -> list[httpx.Response]:
        jobs = []
        for number in range(200):
            bodies = row(amount=number), [row(amount=number), row(amount=999 - number)]
            jobs.append(client.post("/predict", json=bodies[number % 2]))
        return await asyncio.gather(*jobs)

    for number, answer in enumerate(server.run(main)):
        expected = [1000.0 + number] + ([1999.0 - number] if number % 2 else [])
        assert answer.json()["prediction"] == expected
    assert sum(counting.rows) == 300
    assert len(counting.rows) < 100


def test_a_faulty_request_among_many_costs_only_itself(server: Server):
    async def main(client: httpx.AsyncClient) -> list[httpx.Response]:
        jobs = [
            client.post("/predict", json=row(amount=-1 if number % 7 == 0 else number))
            for number in range(50)
        ]
        return await asyncio.gather(*jobs)

    for number, answer in enumerate(server.run(main)):
        assert answer.status_code == (422 if number % 7 == 0 else 200)


def test_a_row_on_which_the_model_fails_costs_only_its_own_request(server: Server):
    snapshot = server.holder.snapshot
    server.holder.snapshot = with_runner(snapshot, Allergic(snapshot.runner, amount=13))

    async def main(client: httpx.AsyncClient) -> list[httpx.Response]:
        return await asyncio.gather(
            *(client.post("/predict", json=row(amount=number)) for number in range(30))
        )

    for number, answer in enumerate(server.run(main)):
        if number == 13:
            assert "secret reason" not in check_problem(answer, 500)["detail"]
        else:
            assert answer.json()["prediction"] == [1000.0 + number]


@pytest.mark.parametrize("inline", [True, False])
def test_a_swap_under_load_gives_no_failed_and_no_torn_answer(server: Server, inline: bool):
    server.holder.snapshot = with_runner(
        server.holder.snapshot, server.holder.snapshot.runner, inline=inline
    )
    retired = [server.holder.snapshot.runner]

    async def ask(client: httpx.AsyncClient, answers: list[httpx.Response]) -> None:
        for number in range(30):
            answer = await client.post("/predict", json=row(amount=number))
            answers.append(answer)

    async def main(client: httpx.AsyncClient) -> list[httpx.Response]:
        answers: list[httpx.Response] = []
        clients = [asyncio.create_task(ask(client, answers)) for _ in range(16)]
        for version in range(2, 8):
            await asyncio.sleep(0.005)
            server.serve(version)
            if not inline:
                current = server.holder.snapshot
                server.holder.snapshot = with_runner(current, current.runner, inline=False)
            retired.append(server.holder.snapshot.runner)
        await asyncio.gather(*clients)
        return answers

    versions = set()
    for answer in server.run(main):
        assert answer.status_code == 200, answer.text
        version = answer.headers["x-model-version"]
        assert answer.json()["model"]["version"] == version
        assert answer.json()["prediction"][0] // 1000 == int(version)
        versions.add(version)
    assert len(versions) > 1


def test_a_retired_model_is_closed_when_its_last_request_is_answered(server: Server):
    release = threading.Event()
    snapshot = server.holder.snapshot
    blocking = Blocking(snapshot.runner, release)
    server.holder.snapshot = with_runner(snapshot, blocking, inline=False)

    async def main(client: httpx.AsyncClient) -> httpx.Response:
        held = asyncio.create_task(client.post("/predict", json=ROW))
        await asyncio.to_thread(blocking.entered.wait, 10)
        server.serve(2)
        assert (await client.post("/predict", json=ROW)).headers["x-model-version"] == "2"
        assert not blocking.closed.is_set()
        release.set()
        answer = await held
        await asyncio.to_thread(blocking.closed.wait, 10)
        return answer

    assert server.run(main).headers["x-model-version"] == "1"
    assert blocking.closed.is_set()
