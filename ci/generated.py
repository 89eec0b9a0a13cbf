"""Parts of documents that are made from the code: `make generated` writes them.

A part stands between `<!-- NAME: … -->` and `<!-- end -->`. A test fails when one is not what the
code says now.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from modelyard.errors import ExitCode

ROOT = Path(__file__).parents[1]


def exit_codes() -> str:
    """The exit codes and their meaning, as a table."""
    rows = [f"| {code:d} | {code.meaning} |" for code in ExitCode]
    return "\n".join(["", "| exit code | meaning |", "|---|---|", *rows, "", ""])


PARTS: dict[str, dict[str, Callable[[], str]]] = {"docs/registry.md": {"exit codes": exit_codes}}


def generate(text: str, parts: dict[str, Callable[[], str]]) -> str:
    """`text` of a document with each of its parts as the code makes it now."""
    for name, make in parts.items():
        pattern = re.compile(rf"(<!-- {re.escape(name)}: .*? -->\n).*?(?=<!-- end -->)", re.DOTALL)
        text, found = pattern.subn(lambda match, make=make: match[1] + make(), text)
        if found != 1:
            raise ValueError(f"expected one part <!-- {name}: … -->, found {found}")
    return text


if __name__ == "__main__":
    for document, parts in PARTS.items():
        path = ROOT / document
        path.write_text(generate(path.read_text(encoding="utf-8"), parts), encoding="utf-8")
