"""Request ids: a sane one that came with the request is kept, else one is made."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from itertools import count

HEADER = b"x-request-id"
_sane = re.compile(rb"[A-Za-z0-9._~+/=-]{1,128}").fullmatch


class RequestIds:
    """Gives each request its id; those made here are unique by process and by request."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = count(1)

    def of(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The id of the request that has these (lower-case) ASGI headers."""
        for name, value in headers:
            if name == HEADER:
                if _sane(value):
                    return value
                break
        return b"%s-%x" % (self._prefix.encode(), next(self._numbers))
