"""`make lock`: solves all groups of pyproject.toml at once, and writes requirements-*.txt.

The locks are the requirements-*.txt. uv.lock is made on the way and not kept: it records the
address of every file at a package index, and which index a machine uses is its own business. So
the present versions are constraints of the next solution, and only what has to move does.

torch's CPU build is on an index of its own. On a machine that has its wheels in a folder instead,
uv is given that folder as the index: the same file, by its hash.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any
from urllib.parse import quote

UV = Path(sys.executable).with_name("uv")
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
_PIN = re.compile(r"(?m)^([a-z0-9._-]+)(?:\[[\w,-]+\])?==[^\n\\]+?(?= *(?:\\|$))")


def requirements(project: dict[str, Any], group: str) -> Iterator[str]:
    """What a group of pyproject.toml asks for, with the groups that it includes."""
    for requirement in project["dependency-groups"][group]:
        if isinstance(requirement, dict):
            yield from requirements(project, requirement["include-group"])
        else:
            yield requirement


def name_of(requirement: str) -> str:
    """The package that a requirement names, as uv writes it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return name[0].lower().replace("_", "-")


def solve(root: Path, wheels: Path | None, *, upgrade: bool) -> None:
    """Write every requirements-*.txt of `root`.

    Args:
        wheels: a folder with torch's CPU build; without one its public index is asked.
        upgrade: do not hold packages to their present versions.
    """
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(root / "src", copy / "src", ignore=shutil.ignore_patterns("*.egg-info"))
        shutil.copy(root / "README.md", copy)
        if wheels is not None:
            (public,) = (index["url"] for index in project["tool"]["uv"]["index"])
            text = text.replace(public, _index_of_torch(Path(folder) / "index", wheels).as_uri())
        if not upgrade:
            kept = "".join(f"  {pin!r},\n" for pin in _pins_to_keep(root, project))
            text = text.replace("[tool.uv]\n", f"[tool.uv]\nconstraint-dependencies = [\n{kept}]\n")
        (copy / "pyproject.toml").write_text(text, encoding="utf-8")
        _uv(copy, "lock")
        for name, group in EXPORTS.items():
            options = ("--frozen", "--no-emit-project", "--no-default-groups", "--no-header")
            exported = _uv(copy, "export", *options, *group)
            (root / name).write_text(exported, encoding="utf-8")


def _pins_to_keep(root: Path, project: dict[str, Any]) -> list[str]:
    """Present versions, save of the packages whose version pyproject.toml says itself."""
    groups = project["dependency-groups"]
    asked = [r for group in groups for r in requirements(project, group)]
    asked += project["project"]["dependencies"]
    named = {name_of(requirement) for requirement in asked if re.search("[=<>~!]=?", requirement)}
    texts = [(root / name).read_text(encoding="utf-8") for name in EXPORTS]
    pins = {match[0]: match[1] for text in texts for match in _PIN.finditer(text)}
    return sorted(pin for pin, name in pins.items() if name not in named)


def _index_of_torch(folder: Path, wheels: Path) -> Path:
    """An index in `folder` that has the wheels of torch's CPU build alone."""
    found = sorted(wheels.glob("torch-*+cpu-*.whl"))
    if not found:
        raise FileNotFoundError(f"expected torch's CPU build in {wheels}, found none")
    (folder / "torch").mkdir(parents=True)
    lines = []
    for wheel in found:
        (folder / "torch" / wheel.name).symlink_to(wheel.resolve())
        with wheel.open("rb") as content:
            digest = file_digest(content, "sha256").hexdigest()
        lines.append(f'<a href="{quote(wheel.name)}#sha256={digest}">{wheel.name}</a>\n')
    (folder / "torch/index.html").write_text("".join(lines))
    return folder


def _uv(folder: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own words, no shell
        [UV, *words], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def main(arguments: Sequence[str]) -> None:
    """Write the locks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    parser.add_argument("--wheels", type=Path, help="a folder with torch's CPU build")
    chosen = parser.parse_args(arguments)
    solve(Path(__file__).parents[1], chosen.wheels, upgrade=chosen.upgrade)


if __name__ == "__main__":
    main(sys.argv[1:])
