"""Commands as processes that begin with the libraries imported, which takes longer than most work.

A small training imports four thousand modules for eight seconds and works for four. This process
imports them once, and each command is a fork of it. It is a process of its own all the same: it has
the arguments, environment, folder, files and signals of its client, and imports modelyard and the
project from the client's path, as `python -m modelyard.cli.main` does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from typing import Any

LIBRARIES = [
    *("torch", "torch.onnx", "torch._dynamo", "torch.onnx._internal.exporter._core"),
    *("mlflow", "mlflow.onnx", "mlflow.sklearn", "mlflow.artifacts", "mlflow.genai"),
    *("onnx", "onnxruntime", "onnxscript", "skops.io", "sklearn.linear_model", "scipy.stats"),
    *("pandas", "polars", "pyarrow.parquet", "matplotlib.figure", "optuna", "boto3", "httpx"),
    *("pydantic_settings", "yaml", "typer", "rich.console", "msgspec"),
    *("dvc.cli", "dvc.repo", "dvc.commands.data_sync", "dvc_s3", "s3fs"),
]


def serve(address: str) -> None:
    """Run what clients ask for, until this process is ended."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that forks share it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for here
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(64)
        os.rename(f"{address}.new", address)  # noqa: PTH104 - now it answers
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run_for(client)
            client.close()


def _run_for(client: socket.socket) -> None:
    """Run one command: tell the client its process id, then how it ended; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(client, 1, 3)
    request = json.loads(client.makefile().readline())
    command = os.fork()
    if command == 0:
        client.close()
        _become(request, files)
    client.sendall(f"{command}\n".encode())
    ended = os.pidfd_open(command)
    if ended not in select.select([client, ended], [], [])[0]:
        os.kill(command, signal.SIGKILL)  # so was the client
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with contextlib.suppress(OSError):
        client.sendall(f"{code}\n".encode())
    os._exit(0)


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Be the command; never returns."""
    for stream, file in enumerate(files):
        os.dup2(file, stream)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    for name, stream in (("stdout", 1), ("stderr", 2)):
        text = open(stream, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        text.reconfigure(line_buffering=is_unbuffered or stream == 2 or os.isatty(stream))
        setattr(sys, name, text)
    path = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [request["folder"], *path]
    sys.argv = [request["module"], *request["arguments"]]
    code: object = 0
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)  # noqa: T201
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve(sys.argv[1])
