"""Models that are Python code, registered as MLflow keeps such models."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException

from modelyard.contract import Contract
from modelyard.registry import write_manifest
from modelyard.registry.manifest import DIGEST_TAG

_MODULE = "code_model"
_MLMODEL = f"""
flavors:
  python_function:
    loader_module: {_MODULE}
    code: code
    env: {{virtualenv: python_env.yaml}}
"""
_LOADER = """
def _load_pyfunc(path):
    return Model()
"""


def register_code(url: str, name: str, code: str, contract: Contract) -> str:
    """Register the next version of `name`, whose `code` has a class `Model`; returns its number."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        (folder / "code").mkdir()
        (folder / "code" / f"{_MODULE}.py").write_text(code + _LOADER)
        (folder / "MLmodel").write_text(_MLMODEL)
        (folder / "contract.yaml").write_text(contract.to_yaml())
        return _publish(url, name, folder, write_manifest(folder))


def _publish(url: str, name: str, folder: Path, digest: str) -> str:
    client = mlflow.MlflowClient(url)
    run_id = client.create_run("0").info.run_id
    model_id = client.create_logged_model("0", name=name, source_run_id=run_id).model_id
    client.log_model_artifacts(model_id, str(folder))
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    client.set_terminated(run_id)
    with suppress(MlflowException):  # not the first version
        client.create_registered_model(name)
    version = client.create_model_version(
        name, f"models:/{model_id}", run_id, {DIGEST_TAG: digest}, model_id=model_id
    )
    return str(version.version)
