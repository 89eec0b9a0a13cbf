"""How a fit is shown: a line an epoch, and on a terminal a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from modelyard.training.project import ignore_progress

ShowShare = Callable[[float], None]


@contextmanager
def fit_display(console: Console) -> Iterator[ShowShare]:
    """Show which share (0 to 1) of the longest possible fit is done, while the block runs.

    Only a terminal gets the bar. Early stopping ends it before 1.
    """
    if not console.is_terminal:
        yield ignore_progress
        return
    columns = (
        TextColumn("fit      "),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("at most"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=5) as bar:
        task = bar.add_task("fit", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def epoch_line(epoch: int, metrics: Mapping[str, float]) -> str:
    """One epoch as a line of text."""
    return f"epoch {epoch:3d} " + "  ".join(f"{name} {v:.5f}" for name, v in metrics.items())
