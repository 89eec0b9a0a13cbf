"""Model versions on disk, so that a restart and a rollback need no registry.

    <folder>/versions/<key>/files/...      the version's files as they were registered
    <folder>/versions/<key>/entry.json     what the registry and the run say; sha256 of every file
    <folder>/served/<key>.json             which version a MODEL_URI last meant, and was good
    <folder>/incoming/                     whatever is not whole yet

Several servers may share the folder: everything is made in `incoming` under a name of its own and
appears by one rename; who opens an entry holds a shared lock on its folder, who removes one needs
it alone.
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
from modelyard.serving.model.snapshot import Lineage

_ABANDONED_S = 3600
_ENTRY = "entry.json"

Identity = tuple[str, ...]


def identity(version: ModelVersion) -> Identity:
    """What makes a version itself: number 3, deleted and registered again, is another one."""
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
    """One version in the cache."""

    folder: Path
    version: ModelVersion
    lineage: Lineage
    sha256: Mapping[str, str]

    @property
    def files(self) -> Path:
        """The folder with the version's files."""
        return self.folder / "files"


class VersionCache:
    """The cache in `folder`; it keeps the `keep` versions that were used last."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
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
                f"The folder {self._folder} cannot be written ({error.strerror}).",
                fix="Set SERVING_CACHE_DIR to one that this user may write.",
            ) from error

    def find(self, version: ModelVersion) -> CachedVersion | None:
        """The entry of exactly this version, if it is there."""
        return _read_entry(self._versions / _key(identity(version)))

    def add(
        self, version: ModelVersion, lineage: Lineage, fill: Callable[[Path], None]
    ) -> CachedVersion:
        """Let `fill` put the version's files into a new folder; it becomes the version's entry.

        Whatever `fill` raises leaves nothing behind. When another server was faster, its entry is
        as good, and is returned.
        """
        incoming = Path(tempfile.mkdtemp(dir=self._incoming))
        try:
            files = incoming / "files"
            files.mkdir()
            fill(files)
            sums = {
                path.relative_to(files).as_posix(): sha256_of(path)
                for path in sorted(files.rglob("*"))
                if path.is_file()
            }
            content = {"version": asdict(version), "lineage": asdict(lineage), "sha256": sums}
            (incoming / _ENTRY).write_text(json.dumps(content, indent=1))
            target = self._versions / _key(identity(version))
            try:
                incoming.rename(target)
            except OSError:
                if (entry := _read_entry(target)) is not None:
                    return entry
                self._remove(target)
                incoming.rename(target)
            return CachedVersion(target, version, lineage, sums)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def discard(self, entry: CachedVersion) -> None:
        """Remove an entry, unless another server is opening it; it disappears whole."""
        self._remove(entry.folder)

    @contextmanager
    def hold(self, entry: CachedVersion) -> Iterator[bool]:
        """Keep every server from removing `entry` meanwhile; False when one was faster."""
        try:
            handle = os.open(entry.folder, os.O_RDONLY)
        except OSError:
            yield False
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield _is_at(handle, entry.folder)
        finally:
            os.close(handle)

    def remember(self, uri: str, entry: CachedVersion) -> None:
        """`uri` means `entry` from now on; also marks it as used."""
        handle, name = tempfile.mkstemp(dir=self._incoming)
        with os.fdopen(handle, "w") as file:
            json.dump({"uri": uri, "entry": entry.folder.name}, file)
        Path(name).replace(self._served / f"{_key((uri,))}.json")
        with suppress(OSError):  # another server's pruning was faster
            os.utime(entry.folder)

    def remembered(self, uri: str) -> CachedVersion | None:
        """The entry that `uri` last meant, if it is still there."""
        try:
            content = json.loads((self._served / f"{_key((uri,))}.json").read_text())
            return _read_entry(self._versions / Path(content["entry"]).name)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def prune(self) -> None:
        """Remove all but the versions used last, and what a killed server left half made."""
        served = {entry.name for entry in self._remembered_entries()}
        by_use = sorted(self._versions.iterdir(), key=_used_at, reverse=True)
        for folder in by_use[self._keep :]:
            if folder.name not in served:
                self._remove(folder)
        for leftover in self._incoming.iterdir():
            if _used_at(leftover) < time.time() - _ABANDONED_S:
                _delete(leftover)

    def _remembered_entries(self) -> list[Path]:
        entries = []
        for pointer in self._served.glob("*.json"):
            try:
                entries.append(self._versions / json.loads(pointer.read_text())["entry"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return entries

    def _remove(self, folder: Path) -> None:
        grave = Path(tempfile.mkdtemp(dir=self._incoming))
        with suppress(OSError):  # another server holds it, or removed it first
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(handle, folder):
                    folder.rename(grave / "gone")
            finally:
                os.close(handle)
        _delete(grave)


def _key(parts: Identity) -> str:
    """A file name for `parts`: readable, and different for different parts."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", "-".join(parts[:2]))[:80].strip(".")
    return f"{readable}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"


def _read_entry(folder: Path) -> CachedVersion | None:
    try:
        content: dict[str, Any] = json.loads((folder / _ENTRY).read_text())
        fields = {**content["version"], "aliases": tuple(content["version"]["aliases"])}
        version, lineage = ModelVersion(**fields), Lineage(**content["lineage"])
        return CachedVersion(folder, version, lineage, dict(content["sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_at(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except OSError:
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
