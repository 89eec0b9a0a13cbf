"""What code must keep to that runs before anything is installed, with the host's own Python."""

from __future__ import annotations

import ast
import sys
from pathlib import Path


def imported_packages(path: Path) -> set[str]:
    """What the module imports beside the standard library; Python 3.8 has to be able to read it."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names]
        )
        if name
    }
    return {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
