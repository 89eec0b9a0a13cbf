"""Check this container's own server: `python -m modelyard.serving.probe [PATH]`.

The HEALTHCHECK of an image without curl. Standard library only; exits 0 when the answer is 2xx.
"""

from __future__ import annotations

import os
import socket
import sys

DEFAULT_PORT = 8000  # that of the settings, which take longer to import than the probe to answer
_TIMEOUT_S = 4.0


def probe(path: str, port: int) -> str:
    """The status line of `GET path` on the loopback address; OSError when there is none."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(request.encode())
        with connection.makefile("rb") as answer:
            return answer.readline(256).decode("latin-1").strip()


def main() -> int:
    """0 when the server answers 2xx, else 1 and a line that says what it answered."""
    path = sys.argv[1] if len(sys.argv) > 1 else "/livez"
    port = int(os.environ.get("SERVING_PORT") or DEFAULT_PORT)
    try:
        line = probe(path, port)
    except OSError as error:
        line = f"no answer on port {port}: {error}"
    healthy = line.startswith("HTTP/1.1 2")
    (sys.stdout if healthy else sys.stderr).write(f"{line}\n")
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
