"""What a request for predictions has to be answered, from its headers and its body."""

from __future__ import annotations

from collections.abc import Callable

from support.fuzz import reference_inference, reference_scoring
from support.fuzz.case import Case
from support.fuzz.framing import Asked
from support.fuzz.reference import Lists, Sizes, Verdict, judge, native
from support.protocol_requests import ARROW

_JSON, _CSV = b"application/json", b"text/csv"
_TYPES = {"/predict": (_JSON, ARROW.encode()), "/invocations": (_JSON, _CSV)}
_TENSOR_TYPES = (b"", _JSON, b"application/octet-stream")
_DOUBTFUL = (b"expect", b"upgrade", b"te", b"http2-settings")
_ONCE = (b"content-type", b"content-encoding", b"accept", b"inference-header-content-length",
         b"transfer-encoding", b"content-length", b"host")  # fmt: skip
NONE, OPEN = Verdict(None), Verdict(None, must=False)


def is_for_predictions(path: str) -> bool:
    """Whether predictions are asked for at this path."""
    return path in _TYPES or reference_inference.ADDRESS.fullmatch(path) is not None


def expected(case: Case, asked: Asked, sizes: Sizes) -> Verdict:
    """What a POST to such a path has to be answered.

    What is unusual around a body may also be a reason to refuse it.
    """
    verdict = _by_headers(case, asked, sizes)
    names = [name for name, _ in asked.heads]
    is_odd = (
        b"%" in asked.url
        or b"#" in asked.url
        or not asked.url.startswith(b"/")
        or asked.version != "1.1"
    )
    is_odd |= any(name in _DOUBTFUL for name in names) or not asked.is_whole or asked.upgrades
    is_odd |= any(names.count(name) > 1 for name in _ONCE)
    return Verdict(verdict.numbers, must=False) if is_odd else verdict


def _by_headers(case: Case, asked: Asked, sizes: Sizes) -> Verdict:
    kind = _media_type(asked.head(b"content-type") or b"")
    is_plain = (asked.head(b"content-encoding") or b"").lower() in (b"", b"identity")
    is_taken = kind in _TYPES.get(asked.path, _TENSOR_TYPES)
    if not is_plain or not is_taken:
        return NONE
    if asked.path == "/predict" and kind != _JSON:
        return _of_stream(case, asked.body, sizes)
    return judge(_reader(asked, kind, sizes))


def _reader(asked: Asked, kind: bytes, sizes: Sizes) -> Callable[[], Lists]:
    if asked.path == "/predict":
        return lambda: native(asked.body, sizes)
    if asked.path == "/invocations":
        read = reference_scoring.table_of_text if kind == _CSV else reference_scoring.layouts
        return lambda: read(asked.body, sizes)
    json_bytes = asked.head(b"inference-header-content-length")
    return lambda: reference_inference.tensors(asked.path, asked.body, json_bytes, sizes)


def _media_type(content_type: bytes) -> bytes | None:
    """The bare type; None for a charset that is not UTF-8."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    for parameter in parameters:
        name, _, charset = parameter.partition(b"=")
        if name.strip() == b"charset" and charset.strip(b'" ') not in (b"utf-8", b"utf8"):
            return None
    return kind


def _of_stream(case: Case, body: bytes, sizes: Sizes) -> Verdict:
    for known, numbers in case.arrows:
        if known == body:
            is_small = len(body) <= sizes.batch_body and len(numbers) <= sizes.batch_rows
            return Verdict(list(numbers)) if is_small else NONE
    return OPEN  # a broken stream: pyarrow, which could say, may not survive it
