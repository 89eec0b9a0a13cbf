"""Graphs that take all memory, or never end, are tried where that costs the server nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from modelyard.contract import Contract
from modelyard.errors import ModelRefusedError
from modelyard.scoring.onnx.runner import OnnxModel
from modelyard.scoring.proof import ProofLimits, prove
from modelyard.scoring.runner import RunnerError
from modelyard.serving.following.loader import Loader
from modelyard.serving.following.proof_record import ProofRecord
from modelyard.serving.model.snapshot import Origin
from support.models.folders import write_version
from support.models.toy import CONTRACT, ROW, URI, save_graph
from support.serving_app import MakeServer, Server

ONE_INPUT = CONTRACT | {
    "features": [CONTRACT["features"][0]],
    "example": {"amount": 12.5},
    "inference_timeout_s": 300,
}
INPUTS = {"amount": (TensorProto.DOUBLE, ["n"])}
OUTPUTS = {"answer": (TensorProto.DOUBLE, ["n"])}


def memory_bomb(path: Path, held_bytes: int = 6 * 2**30) -> None:
    """A few hundred bytes that fill six GiB with zeros, and add the largest one to the amount."""
    save_graph(
        path,
        [
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
            helper.make_node("Cast", ["zero"], ["wide"], to=TensorProto.DOUBLE),
            helper.make_node("Add", ["amount", "wide"], ["answer"]),
        ],
        INPUTS,
        OUTPUTS,
        {"shape": (TensorProto.INT64, [1], [held_bytes // 4])},
    )


def endless_loop(path: Path) -> None:
    """A loop of 2⁶³ - 1 turns."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n"]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["n"]),
        ],
    )
    save_graph(
        path,
        [helper.make_node("Loop", ["turns", "", "amount"], ["answer"], body=body)],
        INPUTS,
        OUTPUTS,
        {"turns": (TensorProto.INT64, [], [2**63 - 1])},
    )


def version_of(folder: Path, graph) -> Path:
    write_version(folder, contract=ONE_INPUT, graph=graph)
    return folder


def held_at_most_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def children() -> set[int]:
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def limited(server: Server, limits: ProofLimits) -> Loader:
    return Loader(
        URI,
        server.registry,
        server.cache,
        require_manifest=False,
        allow_schema_change=True,
        proof=limits,
    )


def test_a_good_graph_passes(tmp_path: Path):
    write_version(tmp_path)
    prove(tmp_path, ProofLimits())


def test_a_memory_bomb_is_refused_and_this_process_holds_none_of_it(tmp_path: Path):
    before = held_at_most_bytes()
    with pytest.raises(ModelRefusedError, match=r"memory|alloc") as refused:
        prove(version_of(tmp_path, memory_bomb), ProofLimits(512 * 2**20))
    assert "SERVING_CHILD_MEMORY_MB" in refused.value.fix
    assert held_at_most_bytes() - before < 2**28


def test_a_graph_that_holds_more_than_it_may_is_refused(tmp_path: Path):
    """It stays below the limit of the kernel, which is two GiB higher."""
    with pytest.raises(ModelRefusedError, match=r"hold \d+ MiB; 128 MiB"):
        prove(version_of(tmp_path, partial(memory_bomb, held_bytes=2**29)), ProofLimits(2**27))


def test_an_endless_graph_is_ended_with_its_process(tmp_path: Path):
    before = children()
    with pytest.raises(ModelRefusedError, match=r"not opened and asked within 1 s"):
        prove(version_of(tmp_path, endless_loop), ProofLimits(seconds=1))
    assert children() == before


def test_a_run_that_is_interrupted_fails_and_the_next_one_is_answered(tmp_path: Path):
    endless = version_of(tmp_path / "endless", endless_loop)
    sound = version_of(tmp_path / "sound", partial(memory_bomb, held_bytes=4))
    contract = Contract.model_validate(ONE_INPUT)
    row = {"amount": np.array([12.5])}
    failures: list[str] = []

    def run() -> None:
        with pytest.raises(RunnerError) as caught:
            runner.predict(row)
        failures.append(str(caught.value))

    runner = OnnxModel(endless / "model.onnx").bind(contract)
    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        runner.interrupt()  # what it finds under way: the run may not have begun before
        thread.join(0.1)
    assert "terminate" in failures[0].lower()

    runner = OnnxModel(sound / "model.onnx").bind(contract)
    runner.interrupt()
    assert runner.predict(row) == [12.5]


def test_a_process_that_is_killed_says_how_it_ended(tmp_path: Path):
    before = children()

    def shoot() -> None:
        """The first try and the second."""
        shot: set[int] = set()
        for _ in range(3000):
            for pid in children() - before - shot:
                time.sleep(0.5)  # until it is at work
                os.kill(pid, signal.SIGSEGV)
                shot.add(pid)
            if len(shot) > 1:
                return
            time.sleep(0.01)

    hunter = threading.Thread(target=shoot)
    hunter.start()
    with pytest.raises(ModelRefusedError, match="was ended by SIGSEGV"):
        prove(version_of(tmp_path, endless_loop), ProofLimits(seconds=60))
    hunter.join()


@pytest.mark.parametrize("graph", [memory_bomb, endless_loop])
def test_while_one_is_refused_the_old_version_answers(make_server: MakeServer, graph):
    server = make_server()
    loader = limited(server, ProofLimits(512 * 2**20, seconds=1.5))
    old = loader.load(server.registry.add(1), None)
    server.holder.replace(old)
    bad = server.registry.add(2, contract=ONE_INPUT, graph=graph)

    async def main() -> list[int]:
        loading = asyncio.create_task(asyncio.to_thread(loader.load, bad, old.contract))
        found = []
        async with server.client() as client:
            while not loading.done():
                found.append((await client.post("/predict", json=ROW)).json()["prediction"])
                await asyncio.sleep(0.005)  # the graph gets what this process leaves of the cores
        with pytest.raises(ModelRefusedError):
            await loading
        return found

    answers = asyncio.run(main())
    assert answers
    assert all(answer == [1012.5] for answer in answers)


def test_a_version_is_proved_once(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch):
    server = make_server()
    loader = limited(server, ProofLimits())
    served = Contract.model_validate(CONTRACT)
    version = server.registry.add(1)
    loader.load(version, served).runner.close()

    def must_not_run(*_: object, **__: object) -> None:
        raise AssertionError("proved twice")

    monkeypatch.setattr("modelyard.serving.following.loader.prove", must_not_run)
    loader.load(version, served).runner.close()
    remembered = loader.load_remembered()
    assert remembered is not None
    with pytest.raises(AssertionError, match="proved twice"):
        loader.load(server.registry.add(2), served)


def test_a_start_with_nothing_to_lose_does_not_wait_for_a_proof(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
):
    def must_not_run(*_: object, **__: object) -> None:
        raise AssertionError("proved")

    monkeypatch.setattr("modelyard.serving.following.loader.prove", must_not_run)
    server = make_server()
    server.loader.load(server.registry.add(1), None).runner.close()
    (record,) = server.folder.glob("cache/versions/*/proof.json")
    assert '"proved"' in record.read_text()


def test_what_may_have_ended_the_last_start_is_proved(make_server: MakeServer):
    """A server that died over a version left `begun` behind."""
    server = make_server()
    loader = limited(server, ProofLimits(512 * 2**20))
    bad = server.registry.add(1, contract=ONE_INPUT, graph=memory_bomb)
    entry = server.cache.add(bad, Origin(), partial(server.registry.download, bad))
    ProofRecord(entry.folder, entry.sha256).begin()
    before = held_at_most_bytes()
    with pytest.raises(ModelRefusedError, match=r"memory|alloc"):
        loader.load(bad, None)
    assert held_at_most_bytes() - before < 2**28


def test_a_graph_that_is_refused_in_good_order_is_no_suspect(make_server: MakeServer):
    server = make_server()
    bad = server.registry.add(1, graph=lambda path: path.write_bytes(b"no graph"))
    with pytest.raises(ModelRefusedError, match="cannot load"):
        server.loader.load(bad, None)
    assert not list(server.folder.glob("cache/versions/*/proof.json"))


def test_a_record_holds_for_the_same_files_only(tmp_path: Path):
    record = ProofRecord(tmp_path, {"model.onnx": "1"})
    record.succeed()
    assert ProofRecord(tmp_path, {"model.onnx": "1"}).is_proved
    assert not ProofRecord(tmp_path, {"model.onnx": "2"}).is_proved
    (tmp_path / "proof.json").write_text("[")
    assert not record.is_proved
    assert not record.is_suspect
