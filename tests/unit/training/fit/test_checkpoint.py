"""Checkpoints: found again when their run died, never while it lives, gone when it ended well."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modelyard.training.fit.checkpoint import (
    RunCheckpoints,
    find_interrupted_run,
    kept_checkpoints,
)
from modelyard.training.fit.loop import DivergedError

DIE = """
import os, signal, sys, torch
from pathlib import Path
from modelyard.training.fit.checkpoint import kept_checkpoints
with kept_checkpoints(Path(sys.argv[1]), "key", sys.argv[2], None, print) as checkpoints:
    checkpoints.save({"progress": {"epoch": 3}, "weights": torch.ones(2)})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def state(epoch: int) -> dict:
    return {"progress": {"epoch": epoch}, "weights": torch.full((2,), float(epoch))}


@pytest.fixture(scope="module")
def died(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run left that was killed; the process needs a second for its torch, so it is one."""
    root = tmp_path_factory.mktemp("died")
    done = subprocess.run([sys.executable, "-c", DIE, root, "first"], check=False)
    assert done.returncode == -9
    return root


@pytest.fixture
def left(died: Path, tmp_path: Path) -> Path:
    """The same for one test to change."""
    return shutil.copytree(died, tmp_path / "left")


def fail(root: Path, key: str, run_id: str, error: Exception, **given) -> None:
    with kept_checkpoints(root, key, run_id, given.get("earlier"), print) as checkpoints:
        checkpoints.save(state(5))
        raise error


def test_a_killed_run_is_found_and_its_successor_takes_over(left: Path):
    earlier = find_interrupted_run(left, "key")
    assert earlier is not None
    assert (earlier.run_id, earlier.epoch) == ("first", 3)
    with kept_checkpoints(left, "key", "second", earlier, print) as checkpoints:
        assert torch.equal(checkpoints.load()["weights"], torch.ones(2))
        assert earlier.folder.is_dir()  # until the successor has a checkpoint of its own
        checkpoints.save(state(4))
        assert not earlier.folder.exists()
    assert find_interrupted_run(left, "key") is None
    assert list((left / "checkpoints").iterdir()) == []


def test_a_run_at_work_is_not_found(tmp_path: Path):
    with kept_checkpoints(tmp_path, "key", "alive", None, print) as checkpoints:
        checkpoints.save(state(1))
        assert find_interrupted_run(tmp_path, "key") is None


def test_an_interrupted_run_is_taken_over_once(left: Path):
    earlier = find_interrupted_run(left, "key")
    assert earlier is not None
    assert find_interrupted_run(left, "key") is None
    earlier.release()
    again = find_interrupted_run(left, "key")
    assert again is not None
    again.release()


def test_another_experiment_is_not_found(left: Path):
    assert find_interrupted_run(left, "other") is None


def test_a_run_that_failed_can_be_resumed_unless_it_would_fail_again(tmp_path: Path):
    with pytest.raises(OSError, match="no MLflow"):
        fail(tmp_path, "key", "failed", OSError("no MLflow"))
    earlier = find_interrupted_run(tmp_path, "key")
    assert earlier is not None and earlier.epoch == 5
    with pytest.raises(DivergedError):
        fail(tmp_path, "key", "diverged", DivergedError("NaN"), earlier=earlier)
    assert find_interrupted_run(tmp_path, "key") is None


def test_a_damaged_checkpoint_is_passed_over(left: Path):
    (path,) = left.rglob("checkpoint.pt")
    path.write_bytes(path.read_bytes()[:100])
    assert find_interrupted_run(left, "key") is None


def test_only_the_newest_leftovers_are_kept(tmp_path: Path):
    for number in range(7):
        with pytest.raises(OSError, match="gone"):
            fail(tmp_path, f"key{number}", "run", OSError("gone"))
    assert len(list(tmp_path.rglob("checkpoint.pt"))) <= 6


def test_a_folder_that_cannot_be_written_is_said_and_training_goes_on(tmp_path: Path):
    said: list[str] = []
    (tmp_path / "file").write_text("")
    with kept_checkpoints(tmp_path / "file", "key", "run", None, said.append) as checkpoints:
        assert checkpoints is None
    assert "no checkpoints" in said[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_said_and_the_checkpoint_before_stays(tmp_path: Path):
    said: list[str] = []
    checkpoints = RunCheckpoints(tmp_path, None, said.append)
    checkpoints.save(state(1))
    (tmp_path / "checkpoint.pt.new").symlink_to("/dev/full")
    checkpoints.save(state(2))
    assert "could not be written" in said[0]
    assert torch.load(tmp_path / "checkpoint.pt")["progress"] == {"epoch": 1}
