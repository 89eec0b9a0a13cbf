"""A version's files: downloaded, and checked against what was registered."""

from __future__ import annotations

from enum import StrEnum


class Verification(StrEnum):
    """How far a version's files were checked against what was registered."""

    VERIFIED = "verified"
    UNANCHORED = "unanchored"
    ABSENT = "absent"

    @property
    def explanation(self) -> str:
        """The same as a sentence."""
        return {
            "verified": "Every file has the sha256 that was registered with the version.",
            "unanchored": "Every file agrees with manifest.json, whose own sha256 the registry "
            "does not keep.",
            "absent": "The version carries no manifest: nothing says what its files should be.",
        }[self.value]
