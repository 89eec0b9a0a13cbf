"""Training again, exactly as the container does, against an MLflow that is thrown away afterwards.

The recorded code runs unchanged: it sees a registry, registers a version in it, and never hears of
the real one. So no alias can move and no version can appear there.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from modelyard.embedded.mlflow_server import start_mlflow
from modelyard.embedded.processes import Processes, inherited
from modelyard.errors import ReproductionError
from modelyard.registry import RegistryClient

_LOG_LINES = 15
_DATA_EXIT_CODE = 4


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
    with Processes(scratch / "logs") as servers:
        url = _start_mlflow(servers, scratch)
        log = scratch / "logs/training.log"
        command = ["sh", str(code / "entrypoint.sh"), "--config", str(code / "reproduced.yaml")]
        with log.open("wb") as output:
            done = subprocess.run(  # noqa: S603 - our own words, no shell
                [*command, "--set", "promote=never", *ranks],
                cwd=code,
                env=inherited({**environment, **_isolated(code, scratch, url)}),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        if done.returncode != 0:
            raise _failed(done.returncode, log)
        with RegistryClient(url) as registry:
            version = next(registry.versions(name))
            folder = scratch / "rebuilt"
            registry.download(version, folder)
    return folder


def _isolated(code: Path, scratch: Path, mlflow_url: str) -> dict[str, str]:
    return {
        "ENTRYPOINT_JOB": "train",
        "MLFLOW_TRACKING_URI": mlflow_url,
        "PYTHONPATH": str(code / "src"),
        "TRAINING_STATE_DIR": str(scratch / "state"),
        "WORKSPACE": str(scratch / "workspace"),
    }


def _start_mlflow(processes: Processes, scratch: Path) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    records = f"sqlite:///{scratch / 'mlflow.db'}"
    return start_mlflow(processes, port, records, str(scratch / "artifacts"))


def _failed(code: int, log: Path) -> ReproductionError:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    said = "\n".join(f"  {line}" for line in lines)
    if code != _DATA_EXIT_CODE:
        return ReproductionError(f"Training it failed (exit code {code}):\n{said}")
    return ReproductionError(
        f"Its data could not be fetched (exit code {code}):\n{said}",
        fix="The stack's own store is reached from its containers only: make reproduce VERSION=…; "
        "any other: DVC_REMOTE_URL and its credentials, as for the training.",
    )
