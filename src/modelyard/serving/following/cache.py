"""Model versions on disk, so that a restart and a rollback need no registry.

    <folder>/versions/<key>/files/...      the version's files as they were registered
    <folder>/versions/<key>/entry.json     what the registry and the run say; sha256 of every file
    <folder>/served/<key>.json             the last good version that a MODEL_URI meant
    <folder>/incoming/                     what is not complete yet

Several servers may share the folder: each version is made in `incoming` under a name of its own and
appears with one rename. To open a version, a server takes a shared lock on its folder; to remove
it, an exclusive one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelyard.errors import ConfigError
from modelyard.registry import ModelVersion
from modelyard.registry.manifest import DIGEST_TAG, sha256_of
from modelyard.serving.model.snapshot import Origin

_ABANDONED_S = 3600
_ENTRY = "entry.json"

Identity = tuple[str, ...]


def identity(version: ModelVersion) -> Identity:
    """What tells versions apart: a version 3 that was deleted and registered again is new."""
    digest = version.tags.get(DIGEST_TAG, "")
    return (
        version.name,
        version.version,
        str(version.created_ms),
        version.source,
        version.status,
        digest,
    )


@dataclass(frozen=True)
class CachedVersion:
    """One version in the cache.

    Attributes:
        folder: its own.
        version: what the registry says of it.
        lineage: where it comes from.
        sha256: of each of its files, by path.
    """

    folder: Path
    version: ModelVersion
    origin: Origin
    sha256: Mapping[str, str]

    @property
    def files(self) -> Path:
        """The folder with the version's files."""
        return self.folder / "files"


class VersionCache:
    """The cache in `folder`; it keeps the `keep` most recently used versions."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._versions = folder / "versions"
        self._served = folder / "served"
        self._incoming = folder / "incoming"
        self._keep = keep

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            ConfigError: they cannot be made or written.
        """
        try:
            for folder in (self._versions, self._served, self._incoming):
                folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._incoming):
                pass
        except OSError as error:
            raise ConfigError(
                f"The folder {self.folder} cannot be written ({error.strerror}).",
                fix="Set SERVING_CACHE_DIR to one that this user may write.",
            ) from error

    def find(self, version: ModelVersion) -> CachedVersion | None:
        """The version as it is in the cache; None when it is not there."""
        return _read(self._versions / _key(identity(version)))

    def add(
        self, version: ModelVersion, origin: Origin, fill: Callable[[Path], None]
    ) -> CachedVersion:
        """Add the version, whose files `fill` writes into the folder that it is given.

        When `fill` raises, nothing is left behind. When another server was faster, its copy is
        returned.
        """
        incoming = Path(tempfile.mkdtemp(dir=self._incoming))
        at_work = os.open(incoming, os.O_RDONLY)
        try:
            # whatever the clocks say, another server's pruning leaves it alone
            fcntl.flock(at_work, fcntl.LOCK_SH)
            files = incoming / "files"
            files.mkdir()
            fill(files)
            sums = {
                path.relative_to(files).as_posix(): sha256_of(path)
                for path in sorted(files.rglob("*"))
                if path.is_file()
            }
            content = {"version": asdict(version), "lineage": asdict(origin), "sha256": sums}
            (incoming / _ENTRY).write_text(json.dumps(content, indent=1))
            target = self._versions / _key(identity(version))
            try:
                incoming.rename(target)
            except OSError:
                if (cached := _read(target)) is not None:
                    return cached
                self._remove(target)
                incoming.rename(target)
            return CachedVersion(target, version, origin, sums)
        finally:
            os.close(at_work)
            shutil.rmtree(incoming, ignore_errors=True)

    def discard(self, cached: CachedVersion) -> None:
        """Remove a version in one step, unless another server is opening it."""
        self._remove(cached.folder)

    @contextmanager
    def hold(self, cached: CachedVersion) -> Iterator[bool]:
        """Keep other servers from removing `cached`; yields False when one already has."""
        try:
            handle = os.open(cached.folder, os.O_RDONLY)
        except OSError:
            yield False
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield _is_at(handle, cached.folder)
        finally:
            os.close(handle)

    def remember(self, uri: str, cached: CachedVersion) -> None:
        """Let `uri` mean `cached` from now on, and mark it as used."""
        handle, name = tempfile.mkstemp(dir=self._incoming)
        with os.fdopen(handle, "w") as file:
            json.dump({"uri": uri, "entry": cached.folder.name}, file)
        Path(name).replace(self._served / f"{_key((uri,))}.json")
        with suppress(OSError):  # another server's pruning was faster
            os.utime(cached.folder)

    def remembered(self, uri: str) -> CachedVersion | None:
        """The version that `uri` last meant, if it is still there."""
        name = _pointed_at(self._served / f"{_key((uri,))}.json")
        return None if name is None else _read(self._versions / name)

    def prune(self) -> None:
        """Remove all but the most recently used versions, and what a killed server left over."""
        served = {_pointed_at(pointer) for pointer in self._served.glob("*.json")}
        by_use = sorted(self._versions.iterdir(), key=_used_at, reverse=True)
        for folder in by_use[self._keep :]:
            if folder.name not in served:
                self._remove(folder)
        for leftover in self._incoming.iterdir():
            if _used_at(leftover) < time.time() - _ABANDONED_S and not _is_held(leftover):
                _delete(leftover)

    def _remove(self, folder: Path) -> None:
        removed = Path(tempfile.mkdtemp(dir=self._incoming))
        with suppress(OSError):  # another server holds it, or removed it first
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(handle, folder):
                    folder.rename(removed / folder.name)
            finally:
                os.close(handle)
        _delete(removed)


def _key(parts: Identity) -> str:
    """A file name for `parts`: readable, and different for different parts."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", "-".join(parts[:2]))[:80].strip(".")
    return f"{readable}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"


def _pointed_at(pointer: Path) -> str | None:
    """Name of the folder that a file in `served` points at."""
    try:
        return Path(json.loads(pointer.read_text())["entry"]).name
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(folder: Path) -> CachedVersion | None:
    """The version in `folder`; None when it is not there, or is damaged."""
    try:
        content: dict[str, Any] = json.loads((folder / _ENTRY).read_text())
        fields = {**content["version"], "aliases": tuple(content["version"]["aliases"])}
        version, origin = ModelVersion(**fields), Origin(**content["lineage"])
        return CachedVersion(folder, version, origin, dict(content["sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_at(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except OSError:
        return False


def _is_held(path: Path) -> bool:
    """Whether another server is at work in it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _used_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
