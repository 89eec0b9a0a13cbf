"""How rows are shared among the processes of one fit."""

from __future__ import annotations

import pytest
import torch

from modelyard.training.fit.ranks import Ranks, current_ranks, joined_ranks


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
