"""A cable to an S3 store that does harm to the objects that are fetched through it."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Harm:
    """What happens to each object whose name ends with `name`.

    Attributes:
        how: "slow": its bytes come one by one; "cut": the connection ends within them; "flip": one
            of their bits is another one.
        at_byte: where, counted in the object's bytes; those before it come as they are.
    """

    how: str
    name: str
    at_byte: int = 100


class FaultyStore:
    """Carries HTTP/1.1 to a store and back; harm is done to answers to a GET of an object."""

    def __init__(self, store_url: str) -> None:
        target = urlsplit(store_url)
        self._target = (target.hostname, target.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.done = 0
        """How often harm was done."""
        self._harm: Harm | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    @contextmanager
    def harming(self, harm: Harm) -> Iterator[None]:
        """Within the block."""
        self._harm = harm
        try:
            yield
        finally:
            self._harm = None

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """Both ways; each request is seen whole before its answer, as boto3 sends them."""
        with client, socket.create_connection(self._target) as server:
            harms: list[Harm | None] = []
            back = threading.Thread(target=self._back, args=(server, client, harms), daemon=True)
            back.start()
            with suppress(OSError):
                while data := client.recv(_CHUNK_BYTES):
                    harms[:] = [self._harm_to(data)] if data[:4] in (b"GET ", b"HEAD") else harms
                    server.sendall(data)
            with suppress(OSError):
                server.shutdown(socket.SHUT_WR)
            back.join()

    def _harm_to(self, request: bytes) -> Harm | None:
        harm = self._harm
        path = request.split(b" ", 2)[1].split(b"?")[0]
        is_met = harm is not None and request[:4] == b"GET " and path.endswith(harm.name.encode())
        return harm if is_met else None

    def _back(self, server: socket.socket, client: socket.socket, harms: list[Harm | None]) -> None:
        with suppress(OSError):
            while data := server.recv(_CHUNK_BYTES):
                if harms and harms[0] is not None:
                    self._do_harm(harms[0], data, server, client)
                    harms[:] = [None]
                else:
                    client.sendall(data)

    def _do_harm(
        self, harm: Harm, data: bytes, server: socket.socket, client: socket.socket
    ) -> None:
        """Pass one answer on, which begins with `data`."""
        while b"\r\n\r\n" not in data:
            data += server.recv(_CHUNK_BYTES)
        start = data.index(b"\r\n\r\n") + 4
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", data[:start])
        assert length is not None
        while len(data) < start + int(length[1]):
            data += server.recv(_CHUNK_BYTES)
        self.done += 1
        at = start + min(harm.at_byte, int(length[1]) - 1)
        match harm.how:
            case "flip":
                client.sendall(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            case "cut":
                client.sendall(data[:at])
                client.shutdown(socket.SHUT_RDWR)
            case "slow":
                client.sendall(data[:at])
                while self._harm is harm and at < len(data):
                    client.sendall(data[at : at + 1])
                    at += 1
                    time.sleep(0.05)
                client.sendall(data[at:])
