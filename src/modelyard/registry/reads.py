"""What a prediction server asks of the registry: all of it reads, and nothing else passes its door.

In the stack serving reaches MLflow through `configs/registry-door/`, which lists the same.
"""

from __future__ import annotations

API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
"""Lists a folder's files; below it are the files themselves."""

READS = frozenset(
    {
        ("GET", f"{API}/registered-models/alias"),
        ("GET", f"{API}/model-versions/get"),
        ("GET", f"{API}/model-versions/search"),
        ("GET", f"{API}/model-versions/get-download-uri"),
        ("GET", f"{API}/runs/get"),
        ("GET", ARTIFACTS),
        # a question all the same: MLflow answers it to POST only
        ("POST", f"{API}/registered-models/get-latest-versions"),
    }
)


def is_read(method: str, path: str) -> bool:
    """Whether a server that follows a model may ask this."""
    return (method, path) in READS or (method == "GET" and path.startswith(f"{ARTIFACTS}/"))
