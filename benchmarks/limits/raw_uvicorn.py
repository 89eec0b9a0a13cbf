"""The limit: a constant answer from raw uvicorn (uvloop, httptools), no framework, no model.

`python raw_uvicorn.py PORT`. The answer has the size and the headers of a prediction.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]
_BODY = b'{"prediction":[0.9712345600128174],"model":{"name":"bench-small","version":"1"}}'
_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"x-model-version", b"1"),
        (b"content-length", b"%d" % len(_BODY)),
        (b"x-request-id", b"0123456789ab-1"),
    ],
}
_END: Message = {"type": "http.response.body", "body": _BODY}


async def app(
    _scope: Message,
    _receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer without a look at the question."""
    await send(_START)
    await send(_END)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
    )
