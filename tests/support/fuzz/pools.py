"""What is put in the place of something valid."""

from __future__ import annotations

from typing import Any

from support.fuzz.grammar import CANARY
from support.fuzz.tree import Raw

_TOKENS = r"""
NaN nan Infinity -Infinity 1e999 -1e999 1e-999 -0 -0.0 1E2 0.1e1 +1 01 1. .5 0x10 1_0 9.0 1e0
23e0 -9223372036854775809 18446744073709551616 9.00000000000000000001 "\ud800" "\u0000" "\x" '5'
tru True None undefined {} /**/1 1,
"""
_LONG = ["9" * 400, "9" * 401, "9" * 5000, "1" + "0" * 300, f'"{"x" * 3000}"', "", "1 1", '"\x01"']
_DEEP = ["[" * n + "]" * n for n in (5, 7, 8, 31, 40)] + ['{"a":' * 33 + "1" + "}" * 33]
_NUMBERS = [999.0000001, -1e-300, -1, 1000, 23.0, 23.5, 24, -5e-324]
_NUMBERS += [2**53 + 1, 2**63, 2**64, 1e308]
_TEXTS = ["", "5", "9.0", "9.", " 5", "5 ", "1e2", "1e400", "-0", "\u0663", "\uff15", "1_0", "0x5",
          "nan", "inf", "true", "True", "TRUE", "tRue", "on", "1", "0", "grocery", "Grocery",
          "\U0001f600" * 9, "\xfc" * 8, "x" * 9, "\0", "\ufeff", CANARY, CANARY + "+"]  # fmt: skip

VALUES: list[Any] = [
    *map(Raw, [*_TOKENS.split(), *_LONG, *_DEEP]),
    *(True, False, None, *_NUMBERS, *_TEXTS),
    *([], [1], [[1]], ["grocery"]),
]
NEAR: dict[type, list[Any]] = {
    bool: [0, 1, 0.0, "true", "yes", None],
    int: [9.5, 9.0, -1, 24, 1000, "9", "9.5", True, None],
    float: ["12.5", Raw("NaN"), -1.5, 999.5, True, None, 12],
    str: [CANARY, CANARY + CANARY, "x" * 9, 5, 5.0, True, None],
}
"""Values that are almost a feature's own, by the type that it has."""
DEEP = [Raw(text) for text in _DEEP]
KEYS = ["columns", "inputs", "instances", "dataframe_split", "dataframe_records", "data", "params",
        "name", "shape", "datatype", "parameters", "binary_data_size", "id", "outputs", "amount ",
        "Amount", "hour", "note", "", "\xe9", "x" * 300, "__proto__", "\u202e"]  # fmt: skip
PIECES = [b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r\n", b"\n", b'"', b"\\",
          b",", b":", b"{", b"}", b"[", b"]", b" ", b"e", b"-", b"0", b"\x7f", b"%",
          b"\xf0\x9f\x98\x80", b"\xfe\xff"]  # fmt: skip

METHODS = b"GET PUT DELETE HEAD OPTIONS PATCH TRACE post POS CONNECT PRI QUERY".split()
VERSIONS = [
    b"HTTP/1.0",
    b"HTTP/1.1 ",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"http/1.1",
    b"",
    b"HTTP/11",
]
LENGTHS = [*b"0 -1 +5 0x5 5.0 00005 1e3".split(), b"5 ", b" 5", b"5, 5", b"", b"\xd9\xa3"]
LENGTHS += [b"9" * 19, b"9" * 5000]
IN_PATHS = [*b"%0a %00 %zz % %2f // /../ /./ ? ?a=1 #x ;v=1 %20 / \\".split(), b"\xff"]
TRAILERS = [b"\r\n"] * 3 + [b"x-trailer: 1\r\n\r\n", b"content-length: 3\r\n\r\n", b"", b"x"]
CHUNKS = [b"zz\r\n", b"-1\r\n\r\n", b"", b"ffffffffffffffff\r\n", b"1\nx\n"]
KINDS = [
    *(
        b"application/json; charset=utf-8",
        b'application/json; charset="utf-8"',
        b"APPLICATION/JSON",
    ),
    *(
        b"application/json;charset=latin-1",
        b"application/jsonx",
        b"application/json, text/csv",
        b"",
    ),
    *(
        b"application/json; v=1",
        b"text/plain",
        b"text/csv",
        b"application/octet-stream",
        b"\xff\xfe",
    ),
    *(b"application/vnd.apache.arrow.stream", b"multipart/form-data; boundary=x"),
]
_LINES = b"""
accept: application/vnd.apache.arrow.stream
accept: */*
accept: text/html
accept: application/json, application/vnd.apache.arrow.stream
x-request-id: not sane!
x-request-id: two
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
traceparent: 00-no
connection: close
connection: keep-alive
connection: Upgrade, HTTP2-Settings
connection: upgrade
upgrade: h2c
upgrade: websocket
http2-settings: AAMAAABkAAQCAAAAAAIAAAAA
expect: 100-continue
expect: 200-ok
transfer-encoding: chunked
transfer-encoding: gzip, chunked
transfer-encoding: identity
transfer-encoding: xchunked
inference-header-content-length: 5
inference-header-content-length: -1
origin: https://example.org
x-forwarded-for: 127.0.0.1
host: other
te: trailers
bad name: 1
range: bytes=0-1
"""
HEADS: list[tuple[bytes, bytes]] = [
    *((line.partition(b": ")[0], line.partition(b": ")[2]) for line in _LINES.splitlines() if line),
    *((b"x-request-id", b"a" * 129), (b"x-request-id", b""), (b"cookie", b"a=" + b"b" * 3000)),
    *((b"inference-header-content-length", b"9" * 5000), (b"x-n", b"9" * 5000), (b"x-h", b"\xff")),
    *((b"x\0", b"1"), (b"x", b"a\0b"), (b"x", b"a\r\n folded"), (b"", b"1")),
]
