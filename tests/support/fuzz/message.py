"""One HTTP request as it is put on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Head = tuple[bytes, bytes]


@dataclass
class Message:
    """A request in parts, each of which can be broken before it is written.

    Attributes:
        chunks: the body in these chunks; None for a body with a length.
        length: the text of Content-Length; None for the right one.
        patches: places, from the end of the head, where bytes are put in its stead.
    """

    path: bytes
    body: bytes = b""
    method: bytes = b"POST"
    version: bytes = b"HTTP/1.1"
    heads: list[Head] = field(default_factory=list)
    chunks: list[bytes] | None = None
    length: bytes | None = None
    line_end: bytes = b"\r\n"
    trailer: bytes = b""

    def text(self) -> bytes:
        """Its bytes."""
        heads = list(self.heads)
        body = self.body
        if self.chunks is not None:
            heads.append((b"transfer-encoding", b"chunked"))
            body = b"".join(self.chunks) + self.trailer
        if self.length is not None or (
            self.chunks is None and (self.body or self.method == b"POST")
        ):
            heads.append(
                (
                    b"content-length",
                    self.length if self.length is not None else b"%d" % len(self.body),
                )
            )
        lines = [self.method + b" " + self.path + b" " + self.version]
        lines += [name + b": " + value for name, value in heads]
        return self.line_end.join([*lines, b"", b""]) + body

    def without(self, name: bytes) -> None:
        """Leave a header out."""
        self.heads = [head for head in self.heads if head[0].lower() != name]

    def put(self, name: bytes, value: bytes) -> None:
        """One header instead of those of that name."""
        self.without(name)
        self.heads.append((name, value))


def chunked(parts: Iterable[bytes]) -> list[bytes]:
    """The chunks of a body, the last one included."""
    return [b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part] + [b"0\r\n"]
