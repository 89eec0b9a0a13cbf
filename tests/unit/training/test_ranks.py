"""Two processes fit the network that one would have fitted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modelyard.training.ranks import Ranks, current_ranks, joined_ranks

SCRIPT = Path(__file__).parent / "fit_on_ranks.py"


def run(*launcher: str) -> dict:
    done = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_ranks_have_the_loss_curve_and_the_weights_of_one():
    alone = run()
    together = run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert (alone["ranks"], together["ranks"]) == (1, 2)
    assert len(alone["epochs"]) == 5
    for one, two in zip(alone["epochs"], together["epochs"], strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    for one, two in zip(alone["weights"], together["weights"], strict=True):
        assert two == pytest.approx(one, abs=1e-4)


def test_every_row_of_a_batch_is_on_one_rank_and_weights_make_up_for_unequal_shares():
    batch = torch.arange(7)
    shares = [Ranks(index, 3).share(batch) for index in range(3)]
    assert sorted(torch.cat([rows for rows, _ in shares]).tolist()) == list(range(7))
    # the mean over ranks of weight times local mean is the mean of the batch
    mean = sum(float(rows.float().mean()) * weight for rows, weight in shares) / 3
    assert mean == pytest.approx(3.0)


def test_a_rank_without_rows_counts_nothing():
    rows, weight = Ranks(1, 2).share(torch.tensor([5]))
    assert (rows.tolist(), weight) == ([5], 0.0)


def test_without_torchrun_there_is_one_rank():
    with joined_ranks() as ranks:
        assert ranks == current_ranks() == Ranks(0, 1)
