"""A terminal gets a bar, a log gets lines."""

from __future__ import annotations

import io

from rich.console import Console

from modelyard.training.fit.display import epoch_line, fit_display


def shown(*, terminal: bool) -> str:
    target = io.StringIO()
    console = Console(file=target, force_terminal=terminal, width=100)
    with fit_display(console) as show:
        for share in (0.0, 0.5, 1.0):
            show(share)
    return target.getvalue()


def test_a_terminal_shows_how_much_is_done():
    assert "100%" in shown(terminal=True)


def test_a_log_gets_nothing_but_its_lines():
    assert shown(terminal=False) == ""
    assert epoch_line(3, {"train_loss": 0.5}) == "epoch   3 train_loss 0.50000"
