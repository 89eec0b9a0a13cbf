"""What code must keep to that runs before anything is installed, with the host's own Python."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


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


@cache
def oldest_python() -> str:
    """The host's may be older than ours: 3.8 where this machine has one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for name in ("python3.8", "python3.9"):
        for path in (shutil.which(name), *map(str, pyenv.glob(f"*/bin/{name}"))):
            if path and subprocess.run([path, "-c", ""], check=False).returncode == 0:
                return path
    return sys.executable
