"""Which code is here, told by its content: git's own id of the tree `src/`, without git.

An image has no `.git`, and a plain `docker compose build` gives it no commit. Its content has the
id that `git rev-parse COMMIT:src` prints, so that a checkout finds the commit again, and a file
that differs from the commit shows. Any Python from 3.8: `make reproduce` runs it on the host.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import subprocess
import sys
from pathlib import Path

FOLDER = "src"
_IGNORED = ("__pycache__", ".egg-info", ".pyc")
_GIT_TIMEOUT_S = 30
# Python 3.8 does not know the word
_NO_SECURITY = {"usedforsecurity": False} if sys.version_info >= (3, 9) else {}
_COMMITS_SEARCHED = 5_000


def tree_id(folder: Path) -> str:
    """The id that git gives a tree with the content of `folder`; empty when there is no folder.

    Bytecode and package metadata, which are never committed, are left out.
    """
    if not folder.is_dir():
        return ""
    return _tree(folder).hex()


def is_left_out(name: str) -> bool:
    """Whether a file or a folder of this name is never committed: bytecode, package metadata."""
    return name.endswith(_IGNORED)


def git(root: Path, *arguments: str, feed: str | None = None) -> str:
    """What git prints in `root`, stripped; empty where there is no git, or it fails."""
    program = shutil.which("git")
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            [program, "-C", str(root), *arguments],
            input=feed,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def find_commit(root: Path, tree: str) -> str:
    """The newest commit of the checkout `root` whose `src/` is `tree`; empty when there is none."""
    commits = git(root, "log", "--all", f"--max-count={_COMMITS_SEARCHED}", "--format=%H")
    # ./ is here, also where the project is a folder of a larger repository
    asked = "".join(f"{commit}:./{FOLDER}\n" for commit in commits.split())
    ids = git(root, "cat-file", "--batch-check=%(objectname)", feed=asked) if asked else ""
    found = zip(commits.split(), ids.splitlines())  # noqa: B905 - Python 3.8
    return next((commit for commit, known in found if known == tree), "")


def _tree(folder: Path) -> bytes:
    return _object(b"tree", b"".join(_entries(folder)))


def _entries(folder: Path) -> list[bytes]:
    """The lines of a tree object; none for a folder without files, which git does not know."""
    found = []
    for path in folder.iterdir():
        if is_left_out(path.name) or path.is_symlink():
            continue
        name = path.name.encode()
        if path.is_dir():
            if inner := _entries(path):
                # git sorts a folder as if its name ended in a slash
                found.append((name + b"/", b"40000", name, _object(b"tree", b"".join(inner))))
        else:
            mode = b"100755" if path.stat().st_mode & stat.S_IXUSR else b"100644"
            found.append((name, mode, name, _blob(path)))
    return [b"%s %s\0%s" % (mode, name, sha) for _, mode, name, sha in sorted(found)]


def _blob(path: Path) -> bytes:
    return _object(b"blob", path.read_bytes())


def _object(kind: bytes, content: bytes) -> bytes:
    header = b"%s %d\0" % (kind, len(content))
    return hashlib.new("sha1", header + content, **_NO_SECURITY).digest()  # noqa: S324
