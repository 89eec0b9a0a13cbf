"""The registry client against servers that are not what they should be.

What it asks of MLflow itself is tested in tests/integration.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modelyard.errors import (
    ModelRefusedError,
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
)
from modelyard.registry import ModelVersion, RegistryClient, parse_model_uri
from modelyard.registry.transfer import Transfer, TransferLimits

URI = parse_model_uri("models:/m@champion")
VERSION = ModelVersion("m", "1", "run", "", "READY", 0)
Answer = tuple[int, bytes]


@contextmanager
def serving(answer: Callable[[str], Answer]) -> Iterator[str]:
    """A server that gives `answer` for each path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """No line on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def error(status: int, code: str, message: str) -> Answer:
    return status, json.dumps({"error_code": code, "message": message}).encode()


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (error(404, "RESOURCE_DOES_NOT_EXIST", "no model"), RegistryNotFoundError, '"champion"'),
        (
            error(400, "INVALID_PARAMETER_VALUE", "Registered model alias champion not found."),
            RegistryNotFoundError,
            'no model "m" with the alias',
        ),
        (error(400, "INVALID_PARAMETER_VALUE", "bad name"), RegistryError, "400: bad name"),
        (error(403, "PERMISSION_DENIED", "no"), RegistryError, "403: no"),
        ((403, b"Invalid Host header"), RegistryError, "Invalid Host header"),
        (error(500, "INTERNAL_ERROR", "db gone"), RegistryUnavailableError, "500: db gone"),
        ((502, b"<html>bad gateway</html>"), RegistryUnavailableError, "502"),
        ((200, b"<html>hello</html>"), RegistryError, "is it MLflow?"),
        ((404, b"[]"), RegistryNotFoundError, "alias"),
    ],
)
def test_a_refusal_is_told_apart_from_an_absence_and_an_outage(answer, kind, words):
    with serving(lambda _: answer) as url, RegistryClient(url) as client:
        with pytest.raises(RegistryError) as raised:
            client.resolve(URI)
        assert type(raised.value) is kind
        assert words in raised.value.detail


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"model_version": {}}', b'{"model_version": 1}'])
def test_json_that_is_not_mlflows_is_a_refusal(body: bytes):
    with (
        serving(lambda _: (200, body)) as url,
        RegistryClient(url) as client,
        pytest.raises(RegistryError, match="is it MLflow"),
    ):
        client.resolve(URI)


def test_a_dead_and_a_silent_server_are_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with (
            RegistryClient(f"http://127.0.0.1:{port}", timeout_s=0.05) as client,
            pytest.raises(RegistryUnavailableError, match=r"does not answer \(timed out\)"),
        ):
            client.resolve(URI)
    with RegistryClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(RegistryUnavailableError) as raised:
            client.resolve(URI)
        assert "MLFLOW_TRACKING_URI" in raised.value.fix


def store(files: list[dict], source: str = "mlflow-artifacts:/1/m-1/artifacts"):
    """A server whose version lists `files`."""

    def answer(path: str) -> Answer:
        if "get-download-uri" in path:
            return 200, json.dumps({"artifact_uri": source}).encode()
        if "?path=" in path:
            return 200, json.dumps({"files": files}).encode()
        return 200, b"content"

    return answer


def test_a_version_is_downloaded_file_by_file(tmp_path: Path):
    files = [{"path": "model.onnx", "is_dir": False, "file_size": 7}]
    with serving(store(files)) as url, RegistryClient(url) as client:
        client.download(VERSION, tmp_path / "new")
    assert (tmp_path / "new" / "model.onnx").read_bytes() == b"content"


@pytest.mark.parametrize("name", ["..", ".", "", "../evil", "/etc/passwd", "a\\b", "a/b", "a\x00b"])
def test_a_file_name_that_leads_away_is_refused(tmp_path: Path, name: str):
    files = [{"path": name, "is_dir": False, "file_size": 7}]
    with (
        serving(store(files)) as url,
        RegistryClient(url) as client,
        pytest.raises(ModelRefusedError, match="not plain"),
    ):
        client.download(VERSION, tmp_path / "new")
    assert not list(tmp_path.rglob("evil"))


def test_folders_within_folders_without_end_are_refused(tmp_path: Path):
    files = [{"path": "again", "is_dir": True}]
    with (
        serving(store(files)) as url,
        RegistryClient(url) as client,
        pytest.raises(ModelRefusedError, match="nested"),
    ):
        client.download(VERSION, tmp_path / "new")


def test_a_version_without_files_is_not_found(tmp_path: Path):
    with (
        serving(store([])) as url,
        RegistryClient(url) as client,
        pytest.raises(RegistryNotFoundError, match="not in the artifact store"),
    ):
        client.download(VERSION, tmp_path / "new")


def test_a_store_that_is_not_proxied_is_refused(tmp_path: Path):
    with serving(store([], "s3://bucket/1")) as url, RegistryClient(url) as client:
        with pytest.raises(RegistryError) as raised:
            client.download(VERSION, tmp_path / "new")
        assert "s3://bucket/1" in raised.value.detail
        assert "--serve-artifacts" in raised.value.fix


@pytest.mark.parametrize(
    ("files", "limits", "said"),
    [
        ([f"{n}.bin" for n in range(4)], TransferLimits(files=3), "more than 3 files"),
        (["big.bin"], TransferLimits(bytes=6), "larger than 0 MiB"),
    ],
)
def test_a_version_that_is_too_much_is_refused(
    tmp_path: Path, files: list[str], limits: TransferLimits, said: str
):
    listed = [{"path": name, "is_dir": False, "file_size": 7} for name in files]
    with serving(store(listed)) as url, RegistryClient(url) as client:
        with pytest.raises(ModelRefusedError, match=said):
            client.download(VERSION, tmp_path / "new", Transfer(limits))
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_that_is_larger_than_it_was_listed_is_refused(tmp_path: Path):
    listed = [{"path": "model.onnx", "is_dir": False, "file_size": 1}]
    with (
        serving(store(listed)) as url,
        RegistryClient(url) as client,
        pytest.raises(ModelRefusedError, match="larger"),
    ):
        client.download(VERSION, tmp_path / "new", Transfer(TransferLimits(bytes=6)))


@contextmanager
def dripping(body: bytes) -> Iterator[str]:
    """A server that gives the bytes of its answer one by one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                for number in range(len(body)):
                    self.wfile.write(body[number : number + 1])
                    time.sleep(0.02)

        def log_message(self, *_: object) -> None:
            """No line on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def test_an_answer_that_drips_ends_in_time():
    with (
        dripping(b" " * 10_000) as url,
        RegistryClient(url, timeout_s=0.5) as client,
        pytest.raises(RegistryUnavailableError, match="too slowly"),
    ):
        client.resolve(URI)


@pytest.mark.parametrize("ends", ["its time is up", "nobody wants it"])
def test_a_file_that_drips_ends_when(tmp_path: Path, ends: str):
    abandoned = threading.Event()
    limits = TransferLimits(seconds=0.5 if ends == "its time is up" else 600)
    if ends == "nobody wants it":
        threading.Timer(0.3, abandoned.set).start()
    with dripping(b" " * 10_000) as url, RegistryClient(url) as client:
        with pytest.raises(RegistryUnavailableError, match=r"did not arrive within|abandoned"):
            client._fetch("file", tmp_path / "file", Transfer(limits, abandoned))
        assert (tmp_path / "file").stat().st_size < 10_000
