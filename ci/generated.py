"""Files, and parts of documents, that are made from the code: `make generated` writes them.

A part stands between `<!-- NAME: … -->` and `<!-- end -->`. A test fails when one is not what the
code says now.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from ci.env_example import env_example
from modelyard.errors import ExitCode


def exit_codes() -> str:
    """The exit codes and their meaning, as a table."""
    rows = [f"| {code:d} | {code.meaning} |" for code in ExitCode]
    return "\n".join(["", "| exit code | meaning |", "|---|---|", *rows, "", ""])


FILES: dict[str, Callable[[Path], str]] = {".env.example": env_example}
PARTS: dict[str, dict[str, Callable[[], str]]] = {"docs/registry.md": {"exit codes": exit_codes}}


def generate(text: str, parts: dict[str, Callable[[], str]]) -> str:
    """`text` of a document with each of its parts as the code makes it now."""
    for name, make in parts.items():
        pattern = re.compile(rf"(<!-- {re.escape(name)}: .*? -->\n).*?(?=<!-- end -->)", re.DOTALL)
        text, found = pattern.subn(lambda match, make=make: match[1] + make(), text)
        if found != 1:
            raise ValueError(f"expected one part <!-- {name}: … -->, found {found}")
    return text


def main(root: Path, *, check: bool) -> str:
    """Write what is stale, or only name it."""
    made = {name: make(root) for name, make in FILES.items()}
    for name, parts in PARTS.items():
        made[name] = generate((root / name).read_text(encoding="utf-8"), parts)
    stale = []
    for name, text in made.items():
        path = root / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    return f"stale: {', '.join(stale)}; fix: make generated" if stale and check else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a part is stale")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    chosen = parser.parse_args()
    sys.exit(main(chosen.root, check=chosen.check) or None)
