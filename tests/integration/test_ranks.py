"""Two processes fit the network that one would have fitted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "support/fit_on_ranks.py"


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
