"""Which versions of the cache were proved before: a proof costs half a second, and lasts."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import onnxruntime


class ProofRecord:
    """What is known of a version in the cache: a file beside its own files says it.

    A proof holds for the same files and the same onnxruntime. Where the folder cannot be written,
    nothing is remembered, and every load proves again.
    """

    def __init__(self, folder: Path, sha256: Mapping[str, str]) -> None:
        """The record of the version in `folder`, whose files have these sums."""
        self._file = folder / "proof.json"
        about = json.dumps([onnxruntime.__version__, sorted(sha256.items())])
        self._about = hashlib.sha256(about.encode()).hexdigest()

    @property
    def is_proved(self) -> bool:
        """Whether it was opened and tried before, and all went well."""
        return self._read() == "proved"

    @property
    def is_suspect(self) -> bool:
        """Whether a server began to open it, and was never heard of again."""
        return self._read() == "begun"

    def begin(self) -> None:
        """It is opened in this process now."""
        self._write("begun")

    def succeed(self) -> None:
        """It was opened and tried."""
        self._write("proved")

    def forget(self) -> None:
        """It was refused in good order, and is no suspect."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _read(self) -> str:
        try:
            content = json.loads(self._file.read_text())
            return str(content["state"]) if content["about"] == self._about else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _write(self, state: str) -> None:
        beside = self._file.with_name(f".proof.{os.getpid()}")
        with suppress(OSError):
            beside.write_text(json.dumps({"about": self._about, "state": state}))
            beside.replace(self._file)
