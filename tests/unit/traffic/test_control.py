"""The control socket: what the gateway says, and what is said when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from modelyard.errors import TrafficError
from modelyard.traffic.control import (
    GatewayControl,
    GatewayCounts,
    GatewayState,
    ServerCounts,
    is_challenger,
)

COLUMNS = (
    "pxname,svname,scur,stot,cli_abrt,status,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,"
    "hrsp_other,"
)
STATE = f"""\
type=str, case=sensitive, found=yes, key="split", value="canary:1000::1763646003", type="str"

sent=5 dropped=3 failed=0 present=7 absent=2

# {COLUMNS}
api,FRONTEND,1,900,,OPEN,0,880,0,10,10,0,
ready,s1,0,500,2,UP,0,490,0,5,3,0,
ready,BACKEND,0,500,2,UP,0,490,0,5,3,0,
arms,challenger1,2,100,1,UP,0,90,0,4,1,0,
arms,challenger2,0,0,0,MAINT (resolution),0,0,0,0,0,0,
challengers,challenger1,0,7,0,UP 1/2,0,7,0,0,0,0,
challengers,challenger2,0,0,0,MAINT (resolution),0,0,0,0,0,0,
challengers,BACKEND,0,7,0,UP,0,7,0,0,0,0,

"""


async def talk(
    folder: Path, answer: str, ask: Callable[[GatewayControl], Awaitable[object]]
) -> tuple[object, str]:
    """Ask a socket that answers `answer`; the result, and what it was sent."""
    heard: list[bytes] = []

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        writer.write(answer.encode())
        await writer.drain()
        writer.close()

    path = folder / "control.sock"
    server = await asyncio.start_unix_server(reply, path)
    async with server:
        result = await ask(GatewayControl(path))
    return result, heard[0].decode()


def test_the_state_is_read_in_one_question(tmp_path: Path) -> None:
    state, sent = asyncio.run(talk(tmp_path, STATE, GatewayControl.state))
    assert isinstance(state, GatewayState)
    assert sent.count("\n") == 1
    assert (state.entry, state.until) == ("canary:1000:", 1763646003)
    assert state.counts == GatewayCounts(copies_dropped=3, with_key=7, without_key=2)
    assert state.challengers == 1
    assert state.servers["arms/challenger1"] == ServerCounts(100, 94, 1, 2)
    assert state.servers["ready/s1"] == ServerCounts(500, 495, 2, 0)
    assert [name for name in state.servers if is_challenger(name)] == [
        "arms/challenger1",
        "arms/challenger2",
        "challengers/challenger1",
        "challengers/challenger2",
    ]


def test_the_split_is_set_by_one_command(tmp_path: Path) -> None:
    _, sent = asyncio.run(talk(tmp_path, "\n", lambda gateway: gateway.split("ab:5000:X-Key", 17)))
    assert sent == "set map /usr/local/etc/haproxy/split.map split ab:5000:X-Key:17\n"


def test_a_refusal_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(TrafficError, match="entry not found"):
        asyncio.run(talk(tmp_path, "entry not found.\n", lambda g: g.split("off::")))


@pytest.mark.parametrize(
    "answer",
    [
        "Unknown map identifier.\n",
        STATE.replace("canary:1000::1763646003", "canary:1000:"),  # of a version without an end
        STATE.replace(" present=7 absent=2", ""),
    ],
)
def test_another_gateway_is_said(tmp_path: Path, answer: str) -> None:
    with pytest.raises(TrafficError, match="does not know the split"):
        asyncio.run(talk(tmp_path, answer, GatewayControl.state))


def test_a_gateway_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrafficError, match="does not answer") as caught:
        asyncio.run(GatewayControl(tmp_path / "nobody.sock").state())
    assert "docker compose" in caught.value.fix
