"""What is never read in the thread of the event loop: bodies of more than a few kilobytes."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from modelyard.serving.protocols.casts import _number
from modelyard.serving.protocols.exchange import INLINE_BODY_BYTES
from support.models.toy import NAME
from support.serving_app import Server

KINDS = [
    ("/predict", "application/json", b"[{}"),
    ("/predict", "application/json", b'{"columns":{}'),
    ("/predict", "application/vnd.apache.arrow.stream", b"\xff\xff\xff\xff"),
    ("/invocations", "application/json", b'{"dataframe_records":[]'),
    ("/invocations", "application/json", b'{"dataframe_split":{}'),
    ("/invocations", "application/json", b'{"instances":[]'),
    ("/invocations", "application/json", b'{"inputs":[]'),
    ("/invocations", "text/csv", b"amount"),
    (f"/v2/models/{NAME}/infer", "application/json", b'{"inputs":[]'),
    (f"/v2/models/{NAME}/infer", "application/octet-stream", b'{"inputs":[]'),
]


@pytest.mark.parametrize(("path", "content_type", "start"), KINDS)
def test_a_large_body_is_read_in_another_thread(
    server: Server, path: str, content_type: str, start: bytes
):
    """By every reader, and whatever is wrong with it."""
    protocol, readers = server.app._addresses.at(path), []
    headers = {"content-type": content_type}
    if content_type.endswith("octet-stream"):
        headers["inference-header-content-length"] = "12"
    plain = {name.encode(): value.encode() for name, value in headers.items()}
    form = protocol.format_of({"type": "http", "method": "POST", "path": path}, plain)
    read = form.read

    def recorded(spec, body):
        readers.append((len(body), threading.get_ident()))
        return read(spec, body)

    form.read = recorded
    type(protocol).format_of, original = (lambda *_: form), type(protocol).format_of
    large = start + b" " * (INLINE_BODY_BYTES + 1 - len(start))

    async def main(client: httpx.AsyncClient) -> int:
        for body in (large, large[:-1]):
            answer = await client.post(path, content=body, headers=headers)
            assert 400 <= answer.status_code < 500, answer.text
        return threading.get_ident()

    try:
        loop = server.run(main)
    finally:
        type(protocol).format_of = original
    assert [(size, ident == loop) for size, ident in readers] == [
        (INLINE_BODY_BYTES + 1, False),
        (INLINE_BODY_BYTES, True),
    ]


def test_the_short_way_declines_a_large_body(server: Server):
    def accepts(length: int) -> bool:
        headers = {b"content-type": b"application/json", b"content-length": b"%d" % length}
        return server.app.direct.accept(b"/predict", headers) is not None

    async def main() -> tuple[bool, bool]:
        return accepts(INLINE_BODY_BYTES), accepts(INLINE_BODY_BYTES + 1)

    assert asyncio.run(main()) == (True, False)


@pytest.mark.parametrize("text", ["1", "-1.5", "+.5", "1.", "1e5", "1.5E-3", "9" * 400])
def test_a_number_in_text_is_one(text: str):
    assert _number(text)


@pytest.mark.parametrize("text", ["", ".", "1..2", "1e", "nan", "inf", "1_0", "9" * 401, "9" * 900])
def test_what_is_no_number_in_text_is_none(text: str):
    assert not _number(text)
