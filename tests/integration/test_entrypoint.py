"""entrypoint.sh fetches what the configuration names, and nothing before that is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.checkout import Checkout, copy_tree
from support.servers import ROOT

MISSING = f"outs:\n- md5: {'0' * 32}\n  size: 7\n  hash: md5\n  path: other.parquet\n"


@pytest.fixture(scope="module")
def checkout(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder = tmp_path_factory.mktemp("entrypoint") / "checkout"
    made = copy_tree(folder, {"MLFLOW_TRACKING_URI": mlflow_url})
    assert made.push_data().returncode == 0
    return made


def workspace(checkout: Checkout) -> Path:
    return checkout.folder.parent / "workspace"


def test_a_dataset_that_is_not_needed_may_be_gone(checkout: Checkout):
    pointer = checkout.folder / "data/other.parquet.dvc"
    pointer.write_text(MISSING)
    done = checkout.train("entered", "--promote", "never")
    assert done.returncode == 0, done.stderr
    assert not (workspace(checkout) / "data/other.parquet").exists()

    done = checkout.train("entered", "--set", "data=other.parquet")
    assert done.returncode == 4
    assert "the file that data/other.parquet.dvc names" in done.stderr
    assert "Traceback" not in done.stderr
    pointer.unlink()
    (workspace(checkout) / "data/other.parquet.dvc").unlink()


def test_a_dataset_without_a_pointer_is_an_error_that_lists_those_with_one(checkout: Checkout):
    done = checkout.train("entered", "--set", "data=nowhere.parquet")
    assert done.returncode == 4
    assert "expected  a DVC pointer data/nowhere.parquet.dvc" in done.stderr
    assert "found     data/transactions.parquet.dvc" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "sead=7"), 'Did you mean "seed"?'),
        (("--config", "configs/nowhere.yaml"), "There is no file configs/nowhere.yaml"),
        (("--set", "data=s3://bucket/prefix"), "there is no stream section"),
        (("--set", "data=../secret"), "expected the name of a file in the data folder"),
    ],
)
def test_a_mistake_in_the_configuration_ends_it_before_anything_is_fetched(
    checkout: Checkout, arguments: tuple[str, ...], said: str
):
    (workspace(checkout) / "data/transactions.parquet").unlink(missing_ok=True)
    done = checkout.train("entered", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (workspace(checkout) / "data/transactions.parquet").exists()


def test_a_search_begins_as_the_documentation_writes_it(checkout: Checkout):
    """Without --config; only made small, by what comes after the line's own words."""
    lines = (ROOT / "docs/your-own-model.md").read_text()
    (words,) = re.findall(r"-e ENTRYPOINT_JOB=tune training ([^`\n]+)`", lines)
    small = ["--trials", "2", "--set", "fit.epochs=1", "--set", "sample_rows=4000"]
    done = checkout._run(
        ["sh", "entrypoint.sh", *words.split(), *small],
        {"ENTRYPOINT_JOB": "tune", "WORKSPACE": str(workspace(checkout))},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Traceback") == 0
    assert "best      trial" in done.stdout
    assert (checkout.folder.parent / "state/tuned/tune.yaml").is_file()

    (command,) = re.findall(r"`(tune --trials \d+)`", (ROOT / "README.md").read_text())
    data = {"MODELYARD_DATA_DIR": str(workspace(checkout) / "data")}
    done = checkout.modelyard(*command.split(), *small, **data)
    assert done.returncode == 0, done.stderr


def test_a_search_fetches_its_data_as_a_training_does_and_may_stream_them(checkout: Checkout):
    (workspace(checkout) / "data/transactions.parquet").unlink(missing_ok=True)
    arguments = ["--config", "configs/tune.yaml", "--trials", "1", "--set", "fit.epochs=1"]
    arguments += ["--set", "sample_rows=4000", "--set", "stream={buffer_rows: 2000}"]
    done = checkout._run(
        ["sh", "entrypoint.sh", *arguments],
        {"ENTRYPOINT_JOB": "tune", "WORKSPACE": str(workspace(checkout))},
    )
    assert done.returncode == 0, done.stderr
    assert "to train, as a stream" in done.stdout
    assert "best      trial 0" in done.stdout
