"""The environment of a process that runs a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_SOURCES = Path(__file__).parents[3]
_PASSED_ON = (
    *("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SSL_CERT_FILE"),
    *("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"),
)


def child_environment(scratch: str = "") -> Mapping[str, str]:
    """A child's environment: what a model needs, and none of the server's tokens and addresses.

    Args:
        scratch: the folder that it may write in, and takes for its home.
    """
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if scratch:
        passed |= {"HOME": scratch, "TMPDIR": scratch}
    return {
        **passed,
        "PYTHONPATH": os.pathsep.join(
            filter(None, (str(_SOURCES), os.environ.get("PYTHONPATH", "")))
        ),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        # one core a child, as for ONNX: more of them are more children
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or "1",
        "JOBLIB_MULTIPROCESSING": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }
