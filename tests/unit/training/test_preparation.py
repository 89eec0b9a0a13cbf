"""What is shown before the first epoch, and which runs are alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraud_detector import dataset
from modelyard.provenance import md5_of
from modelyard.settings import TrainingSettings
from modelyard.training.experiment import read_experiment
from modelyard.training.preparation import experiment_key, prepare
from modelyard.training.resolution import resolve

CONFIG = Path(__file__).parents[3] / "configs/train-smoke.yaml"


@pytest.mark.parametrize(
    ("commit", "said"),
    [
        (
            "",
            "code      commit unknown: not a checkout, and no GIT_COMMIT; `make train` records it",
        ),
        ("0123456789abcdef", "code      commit 0123456789ab"),
        ("0123456789abcdef-dirty", "code      commit 0123456789ab, with local changes"),
    ],
)
def test_where_the_code_comes_from_is_said_and_what_would_have_recorded_it(
    tmp_path: Path, commit: str, said: str
):
    path = tmp_path / "transactions.parquet"
    dataset.generate(path, rows=6_000)
    pointer = f"outs:\n- md5: {md5_of(path)}\n  size: {path.stat().st_size}\n  hash: md5\n"
    Path(f"{path}.dvc").write_text(f"{pointer}  path: {path.name}\n")
    settings = TrainingSettings(modelyard_data_dir=tmp_path, git_commit=commit)
    lines: list[str] = []
    prepare(resolve(read_experiment(CONFIG), str(CONFIG)), settings, tmp_path, lines.append)
    assert [line for line in lines if line.startswith("code")] == [said]


def test_runs_that_would_fit_the_same_model_have_one_key():
    keys = {
        experiment_key({"seed": 7}, "md5", "commit"),
        experiment_key({"seed": 8}, "md5", "commit"),
        experiment_key({"seed": 7}, "other", "commit"),
        experiment_key({"seed": 7}, "md5", "other"),
    }
    assert len(keys) == 4
    assert experiment_key({"a": 1, "b": 2}, "", "") == experiment_key({"b": 2, "a": 1}, "", "")
