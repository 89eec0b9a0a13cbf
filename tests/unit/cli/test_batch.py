"""`modelyard batch`: right predictions, the contract's faults by row, nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelyard.errors import DataError
from modelyard.scoring.bundle import Bundle, open_bundle
from modelyard.scoring.parquet import open_source, score
from modelyard.scoring.runner import RunnerError
from support.models.folders import write_version
from support.models.toy import ROW

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    write_version(tmp_path / "version", 1)
    return open_bundle(tmp_path / "version", None)


def table(rows: int = 100, **columns: Any) -> pa.Table:
    """Good rows with their numbers as amounts, and a column that is no feature."""
    given = {name: pa.array([value] * rows) for name, value in ROW.items()}
    given["amount"] = pa.array(np.arange(rows) % 999, pa.float32())
    given["id"] = pa.array([f"t{number}" for number in range(rows)])
    return pa.table(given | columns)


def run(bundle: Bundle, folder: Path, rows: pa.Table, batch_rows: int = 7) -> pa.Table:
    """`rows` as they come out."""
    pq.write_table(rows, folder / "in.parquet", row_group_size=30)
    told: list[int] = []
    target = folder / "out.parquet"
    facts = {"modelyard.version": "1"}
    done = score(open_source(folder / "in.parquet"), target, bundle, facts, batch_rows, told.append)
    assert done == told[-1] == rows.num_rows
    assert told == sorted(told)
    return pq.read_table(target)


def test_rows_come_out_in_their_order_with_a_prediction(bundle: Bundle, tmp_path: Path):
    scored = run(bundle, tmp_path, table())
    assert scored.column_names == [*ROW, "id", "answer"]
    assert scored["answer"].to_pylist() == [1000.0 + number for number in range(100)]
    assert scored["id"].to_pylist() == [f"t{number}" for number in range(100)]
    assert scored.schema.metadata[b"modelyard.version"] == b"1"


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["grocery", "electronics"] * 50).dictionary_encode(),
        pa.array(["grocery"] * 100, pa.large_string()),
    ],
    ids=["dictionary", "large string"],
)
def test_texts_may_come_in_several_types(bundle: Bundle, tmp_path: Path, column: pa.Array):
    assert run(bundle, tmp_path, table(merchant_category=column)).num_rows == 100


def replaced(column: str, row: int, value: Any) -> pa.Table:
    values = table()[column].to_pylist()
    values[row] = value
    return table(**{column: pa.array(values)})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (replaced("amount", 61, -1.0), "amount (row 61) must be at least 0"),
        (replaced("amount", 61, float("nan")), "amount (row 61) must be finite"),
        (replaced("amount", 61, None), "amount must not have nulls: row 61 has one"),
        (replaced("merchant_category", 61, "x"), "merchant_category (row 61) must be one of"),
        (table(hour=pa.array([1.5] * 100)), "hour must be a column of whole numbers"),
        (table(hour=pa.array([[1]] * 100)), "hour must be a column of whole numbers"),
        (table().drop(["hour"]), "lacks columns of the model's contract: hour."),
        (table(answer=pa.array([1] * 100)), "names of predictions already: answer"),
        (table(0), "no rows"),
    ],
    ids=str,
)
def test_a_fault_is_named_and_leaves_what_was_there(
    bundle: Bundle, tmp_path: Path, rows: pa.Table, message: str
):
    target = tmp_path / "out.parquet"
    target.write_bytes(b"before")
    with pytest.raises(DataError) as refusal:
        run(bundle, tmp_path, rows)
    assert message in refusal.value.detail
    assert target.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"in.parquet", "out.parquet", "version"}


def test_a_model_that_fails_says_where(bundle: Bundle, tmp_path: Path, monkeypatch):
    def fail(_columns):
        raise RunnerError("boo")

    monkeypatch.setattr(bundle.runner, "predict", fail)
    with pytest.raises(DataError, match="within the rows 0 to 6: boo"):
        run(bundle, tmp_path, table())


def test_what_is_no_parquet_file_is_refused(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"x" * 100)
    (tmp_path / "folder").mkdir()
    for name, said in (
        ("x", "is not a Parquet file that can be read"),
        ("missing", "There is no file"),
        ("folder", "is a folder"),
    ):
        with pytest.raises(DataError, match=said) as refusal:
            open_source(tmp_path / name)
        assert str(tmp_path / name) in refusal.value.detail
        assert refusal.value.fix


def test_a_file_that_is_damaged_further_on_is_not_called_a_target_that_cannot_be_written(
    bundle: Bundle, tmp_path: Path
):
    source = tmp_path / "in.parquet"
    pq.write_table(table(), source, row_group_size=30, compression="zstd")
    pages = pq.read_metadata(source).row_group(2).column(0)
    whole = bytearray(source.read_bytes())
    begin = pages.dictionary_page_offset or pages.data_page_offset
    whole[begin : begin + pages.total_compressed_size] = b"\xff" * pages.total_compressed_size
    source.write_bytes(whole)
    with pytest.raises(DataError) as refusal:
        score(open_source(source), tmp_path / "out.parquet", bundle, {}, 30, lambda done: None)
    assert "The file cannot be read beyond row 60: " in refusal.value.detail
    assert "written" not in refusal.value.detail
    assert "None" not in refusal.value.detail
    assert not (tmp_path / "out.parquet").exists()


def test_a_target_that_cannot_be_written_says_why(bundle: Bundle, tmp_path: Path):
    pq.write_table(table(), tmp_path / "in.parquet")
    target = tmp_path / "nowhere/out.parquet"
    with pytest.raises(DataError, match=r"out\.parquet cannot be written: .*[Nn]o such file"):
        score(open_source(tmp_path / "in.parquet"), target, bundle, {}, 30, lambda done: None)


@pytest.mark.parametrize(
    ("source", "target", "code", "said", "fix"),
    [
        ("in.parquet", "folder", 2, "folder is a folder.", "folder/in.parquet"),
        ("in.parquet", "nowhere/out.parquet", 2, "There is no folder nowhere.", "mkdir -p nowhere"),
        ("in.parquet", "in.parquet", 2, "in.parquet exists already.", "--overwrite"),
        (
            "nosuch.parquet",
            "out.parquet",
            4,
            "There is no file nosuch.parquet.",
            "Name the Parquet",
        ),
    ],
)
def test_what_cannot_be_read_or_written_is_told_before_a_registry_is_asked(
    tmp_path: Path, source: str, target: str, code: int, said: str, fix: str
):
    (tmp_path / "folder").mkdir()
    pq.write_table(table(), tmp_path / "in.parquet")
    done = subprocess.run(
        [sys.executable, "-m", "modelyard.cli.main", "batch", source, target],
        cwd=tmp_path, env={**os.environ, "MLFLOW_TRACKING_URI": NOBODY, "MODEL_NAME": "m"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    first, detail, last = done.stderr.splitlines()
    assert (first[:7], detail) == ("error: ", said)
    assert last.startswith("fix: ")
    assert fix in last
