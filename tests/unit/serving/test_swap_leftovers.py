"""After many swaps the process holds what it held after a few: one model, nothing of others."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import onnxruntime
import pytest

from modelyard.scoring.onnx.runner import OnnxModel, OnnxRunner
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.protocols.exchange import ModelSpec
from support.models.toy import ROW
from support.serving_app import MakeServer

FEW, MANY = 6, 30
COUNTED = (Snapshot, ModelSpec, OnnxRunner, OnnxModel, onnxruntime.InferenceSession)


def held() -> dict[str, int]:
    """What this process holds: our objects and onnxruntime's, files, threads."""
    gc.collect()
    types = Counter(type(thing) for thing in gc.get_objects())
    found = {kind.__name__: types[kind] for kind in COUNTED}
    found["files"] = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - one entry each, no objects
    # asyncio's own pool grows until it is full
    found["threads"] = sum(not t.name.startswith("asyncio_") for t in threading.enumerate())
    return found


def test_a_swap_leaves_nothing_behind(make_server: MakeServer):
    server = make_server()
    versions = [server.registry.add(number) for number in (1, 2)]

    async def main() -> list[dict[str, int]]:
        found = []
        async with server.client() as client:
            for number in range(MANY):
                version = versions[number % 2]
                served = server.holder.snapshot
                contract = served.contract if served is not None else None
                new = await asyncio.to_thread(server.loader.load, version, contract)
                server.holder.replace(new)
                del served, new
                answer = await client.post("/predict", json=ROW)
                assert answer.json()["prediction"] == [1000 * (number % 2 + 1) + 12.5]
                if number in (FEW - 1, MANY - 1):
                    await asyncio.to_thread(_end_of_closing)
                    found.append(held())
        return found

    gc.collect()
    gc.freeze()  # what other tests left: not to be looked through again
    before = held()
    few, many = asyncio.run(main())
    assert many.pop("files") <= few.pop("files")  # one of another test may close meanwhile
    assert many == few
    assert few["Snapshot"] - before["Snapshot"] == 1
    assert few["InferenceSession"] - before["InferenceSession"] == 1


def _end_of_closing() -> None:
    for thread in threading.enumerate():
        if thread.name == "close-model":
            thread.join(10)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this malloc is not glibc's")
def test_the_allocator_keeps_freed_memory_and_one_arena(tmp_path: Path):
    """What malloc says of itself after threads have allocated, and after a large array is freed."""
    script = tmp_path / "allocate.py"
    script.write_text(
        "import ctypes, sys, threading\n"
        "from modelyard.serving.allocator import configure_allocator\n"
        "assert sys.argv[1] == 'plain' or configure_allocator()\n"
        "threads = [threading.Thread(target=lambda: bytes(100_000)) for _ in range(4)]\n"
        "[t.start() for t in threads]\n"
        "[t.join() for t in threads]\n"
        "for _ in range(3):\n"
        "    data = bytearray(8_000_000); del data\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.fopen.restype = ctypes.c_void_p\n"
        "file = libc.fopen(sys.argv[2].encode(), b'w')\n"
        "libc.malloc_info(0, ctypes.c_void_p(file))\n"
        "libc.fclose(ctypes.c_void_p(file))\n"
    )
    heaps, free = {}, {}
    for how in ("plain", "configured"):
        told = tmp_path / f"{how}.xml"
        subprocess.run([sys.executable, script, how, told], check=True)
        text = told.read_text()
        heaps[how] = text.count("<heap nr=")
        free[how] = sum(
            int(line.split('size="')[1].split('"')[0])
            for line in text.splitlines()
            if line.startswith('<system type="current"')
        )
    assert heaps["configured"] == 1
    assert heaps["plain"] > 1
    assert free["configured"] > 8_000_000
