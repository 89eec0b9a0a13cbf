"""Who may call `/admin`: whoever has the token in the file that the settings name."""

from __future__ import annotations

import hmac
from pathlib import Path

from modelyard.serving.problem import Problem


class AdminToken:
    """The token in `path`, read each time, so that a new one holds at once."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def check(self, given: str | None) -> None:
        """Refuse whoever does not give the token.

        Raises:
            Problem: 401 without a token, 403 with another one or when none is set.
        """
        expected = self._read()
        if not expected:
            raise Problem(
                "admin-closed",
                403,
                "Forbidden",
                "This server has no admin token, so it takes no admin request.",
                fix="Set SERVING_ADMIN_TOKEN_FILE to a file that holds one.",
            )
        if given is None:
            raise Problem(
                "token-required",
                401,
                "Unauthorized",
                "An admin request needs the header `Authorization: Bearer TOKEN`.",
                headers={"www-authenticate": "Bearer"},
            )
        if not hmac.compare_digest(given.encode("utf-8", "replace"), expected):
            raise Problem("wrong-token", 403, "Forbidden", "This is not the admin token.")

    def _read(self) -> bytes:
        if self._path is None:
            return b""
        try:
            return self._path.read_bytes().strip()
        except OSError:
            return b""
