"""Where a rebuilt version differs from the registered one: circumstances first, then bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.provenance import UNKNOWN
from modelyard.registry.manifest import FILE_NAME as MANIFEST_FILE
from modelyard.registry.manifest import sha256_of

# ids and times of the run, different in every version
_NEVER_THE_SAME = {"MLmodel", MANIFEST_FILE}
# local builds of this project itself, whose version says nothing
_OWN_PACKAGES = {"modelyard"}
_CIRCUMSTANCES = {"python": "Python", "cpu": "CPU type", "gpu": "GPU"}


@dataclass(frozen=True)
class Mismatch:
    """One thing that is not as it was recorded."""

    what: str
    recorded: str
    now: str

    def sentence(self) -> str:
        """The difference in words."""
        return f"{self.what}: recorded {self.recorded}, now {self.now}"


def compare_packages(recorded: Sequence[str], now: Sequence[str]) -> Iterator[Mismatch]:
    """Packages with another version; a package that is only on one side does not matter."""
    old, new = (
        dict(line.split("==", 1) for line in lines if "==" in line) for lines in (recorded, now)
    )
    for name in sorted(old.keys() & new.keys() - _OWN_PACKAGES):
        if old[name] != new[name]:
            yield Mismatch(f"package {name}", old[name], new[name])


def compare_machines(recorded: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Mismatch]:
    """What of the machine can change a result, where it is on record."""
    for key, what in _CIRCUMSTANCES.items():
        if key in recorded and recorded[key] != now.get(key, UNKNOWN):
            yield Mismatch(what, recorded[key], now.get(key, UNKNOWN))


def compare_files(registered: Mapping[str, str], folder: Path) -> Iterator[Mismatch]:
    """Files with another sha256, the model's own first, without those that always differ."""
    rebuilt = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in folder.rglob("*")
        if path.is_file()
    }
    names = (registered.keys() | rebuilt.keys()) - _NEVER_THE_SAME
    for name in sorted(names, key=lambda name: (not name.startswith("model."), name)):
        was, now = registered.get(name, "no such file"), rebuilt.get(name, "no such file")
        if was != now:
            yield Mismatch(name, was, now)
