"""A model in a child may crash, hang or leak: it costs the requests it holds, and nothing else."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard.errors import ModelRefusedError
from modelyard.scoring.child.confinement import gaps
from modelyard.scoring.child.oversight import usage_of_groups
from modelyard.serving.following.report import State
from support.follower import follow, served
from support.models.code import CODE_CONTRACT, LOAD, write_code_version
from support.models.toy import CONTRACT, ROW, contract_with
from support.serving_app import TOKEN, MakeServer, Server

PATIENCE_S = 60
ADMIN = {"Authorization": f"Bearer {TOKEN}"}

Work = Callable[[httpx.AsyncClient], Awaitable[None]]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the condition knows no event
            await asyncio.sleep(0.02)


async def ask(client: httpx.AsyncClient, note: str = "hi", **changes: Any) -> httpx.Response:
    return await client.post("/predict", json=ROW | {"note": note} | changes)


async def child_pid(client: httpx.AsyncClient) -> int:
    return int((await ask(client, "pid")).json()["prediction"][0])


def is_alive(pid: int) -> bool:
    """Whether the process runs: one that waits to be reaped does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def quick(make_server: MakeServer) -> Server:
    return make_server(poll_interval_s=0.05)


def test_every_misbehaviour_costs_its_own_request_and_no_other(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1, write=write_code_version)
        await until(lambda: served(quick) == "1")
        assert (await ask(client)).json()["prediction"] == [1012.5]
        for note in ("raise", "quit", "text", "extra"):
            pid = await child_pid(client)
            answer = await ask(client, note)
            assert answer.status_code == 500, note
            assert answer.json()["type"].endswith("model-failed")
            assert "4711" not in answer.text
            assert await child_pid(client) == pid, note
        assert (await ask(client, "nan")).status_code == 422
        for note in ("exit", "segv"):  # a third death would be too many
            pid = await child_pid(client)
            answer = await ask(client, note)
            assert answer.status_code == 502, note
            assert answer.json()["type"].endswith("model-process-lost")
            assert (await ask(client)).json()["prediction"] == [1012.5]
            assert await child_pid(client) != pid
            assert not is_alive(pid)
        metrics = (await client.get("/metrics")).text
        assert 'modelyard_refusals_total{reason="model-process-lost"} 2.0' in metrics

    follow(quick, work)


def test_a_call_that_hangs_is_ended_and_those_who_wait_are_answered(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1, write=write_code_version)
        await until(lambda: served(quick) == "1")
        pid = await child_pid(client)
        hanging = asyncio.create_task(ask(client, "hang"))
        await until(lambda: quick.app._metrics.in_flight == 1)
        waiting = [asyncio.create_task(ask(client, amount=n)) for n in range(5)]
        assert (await hanging).status_code == 502
        answers = [await task for task in waiting]
        assert [a.json()["prediction"] for a in answers] == [[1000.0 + n] for n in range(5)]
        await until(lambda: not is_alive(pid))

    follow(quick, work)


def test_a_row_that_fails_does_not_cost_the_rows_it_was_batched_with(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1, write=write_code_version)
        await until(lambda: served(quick) == "1")
        first = asyncio.create_task(ask(client, "slow"))
        await until(lambda: quick.app._metrics.in_flight == 1)
        notes = ["hi", "raise", "hi", "nan", "hi"]
        tasks = [asyncio.create_task(ask(client, n, amount=i)) for i, n in enumerate(notes)]
        answers = [await task for task in tasks]
        assert [a.status_code for a in answers] == [200, 500, 200, 422, 200]
        assert answers[4].json()["prediction"] == [1004.0]
        assert (await first).status_code == 200

    follow(quick, work)


def test_what_comes_while_the_model_is_busy_is_one_batch(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1, write=write_code_version)
        await until(lambda: served(quick) == "1")
        first = asyncio.create_task(ask(client, "slow"))
        await until(lambda: quick.app._metrics.in_flight == 1)
        rest = [asyncio.create_task(ask(client, amount=n)) for n in range(20)]
        assert [(await task).json()["prediction"][0] for task in rest] == [
            1000.0 + n for n in range(20)
        ]
        await first
        metrics = (await client.get("/metrics")).text
        assert "modelyard_batch_rows_count 2.0" in metrics
        assert "modelyard_batch_rows_sum 21.0" in metrics

    follow(quick, work)


def test_a_version_whose_process_dies_again_and_again_gives_way_to_the_one_before(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1, write=write_code_version)
        await until(lambda: served(quick) == "1")
        first_pid = await child_pid(client)
        quick.registry.add(2, write=write_code_version)
        await until(lambda: served(quick) == "2")
        await until(lambda: not is_alive(first_pid))
        for _ in range(3):
            assert (await ask(client, "exit")).status_code == 502
        await until(lambda: served(quick) == "1")
        assert (await ask(client)).json()["prediction"] == [1012.5]
        await until(lambda: quick.follower.report.state is State.REFUSED)
        model = (await client.get("/model")).json()
        assert model["stale"] is True
        assert "Version 2: The model's process died 3 times" in model["last_error"]
        for _ in range(3):
            before = quick.follower.report.checked_at
            await until(lambda before=before: quick.follower.report.checked_at != before)
        assert served(quick) == "1"
        metrics = (await client.get("/metrics")).text
        assert 'modelyard_model_loads_total{result="fell back"} 1.0' in metrics
        await client.post("/admin/reload", headers=ADMIN)
        assert served(quick) == "2"

    follow(quick, work)


def test_a_dying_version_without_a_predecessor_is_said_to_be_one_and_comes_back(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1, write=write_code_version)
        await until(lambda: served(quick) == "1")
        for _ in range(3):
            assert (await ask(client, "exit")).status_code == 502
        answer = await ask(client)
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("model-restarting")
        assert answer.headers["retry-after"]
        await until(lambda: quick.follower.report.state is State.REFUSED)
        assert "died 3 times" in (await client.get("/model")).json()["last_error"]
        async with asyncio.timeout(PATIENCE_S):
            while (await ask(client)).status_code != 200:  # noqa: ASYNC110 - as a client does
                await asyncio.sleep(0.1)

    follow(quick, work)


def test_a_process_that_leaks_is_replaced_before_it_costs_a_request(make_server: MakeServer):
    server = make_server(poll_interval_s=0.05, child_memory_mb=900)

    async def work(client: httpx.AsyncClient) -> None:
        server.registry.add(1, write=write_code_version)
        await until(lambda: served(server) == "1")
        first = pid = await child_pid(client)
        async with asyncio.timeout(PATIENCE_S):
            while pid == first:
                worn = server.holder.snapshot.runner._pool._outgoing
                assert (await ask(client, "hi" if worn else "leak")).status_code == 200
                pid = await child_pid(client)
        await until(lambda: not is_alive(first))
        assert not server.holder.snapshot.queued.failure

    follow(server, work)


def test_an_allocation_beyond_the_limit_is_refused_to_the_model(make_server: MakeServer):
    server = make_server(poll_interval_s=0.05, child_memory_mb=700)

    async def work(client: httpx.AsyncClient) -> None:
        server.registry.add(1, write=write_code_version)
        await until(lambda: served(server) == "1")
        assert (await ask(client, "greedy")).status_code == 502
        assert (await ask(client)).json()["prediction"] == [1012.5]

    follow(server, work)


LOADS: dict[str, tuple[str, str]] = {
    "raises": ("raise OSError('no such weights')", "no such weights"),
    "lacks a package": ("import no_such_package", "No module named 'no_such_package'"),
    "exits": ("os._exit(7)", "exit code 7"),
    "crashes": ("ctypes.string_at(0)", "SIGSEGV"),
    "hangs": ("time.sleep(600)", "not loaded within 8 s"),
    "is too large": ("hoard.append(np.ones(2**28))", "SERVING_CHILD_MEMORY_MB"),
}


@pytest.mark.parametrize("what", LOADS)
def test_a_model_that_cannot_be_loaded_is_refused_with_the_reason(make_server: MakeServer, what):
    server = make_server(child_start_timeout_s=8.0 if what == "hangs" else 60.0)
    statement, words = LOADS[what]
    version = server.registry.add(1, write=write_code_version, load=f"{statement}\n{LOAD}")
    with pytest.raises(ModelRefusedError) as refusal:
        server.loader.load(version, None)
    assert words in refusal.value.sentence()


@pytest.mark.parametrize(
    ("note", "words"), [("raise", "failed on its own example"), ("exit", "exit code 3"),
                        ("hang", "did not answer its own example"), ("nan", "not a finite number")]
)  # fmt: skip
def test_a_model_that_fails_on_its_example_is_refused_and_its_process_ends(
    make_server: MakeServer, note: str, words: str
):
    server, before = make_server(), set(children_of(os.getpid()))
    contract = {**CODE_CONTRACT, "example": ROW | {"note": note}}
    version = server.registry.add(1, write=write_code_version, contract=contract)
    with pytest.raises(ModelRefusedError, match=words):
        server.loader.load(version, None)
    asyncio.run(until(lambda: not set(children_of(os.getpid())) - before))


def children_of(pid: int) -> list[int]:
    """Processes of ours that run and were started by `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            command = (stat.parent / "cmdline").read_bytes()
            if int(parent) == pid and state != "Z" and b"child.worker" in command:
                found.append(int(stat.parent.name))
    return found


def test_large_batches_go_in_parts_and_the_small_ones_between_them(quick: Server):
    async def work(client: httpx.AsyncClient) -> None:
        quick.registry.add(1, write=write_code_version)
        await until(lambda: served(quick) == "1")
        rows = [ROW | {"amount": n % 1000} for n in range(5000)]
        columns = {name: [row[name] for row in rows] for name in ROW}
        batch = asyncio.create_task(client.post("/predict", json={"columns": columns}))
        while not batch.done():
            assert (await ask(client)).status_code == 200
        assert batch.result().json()["prediction"] == [1000.0 + n % 1000 for n in range(5000)]

    follow(quick, work)


def test_two_children_share_the_work_and_cover_for_each_other(make_server: MakeServer):
    server = make_server(poll_interval_s=0.05, child_processes=2)

    async def work(client: httpx.AsyncClient) -> None:
        server.registry.add(1, write=write_code_version)
        await until(lambda: served(server) == "1")
        await until(lambda: len(server.holder.snapshot.runner._pool._children) == 2)
        slow = asyncio.create_task(ask(client, "slow"))
        await until(lambda: server.app._metrics.in_flight == 1)
        assert (await ask(client)).status_code == 200
        assert not slow.done()
        assert (await slow).status_code == 200
        assert (await ask(client, "exit")).status_code == 502
        assert (await ask(client)).status_code == 200

    follow(server, work)


LONG_NOTES = [*CONTRACT["features"][:-1], CONTRACT["features"][-1] | {"max_length": 40}]
PATIENT_CONTRACT = contract_with(inference_timeout_s=100.0, features=LONG_NOTES)
REFUSED, LOST, ANSWERED = 500, 502, 200
SURVIVED = {
    "print": ANSWERED,
    "print lines": ANSWERED,
    "open files": REFUSED,
    "large file": REFUSED,
    "change folder": ANSWERED,
    "kill parent": REFUSED,
    "stop parent": REFUSED,
}
FATAL = [  # a third death within a minute is too many
    ("bomb", "threads"),
    ("fill disk", "small files"),
    ("close files", "outlive"),
    ("outlive by a fork", "outlive in a session"),
]


def scratches() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("modelyard-child-*"))


async def commit(fault: str, server: Server, client: httpx.AsyncClient) -> int:
    """The status of a request that does it; those beside it and after it are answered."""
    fatal = asyncio.create_task(ask(client, fault))
    await until(lambda: server.app._metrics.in_flight == 1 or fatal.done())
    waiting = [asyncio.create_task(ask(client, amount=n)) for n in range(3)]
    assert (await client.get("/livez")).status_code == ANSWERED
    answer = await fatal
    async with asyncio.timeout(PATIENCE_S):
        answers = [await task for task in waiting]
    assert [a.json().get("prediction") for a in answers] == [[1000.0 + n] for n in range(3)], fault
    return answer.status_code


@pytest.mark.skipif(bool(gaps()), reason=f"this kernel lacks {' and '.join(gaps())}")
@pytest.mark.parametrize("faults", FATAL, ids=" and ".join)
def test_who_takes_too_much_of_the_machine_or_hides_is_ended_whole(
    make_server: MakeServer, faults: tuple[str, str]
):
    """No time limit ends any of these: who takes too much is noticed."""
    server = make_server(poll_interval_s=0.05, request_timeout_s=300.0)

    async def work(client: httpx.AsyncClient) -> None:
        server.registry.add(1, write=partial(write_code_version, contract=PATIENT_CONTRACT))
        await until(lambda: served(server) == "1")
        for fault in faults:
            group = await child_pid(client)
            assert await commit(fault, server, client) == LOST, fault
            await until(lambda group=group: not usage_of_groups({group}))

    before = scratches()
    follow(server, work)
    asyncio.run(until(lambda: not scratches() - before))


@pytest.mark.skipif(bool(gaps()), reason=f"this kernel lacks {' and '.join(gaps())}")
def test_what_does_no_harm_or_is_refused_to_a_model_costs_it_nothing(make_server: MakeServer):
    server = make_server(poll_interval_s=0.05, request_timeout_s=300.0)

    async def work(client: httpx.AsyncClient) -> None:
        server.registry.add(1, write=partial(write_code_version, contract=PATIENT_CONTRACT))
        await until(lambda: served(server) == "1")
        group = await child_pid(client)
        found = {fault: await commit(fault, server, client) for fault in SURVIVED}
        assert found == SURVIVED
        assert await child_pid(client) == group

    follow(server, work)


def test_what_a_model_holds_in_processes_of_its_own_counts(make_server: MakeServer, caplog):
    server = make_server(poll_interval_s=0.05, request_timeout_s=300.0, child_memory_mb=700)

    async def work(client: httpx.AsyncClient) -> None:
        server.registry.add(1, write=partial(write_code_version, contract=PATIENT_CONTRACT))
        await until(lambda: served(server) == "1")
        group = await child_pid(client)
        assert (await ask(client, "leak in forks")).status_code == LOST
        await until(lambda: not usage_of_groups({group}))
        assert (await ask(client)).json()["prediction"] == [1012.5]

    follow(server, work)
    assert "it and what it started held" in caplog.text
