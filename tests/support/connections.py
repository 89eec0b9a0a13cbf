"""Raw HTTP over a socket to a server in this process, as uvicorn runs it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from modelyard.serving.web.connection import Connection
from support.models.toy import ROW
from support.serving_app import Server

JSON_TYPE = b"application/json"
Result = TypeVar("Result")
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Answer:
    """One answer as it came over the wire."""

    status: int
    heads: dict[bytes, bytes]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


@dataclass
class Wire:
    """A listening server; `ordinary` are the paths that did not go the short way."""

    port: int
    connections: list[Connection] = field(default_factory=list)
    ordinary: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)

    async def connect(self) -> Ends:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, *pieces: bytes, answers: int = 1) -> list[Answer]:
        """What comes back when `pieces` are sent one after the other, each in a read of its own."""
        reader, writer = await self.connect()
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if len(pieces) > 1:
                    await asyncio.sleep(0.002)
            return [await read_answer(reader) for _ in range(answers)]
        finally:
            writer.close()


def request(
    body: Any, path: str = "/predict", kind: bytes | None = JSON_TYPE, **heads: str
) -> bytes:
    """A POST with `body`: bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1".encode(), b"host: server"]
    if kind is not None:
        lines.append(b"content-type: " + kind)
    lines += [f"{name.replace('_', '-')}: {value}".encode() for name, value in heads.items()]
    lines.append(b"content-length: %d" % len(content))
    return b"\r\n".join([*lines, b"", content])


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer on the connection."""
    text = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    first, *lines = text.rstrip().split(b"\r\n")
    heads = dict(line.split(b": ", 1) for line in lines)
    body = await reader.readexactly(int(heads.get(b"content-length", b"0")))
    return Answer(int(first.split()[1]), heads, body)


@asynccontextmanager
async def listening(
    server: Server, max_connections: int = 1000, **options: Any
) -> AsyncIterator[Wire]:
    """`server` behind uvicorn's configuration and our connections."""
    wire = Wire(0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        wire.ordinary.append(scope["path"])
        await server.app(scope, receive, send)

    config = uvicorn.Config(app, ws="none", log_config=None, access_log=False, **options)
    state = ServerState()

    def connect() -> Connection:
        made = Connection(
            server.app.direct, max_connections, config=config, server_state=state, app_state={}
        )
        wire.connections.append(made)
        return made

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: wire.errors.append(context))
    listener = await loop.create_server(connect, "127.0.0.1", 0)
    wire.port = listener.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        listener.close()
        for connection in wire.connections:
            connection.transport.close()
        await asyncio.sleep(0)
        assert not wire.errors, wire.errors


def over_the_wire(
    server: Server, work: Callable[[Wire], Awaitable[Result]], **options: Any
) -> Result:
    """What `work` returns when it is given a listening server."""

    async def main() -> Result:
        async with listening(server, **options) as wire:
            return await work(wire)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def amounts(answers: list[Answer]) -> list[float]:
    return [answer.value["prediction"][0] - 1000 for answer in answers]


def one(server: Server, *pieces: bytes) -> tuple[Answer, list[str]]:
    """The answer, and which paths took the ordinary way."""

    async def work(wire: Wire) -> tuple[Answer, list[str]]:
        [answer] = await wire.ask(*pieces)
        return answer, wire.ordinary

    return over_the_wire(server, work)


GOOD = request(ROW)


async def busy(wire: Wire, connections: int) -> list[Ends]:
    """Connections that asked together, so that what they ask next waits for the tick's end."""
    ends = [await wire.connect() for _ in range(connections)]
    for _, writer in ends:  # so that the server has met them all
        writer.write(GOOD)
    for reader, _ in ends:
        await read_answer(reader)
    for connection in wire.connections:
        connection.data_received(GOOD)
    for reader, _ in ends:
        await read_answer(reader)
    return ends
