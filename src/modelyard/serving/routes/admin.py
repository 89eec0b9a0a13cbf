"""Who may change what is served: clients with the token in the file that the settings name."""

from __future__ import annotations

import hmac
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from modelyard.serving.problem import Problem

_bearer = HTTPBearer(auto_error=False, description="The token in SERVING_ADMIN_TOKEN_FILE.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
"""The bearer token of a request, as FastAPI reads it; None without one."""


class AdminToken:
    """The token in `path`, read for every check, so that a new one counts at once."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def check(self, credentials: HTTPAuthorizationCredentials | None) -> None:
        """Refuse a request without the token.

        Raises:
            Problem: 401 without any token, 403 with a wrong one, or when the server has none.
        """
        expected = b""
        if self._path is not None:
            with suppress(OSError):  # an unreadable token is as good as none
                expected = self._path.read_bytes().strip()
        if not expected:
            raise Problem(
                "admin-closed",
                403,
                "Forbidden",
                "This server has no admin token, so it refuses every admin request.",
                fix="Set SERVING_ADMIN_TOKEN_FILE to a file that holds one.",
            )
        if credentials is None:
            raise Problem(
                "token-required",
                401,
                "Unauthorized",
                "An admin request needs the header `Authorization: Bearer TOKEN`.",
                headers={"www-authenticate": "Bearer"},
            )
        given = credentials.credentials.encode("utf-8", "replace")
        if not hmac.compare_digest(given, expected):
            raise Problem("wrong-token", 403, "Forbidden", "This is not the admin token.")
