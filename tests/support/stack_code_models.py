"""Models that are Python code, registered as MLflow keeps such models."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.serving.registry import Registry

from modelyard.contract import Contract
from modelyard.registry import write_manifest

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
        write_manifest(folder)
        return Registry(url).publish(name, folder, promote=False)
