"""A LitServe server with batching: `litserve_server.py PORT`.

BENCH_MODEL and BENCH_KIND say which model.

A `batch_timeout` of 10 ms did best among 1, 10 and 50.
"""

import os
import sys
from typing import Any

import litserve
from models import open_model


class Bench(litserve.LitAPI):
    """One model."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Open the model in the worker."""
        self._model = open_model(os.environ["BENCH_KIND"], os.environ["BENCH_MODEL"])

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """The row as it is."""
        return request

    def batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of one batch."""
        return inputs

    def predict(self, x: list[dict[str, Any]]) -> list[float]:
        """One probability a row."""
        return self._model(x)

    def unbatch(self, output: list[float]) -> list[float]:
        """One answer a request."""
        return output

    def encode_response(self, output: float) -> dict[str, list[float]]:
        """The answer's body."""
        return {"prediction": [output]}


if __name__ == "__main__":
    api = Bench(max_batch_size=64, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
