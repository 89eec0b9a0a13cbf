"""How commands print results: a table on a terminal, plain columns in a pipe, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_SHORT = 7  # as git shortens
_GAP = "  "

Rows = Sequence[Mapping[str, str]]


def show_json(value: Any) -> None:
    """Print `value` as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_rows(title: str, rows: Rows, *, wrap: Sequence[str] = ()) -> None:
    """Print `rows`, whose keys are the columns: one line each, except for the columns in `wrap`."""
    if not rows:
        typer.echo(f"{title}: none")
    elif sys.stdout.isatty():
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        for column in rows[0]:
            table.add_column(column, no_wrap=column not in wrap, overflow="fold")
        for row in rows:
            table.add_row(*row.values())
        Console(highlight=False, markup=False).print(table)
    else:
        header = {column: column for column in rows[0]}
        widths = {column: max(len(row[column]) for row in (header, *rows)) for column in header}
        for row in (header, *rows):
            cells = (" ".join(row[column].split()).ljust(widths[column]) for column in header)
            typer.echo(_GAP.join(cells).rstrip())


def show_fields(title: str, sections: Mapping[str, Mapping[str, str]]) -> None:
    """Print named values under headings; a terminal wraps long ones."""
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, markup=False, soft_wrap=not terminal)
    console.print(title, style="bold")
    for heading, fields in sections.items():
        if not fields:
            continue
        console.print(f"\n{heading}", style="bold")
        width = max(map(len, fields))
        if not terminal:
            for key, value in fields.items():
                lines = value.splitlines() or [""]
                typer.echo(f"{_GAP}{key:<{width}}{_GAP}{lines[0]}")
                for line in lines[1:]:
                    typer.echo(f"{_GAP}{'':<{width}}{_GAP}{line}")
            continue
        grid = Table.grid(padding=(0, 2), pad_edge=True)
        grid.add_column(min_width=width, no_wrap=True)
        grid.add_column(overflow="fold")
        for key, value in fields.items():
            grid.add_row(key, value)
        console.print(grid)


def shorten(identifier: str) -> str:
    """The first characters of a hash or an id, enough to tell two apart by eye."""
    return identifier[:_SHORT]


def format_time(time: datetime | str) -> str:
    """A time, or its ISO 8601 text, to the minute in UTC."""
    at = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
