"""A BentoML service with its adaptive batching; BENCH_MODEL and BENCH_KIND say which model.

`max_latency_ms` is BentoML's own: with less it refuses requests at 64 connections.
"""

import os
from typing import Any

import bentoml
from models import open_model


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 512})
class Bench:
    """One model."""

    def __init__(self) -> None:
        self._model = open_model(os.environ["BENCH_KIND"], os.environ["BENCH_MODEL"])

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=64)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """One probability a row."""
        return self._model(rows)
