"""What all tests share: a server in the test's own process, and figures at the end of a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.soak import ROW, FaultRow, table

if TYPE_CHECKING:
    from support.serving_app import MakeServer


@pytest.fixture
def make_server(tmp_path: Path) -> MakeServer:
    """Builds a server; keyword arguments are settings."""
    from support.serving_app import build_server  # the stack tests need no FastAPI

    return partial(build_server, tmp_path)


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Shows a line at the end of the session."""
    return partial(record_property, "figure")


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[FaultRow], None]:
    """Puts a row into the table of faults at the end of the session."""
    return lambda row: record_property(ROW, row.to_json())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, ())]
    kept = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    lines = [str(line) for name, line in kept if name == "figure"]
    rows = [str(row) for name, row in kept if name == ROW]
    for title, text in (("figures", lines), ("faults", table(rows) if rows else [])):
        if text:
            terminalreporter.section(title)
            for line in dict.fromkeys(text):
                terminalreporter.line(line)
