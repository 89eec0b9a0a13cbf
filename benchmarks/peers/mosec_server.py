"""A mosec server with dynamic batching: `mosec_server.py --address 127.0.0.1 --port PORT`.

BENCH_MODEL and BENCH_KIND say which model.
"""

import os
from typing import Any

from models import open_model
from mosec import Server, Worker


class Bench(Worker):
    """One model."""

    def __init__(self) -> None:
        """Open the model in the worker."""
        super().__init__()
        self._model = open_model(os.environ["BENCH_KIND"], os.environ["BENCH_MODEL"])

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, list[float]]]:
        """One answer a request; a batch of up to 64 rows."""
        return [{"prediction": [value]} for value in self._model(data)]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Bench, num=1, max_batch_size=64, max_wait_time=10, route="/predict")
    server.run()
