"""A store that is slow, that breaks off, or that flips a bit, behind a real MLflow server.

Whatever comes through it, the old version answers, nothing is taken up in part, and the new one is
served when the store is well again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest

from modelyard.embedded.mlflow_server import start_mlflow
from modelyard.embedded.processes import ChildProcesses
from support.faulty_store import FaultyStore, Harm
from support.models.model import register_toy
from support.models.toy import ROW
from support.network import free_port
from support.servers import Store
from support.serving_support import ServingProcess, until
from support.soak import FaultRow, size

SAID = {
    "slow": r"did not arrive within 2 s|timed out",  # MLflow answers when it has a file whole
    "cut": r"MLflow",
    "flip": r"was changed after registration|is not the registered one",
}


@pytest.fixture(scope="module")
def faulty(store: Store) -> Iterator[FaultyStore]:
    made = FaultyStore(store.url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def behind(
    mlflow_url: str, postgres: str, store: Store, faulty: FaultyStore, tmp_path_factory
) -> Iterator[str]:
    """Another MLflow server on the same database, whose store is the faulty one."""
    environment = {**store.environment, "AWS_ENDPOINT_URL_S3": faulty.url, "AWS_MAX_ATTEMPTS": "1"}
    with ChildProcesses(tmp_path_factory.mktemp("mlflow-behind")) as processes:
        yield start_mlflow(processes, free_port(), postgres, "s3://mlflow", environment)


@pytest.mark.parametrize("how", ["slow", "cut", "flip"])
def test_a_store_that_does_harm_changes_nothing_that_is_served(
    mlflow_url: str,
    behind: str,
    faulty: FaultyStore,
    tmp_path: Path,
    how: str,
    tell: Callable[[FaultRow], None],
) -> None:
    name = f"through-a-{how}-store"
    client = mlflow.MlflowClient(mlflow_url)
    register_toy(mlflow_url, name, 1, alias="champion")
    settings = {"SERVING_DOWNLOAD_TIMEOUT_S": "2", "REGISTRY_TIMEOUT_S": "4"}
    uri = f"models:/{name}@champion"
    recoveries, asked, wrong = [], 0, []
    with ServingProcess(tmp_path / "server", behind, uri, **settings) as server:
        server.wait_for_version("1")
        for turn in range(size(1, 10)):
            number = turn + 2
            served = str(number - 1)
            register_toy(mlflow_url, name, number)
            harm = Harm(
                how, ("model.onnx", "contract.yaml", "manifest.json")[turn % 3], 40 * turn + 7
            )
            before = faulty.done
            with faulty.harming(harm):
                client.set_registered_model_alias(name, "champion", str(number))
                until(lambda b=before: faulty.done > b, "harm to be done")
                model = until(lambda: _failed(server, SAID[how]), f"the reason: {SAID[how]}")
                assert (model["version"], model["stale"]) == (served, True)
                for _ in range(50):
                    answer = server.http.post("/predict", json=ROW)
                    asked += 1
                    if answer.json().get("prediction") != [1000.0 * (number - 1) + 12.5]:
                        wrong.append(answer.text)
            begin = time.monotonic()
            server.wait_for_version(str(number))
            recoveries.append(time.monotonic() - begin)
            answer = server.http.post("/predict", json=ROW).json()
            assert answer["prediction"] == [1000.0 * number + 12.5]
    tell(
        FaultRow(
            f"store: {how}", len(recoveries), len(wrong), f"{asked} predictions", recoveries,
            "the old version answers, the new one is never taken up in part",
        )
    )  # fmt: skip
    assert not wrong


def _failed(server: ServingProcess, reason: str) -> dict | None:
    model = server.model()
    return model if re.search(reason, str(model["last_error"])) else None
