"""What the head of every request has to keep before anything looks at its path or its headers.

A path that two readers decode differently, or a header that came twice, means one thing to a proxy
in front and another to the server. Such a request is refused here, with the reason, and reaches no
route. The gateway's own list of paths (configs/gateway/routes.map) does the same from outside.
"""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import unquote_to_bytes

from modelyard.serving.problem import Problem
from modelyard.serving.protocols.body import RequestHeaders
from modelyard.serving.web.request_id import HEADER, TRACE_HEADER

Pairs = list[tuple[bytes, bytes]]
"""Headers as they came: names in lower case, in their order."""

MAX_HEADERS = 100
_IDENTITIES = frozenset({HEADER, TRACE_HEADER})
_ONCE = frozenset(
    b"authorization content-encoding content-length content-type expect host origin "
    b"inference-header-content-length transfer-encoding".split()
)
_ACCEPT = b"accept"
_CHUNKED = b"chunked"
_MOST_DIGITS = 18
"""Of Content-Length: leading zeros count, and Python refuses to read thousands of them."""

_PATH = re.compile(rb"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*").fullmatch
_PLAIN = re.compile(rb"/[A-Za-z0-9_~/-]*").fullmatch
_FIX = "Send the path as /docs lists it; percent-encode only the name of a model, in UTF-8."


def check_path(raw_path: bytes) -> None:
    """Refuse a path that may be read in more than one way.

    Args:
        raw_path: as it was sent, without the query.

    Raises:
        Problem: 400 with the reason.
    """
    if _PLAIN(raw_path) and b"//" not in raw_path:
        return
    if reason := _fault_of(raw_path):
        raise Problem("bad-path", 400, "Bad Request", f"The path {reason}.", fix=_FIX)


def _fault_of(raw_path: bytes) -> str:
    """What is wrong with a path; empty when nothing is."""
    if not _PATH(raw_path):
        return (
            'must begin with "/", hold no character that has to be percent-encoded, and no "%" '
            "without two hexadecimal digits"
        )
    if b"//" in raw_path:
        return 'has an empty part: "//"'
    try:
        parts = [unquote_to_bytes(part).decode() for part in raw_path[1:].split(b"/")]
    except UnicodeDecodeError:
        return "holds percent-encoded bytes that are not UTF-8"
    if {".", ".."} & set(parts):
        return 'has a part "." or ".."'
    if any("/" in part or "\\" in part or not part.isprintable() for part in parts):
        return "has a percent-encoded slash, backslash or character that cannot be printed"
    return ""


def check_headers(pairs: Pairs) -> RequestHeaders:
    """The headers by name, where each has one meaning.

    The request's id and its trace count as not sent when they came twice: they decide nothing, and
    the server gives the request an id.

    Raises:
        Problem: 400 for a header that came twice, a length of too many digits or a
            transfer coding, 431 for too many headers.
    """
    headers = dict(pairs)
    if len(pairs) > MAX_HEADERS:
        raise Problem(
            "too-many-headers",
            431,
            "Request Header Fields Too Large",
            f"A request may have {MAX_HEADERS} headers, found {len(pairs)}.",
        )
    if len(headers) != len(pairs):
        for name in _repeated(pairs):
            if name in _ONCE:
                raise Problem(
                    "repeated-header",
                    400,
                    "Bad Request",
                    f"The header {name.decode().title()} came twice: it is not clear which counts.",
                    fix="Send it once.",
                )
            if name in _IDENTITIES:
                del headers[name]
            elif name == _ACCEPT:  # a list, which may come in parts
                headers[name] = b", ".join(value for other, value in pairs if other == name)
    if len(headers.get(b"content-length", b"")) > _MOST_DIGITS:
        raise Problem(
            "bad-length",
            400,
            "Bad Request",
            f"The header Content-Length must be a number of at most {_MOST_DIGITS} digits.",
        )
    if headers.get(b"transfer-encoding", _CHUNKED).lower() != _CHUNKED:
        raise Problem(
            "transfer-coding",
            400,
            "Bad Request",
            "The body's transfer coding is not supported.",
            fix="Send the body with Content-Length, or chunked.",
        )
    return headers


def identities(pairs: Pairs) -> RequestHeaders:
    """What names a request that is refused: the headers that came once."""
    once = _IDENTITIES - _repeated(pairs)
    return {name: value for name, value in pairs if name in once}


def _repeated(pairs: Pairs) -> set[bytes]:
    return {name for name, times in Counter(name for name, _ in pairs).items() if times > 1}
