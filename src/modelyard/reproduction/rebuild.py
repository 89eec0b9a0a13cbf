"""Training again, exactly as the container does, against an MLflow that is thrown away.

The recorded code runs unchanged: it sees a registry, registers a version in it, and does not
know the real one. So no alias can move and no version can appear there.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from modelyard.embedded.mlflow_server import start_mlflow
from modelyard.embedded.processes import ChildProcesses, inherited, log_tail
from modelyard.errors import ExitCode, ReproductionError
from modelyard.registry import RegistryClient


def rebuild(
    code: Path,
    config: str,
    environment: Mapping[str, str],
    name: str,
    scratch: Path,
    processes: str = "1",
) -> Path:
    """Train from `code` and `config`; the folder with the version's files.

    Args:
        code: a folder as `lay_out` leaves it.
        config: text of the run's config.yaml.
        environment: on top of this process's own.
        name: registered model that the configuration names.
        scratch: an empty folder for everything that is made on the way.
        processes: how many fitted the model together, as it is on record.

    Raises:
        ReproductionError: the training failed; the end of what it printed is in the error.
    """
    (code / "reproduced.yaml").write_text(config, encoding="utf-8")
    ranks = [] if processes == "1" else ["--processes", processes]
    command = ["sh", str(code / "entrypoint.sh"), "--config", str(code / "reproduced.yaml")]
    with ChildProcesses(scratch / "logs") as servers:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        records = f"sqlite:///{scratch / 'mlflow.db'}"
        url = start_mlflow(servers, port, records, str(scratch / "artifacts"))
        isolated = {
            "ENTRYPOINT_JOB": "train",
            "MLFLOW_TRACKING_URI": url,
            "PYTHONPATH": str(code / "src"),
            "TRAINING_STATE_DIR": str(scratch / "state"),
            "WORKSPACE": str(scratch / "workspace"),
        }
        log = scratch / "logs/training.log"
        with log.open("wb") as output:
            done = subprocess.run(  # noqa: S603 - our own words, no shell
                [*command, "--set", "promote=never", *ranks],
                cwd=code,
                env=inherited({**environment, **isolated}),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        if done.returncode == ExitCode.DATA:
            raise ReproductionError(
                f"Its data could not be fetched (exit code {done.returncode}):\n{log_tail(log)}",
                fix="The stack's own store is reached from its containers only: make reproduce "
                "VERSION=…; any other: DVC_REMOTE_URL and its credentials, as for the training.",
            )
        if done.returncode != 0:
            raise ReproductionError(
                f"Training it failed (exit code {done.returncode}):\n{log_tail(log)}"
            )
        with RegistryClient(url) as registry:
            version = next(registry.versions(name))
            folder = scratch / "rebuilt"
            registry.download(version, folder)
    return folder
