"""`modelyard batch` as people run it: a real registry, a process, its exit code, its memory."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.models.flavors import logistic_regression
from support.models.model import register_toy
from support.models.toy import ROW

NAME = "scored-offline"
BIG = 2_000_000
SMALL = 100_000


@pytest.fixture(scope="module")
def environment(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    register_toy(mlflow_url, NAME, 1, alias="champion")
    return {**os.environ, "MLFLOW_TRACKING_URI": mlflow_url, "MODEL_NAME": NAME}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("rows") / "small.parquet", SMALL)


def write(path: Path, rows: int, bad_row: int | None = None) -> Path:
    """Good rows whose amounts are their numbers; those of `bad_row` are out of range."""
    amounts = np.arange(rows) % 999.0
    if bad_row is not None:
        amounts[bad_row] = 1e6
    columns = {name: pa.array([value]).take(pa.array([0] * rows)) for name, value in ROW.items()}
    pq.write_table(pa.table(columns | {"amount": amounts}), path, row_group_size=50_000)
    return path


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "modelyard.cli.main", "batch", *map(str, words)]


def run(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_champion_scores_a_file(environment: dict[str, str], small: Path, tmp_path: Path):
    target = tmp_path / "out.parquet"
    done = run(environment, small, target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{target}: {SMALL} rows, scored by {NAME} version 1\n"
    scored = pq.read_table(target)
    expected = 1000.0 + np.arange(SMALL) % 999.0
    assert np.array_equal(scored["answer"].to_numpy(), expected.astype(np.float32))
    assert scored.schema.metadata[b"modelyard.model"] == NAME.encode()


def test_json_for_scripts(environment: dict[str, str], small: Path, tmp_path: Path):
    target = tmp_path / "out.parquet"
    done = run(environment, small, target, "--model-uri", f"models:/{NAME}/1", "--json")
    found = json.loads(done.stdout)
    assert found.pop("run_id")
    assert found == {"file": str(target), "rows": SMALL, "model": NAME, "version": "1"}


def test_a_model_of_any_flavor_scores_a_file(mlflow_url: str, tmp_path: Path):
    """What serving runs in a child, batch runs in a child: the same numbers, no other advice."""
    case = logistic_regression()
    version = case.register(mlflow_url, "scored-by-sklearn")
    rows = case.asked.assign(id=range(len(case.asked)))
    rows.to_parquet(tmp_path / "in.parquet")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_url}
    uri = f"models:/scored-by-sklearn/{version}"
    done = run(environment, tmp_path / "in.parquet", tmp_path / "out.parquet", "--model-uri", uri)
    assert (done.returncode, done.stderr) == (0, "")
    scored = pq.read_table(tmp_path / "out.parquet")
    assert scored["probability"].to_numpy() == pytest.approx(case.expected)
    assert scored["id"].to_pylist() == list(range(len(case.asked)))


def test_memory_does_not_grow_with_the_file(
    environment: dict[str, str], small: Path, tmp_path: Path
):
    big = write(tmp_path / "big.parquet", BIG)
    peaks = []
    for source in (small, big):
        words = command(source, tmp_path / f"{source.stem}.scored", "--batch-rows", 20_000)
        with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as process:
            peaks.append(max(peak_bytes(process)))
        assert process.returncode == 0
    table_bytes = pq.read_table(big).nbytes
    assert pq.read_metadata(tmp_path / "big.scored").num_rows == BIG
    assert peaks[1] - peaks[0] < table_bytes / 2


def peak_bytes(process: subprocess.Popen[bytes]) -> Iterator[int]:
    """The most that it has held so far, again and again until it ends."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with suppress(OSError, StopIteration):
            lines = status.read_text().splitlines()
            yield next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
        time.sleep(0.01)


def test_a_terminal_sees_a_bar(environment: dict[str, str], small: Path, tmp_path: Path):
    ours, theirs = pty.openpty()
    words = command(small, tmp_path / "out.parquet", "--batch-rows", 1000)
    with subprocess.Popen(
        words, env={**environment, "TERM": "xterm"}, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # how a terminal says that nobody is at the other end
            while data := os.read(ours, 4096):
                seen += data
        os.close(ours)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0
    assert f"{NAME} 1".encode() in seen
    assert f"{SMALL}/{SMALL}".encode() in seen
    assert said.count(b"\n") == 1


def test_a_bad_row_is_named_and_nothing_is_written(environment: dict[str, str], tmp_path: Path):
    source = write(tmp_path / "in.parquet", SMALL, bad_row=87_654)
    done = run(environment, source, tmp_path / "out.parquet", "--batch-rows", 10_000)
    assert done.returncode == 4
    assert "amount (row 87654) must be at most 999" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_mistakes_have_exit_codes_and_fixes(
    environment: dict[str, str], small: Path, tmp_path: Path
):
    taken = tmp_path / "taken.parquet"
    taken.write_bytes(b"mine")
    done = run(environment, small, taken)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    assert taken.read_bytes() == b"mine"
    done = run(environment, taken, tmp_path / "out.parquet")
    assert done.returncode == 4
    assert "is not a Parquet file" in done.stderr
    done = run(
        environment, small, tmp_path / "out.parquet", "--model-uri", f"models:/{NAME}@nobody"
    )
    assert done.returncode == 6
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr
