"""`make lock`: uv.lock out of pyproject.toml, and each requirements-*.txt out of uv.lock.

torch's CPU build is on an index of its own. On a machine that has its wheels in a folder instead,
uv is given that folder as the index, and the lock names the public one again: the same file by its
hash.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

UV = Path(sys.executable).with_name("uv")
LOCK = "uv.lock"
# An image's packages: the project's own dependencies and one group, or (MLflow's server has none of
# our code) the group alone.
EXPORTS = {
    "requirements-dev.txt": ("--group", "dev"),
    "requirements-mlflow.txt": ("--only-group", "mlflow"),
    "requirements-serve-onnx.txt": ("--group", "serve-onnx"),
    "requirements-serve.txt": ("--group", "serve"),
    "requirements-serve-torch.txt": ("--group", "serve-torch"),
    "requirements-train-cpu.txt": ("--group", "train-cpu"),
    "requirements-train.txt": ("--group", "train"),
}


def export(root: Path, group: Sequence[str]) -> str:
    """A group's packages with their hashes, as uv.lock has them; asks no index."""
    options = ("--frozen", "--offline", "--no-emit-project", "--no-default-groups", "--no-header")
    return _uv(root, "export", *options, *group)


def lock(root: Path, wheels: Path | None, options: Sequence[str]) -> None:
    """Solve pyproject.toml; versions stay what they are, unless `options` say `--upgrade`.

    Args:
        wheels: a folder with torch's CPU build; without one it is asked of its index.
    """
    if wheels is None:
        _uv(root, "lock", *options)
        return
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    ((_, public),) = (
        (index["name"], index["url"]) for index in tomllib.loads(project)["tool"]["uv"]["index"]
    )
    with tempfile.TemporaryDirectory() as folder:
        copy, index = Path(folder) / "project", Path(folder) / "index"
        links = _fill_index(index / "torch", wheels)
        shutil.copytree(root / "src", copy / "src", ignore=shutil.ignore_patterns("*.egg-info"))
        for name in ("README.md", LOCK):
            if (root / name).is_file():
                shutil.copy(root / name, copy)
        (copy / "pyproject.toml").write_text(project.replace(public, index.as_uri()))
        _uv(copy, "lock", *options)
        text = (copy / LOCK).read_text(encoding="utf-8")
    for name in links:
        here, there = f'path = "{index}/torch/{name}"', f'url = "{public}/{quote(name)}"'
        text = text.replace(here, there)
    text = text.replace(index.as_uri(), public).replace(str(index), public)
    if folder in text:
        raise ValueError(f"expected no path of this machine in {LOCK}, found {folder}")
    (root / LOCK).write_text(text, encoding="utf-8")


def main(arguments: Sequence[str]) -> str:
    """Write the locks, or only say which are stale; other `arguments` are uv's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a lock is stale; offline")
    parser.add_argument("--wheels", type=Path, help="a folder with torch's CPU build")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    chosen, options = parser.parse_known_args(arguments)
    root = chosen.root
    if not chosen.check:
        lock(root, chosen.wheels, options)
        for name, group in EXPORTS.items():
            (root / name).write_text(export(root, group), encoding="utf-8")
        return ""
    try:
        _uv(root, "lock", "--check", "--offline")
    except subprocess.CalledProcessError:
        return f"stale: {LOCK}, which is not what pyproject.toml asks for; fix: make lock"
    stale = [
        name
        for name, group in EXPORTS.items()
        if (root / name).read_text(encoding="utf-8") != export(root, group)
    ]
    return f"stale: {', '.join(stale)}; fix: make lock" if stale else ""


def _fill_index(folder: Path, wheels: Path) -> list[str]:
    """Make an index that has torch alone; the names of its wheels."""
    folder.mkdir(parents=True)
    found = sorted(wheels.glob("torch-*+cpu-*.whl"))
    if not found:
        raise FileNotFoundError(f"expected torch's CPU build in {wheels}, found none")
    lines = []
    for wheel in found:
        (folder / wheel.name).symlink_to(wheel.resolve())
        with wheel.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        lines.append(f'<a href="{quote(wheel.name)}#sha256={digest}">{wheel.name}</a>\n')
    (folder / "index.html").write_text("".join(lines))
    return [wheel.name for wheel in found]


def _uv(folder: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own words, no shell
        [UV, *words], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) or None)
