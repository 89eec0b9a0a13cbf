"""What the serving tests stand on: a server process, real versions, a cable to cut."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from support.network import free_port

PATIENCE_S = 60.0


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`; a test that waits in vain fails saying for `what`."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


class Relay:
    """A TCP cable between a client and a server that can be cut and mended."""

    def __init__(self, target_url: str) -> None:
        target = urlsplit(target_url)
        self._target = (target.hostname, target.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self._is_cut = True
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            self._open |= {client, server}
            with selectors.DefaultSelector() as ready:
                ready.register(client, selectors.EVENT_READ, server)
                ready.register(server, selectors.EVENT_READ, client)
                try:
                    while not self._is_cut:
                        for key, _ in ready.select(timeout=0.5):
                            data = key.fileobj.recv(65536)
                            if not data:
                                return
                            key.data.sendall(data)
                except OSError:
                    return
                finally:
                    self._open -= {client, server}


class ServingProcess:
    """`python -m modelyard.serving` on a free port."""

    def __init__(self, folder: Path, tracking_uri: str, model_uri: str, **settings: str) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        token = folder / "token"
        token.write_text("sesame")
        self.log_path = folder / f"serving-{self.port}.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "MLFLOW_TRACKING_URI": tracking_uri,
            "MODEL_URI": model_uri,
            "SERVING_HOST": "127.0.0.1",
            "SERVING_PORT": str(self.port),
            "SERVING_CACHE_DIR": str(folder / "cache"),
            "SERVING_PREDICTION_LOG_DIR": str(folder / "predictions"),
            "SERVING_POLL_INTERVAL_S": "0.2",
            "SERVING_ADMIN_TOKEN_FILE": str(token),
            "REGISTRY_TIMEOUT_S": "20",
            "SERVING_DRAIN_S": "0",
            **settings,
        }
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.serving"], env=self.environment, stderr=log
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        until(self._lives, "the server to answer")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _lives(self) -> bool:
        assert self.process.poll() is None, self.log_path.read_text()
        try:
            return self.http.get("/livez").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """Ask it to stop; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_S)

    def log(self) -> list[dict[str, Any]]:
        """Every line that it logged."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def model(self) -> dict[str, Any]:
        return self.http.get("/model").json()

    def reload(self) -> httpx.Response:
        return self.http.post("/admin/reload", headers={"Authorization": "Bearer sesame"})

    def wait_for_version(self, version: str) -> dict[str, Any]:
        """`/model`, once it says that this version is served and confirmed."""

        def served() -> dict[str, Any] | None:
            model = self.model()
            right = model.get("version") == version and not model["stale"]
            return model if right else None

        return until(served, f"version {version} to be served")
