"""The gateway's control socket (HAProxy's runtime API): the split that holds, and counts."""

from __future__ import annotations

import asyncio
import csv
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from modelyard.errors import TrafficError

SPLIT_MAP = "/usr/local/etc/haproxy/split.map"
"""In the gateway. The file says "off"; what is set through the socket is in its memory only."""

_TIMEOUT_S = 1.0
_ANSWERED = ("hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_other")
_CHALLENGER = "challenger"
_BACKENDS = {"ready", "arms", "challengers"}
_SPLIT = re.compile(r'value="([^"]*):(\d+)"')
_COUNTS = re.compile(
    r"^sent=\d+ dropped=(\d+) failed=\d+ present=(\d+) absent=(\d+)$", re.MULTILINE
)
_SUMS = {"BACKEND", "FRONTEND"}


@dataclass(frozen=True)
class ServerCounts:
    """What HAProxy counted for one server since HAProxy started.

    Args:
        sessions: requests that were sent to it, retries included.
        answered: answers below 500.
        client_aborts: requests whose client disconnected.
        current: requests in flight.
    """

    sessions: int = 0
    answered: int = 0
    client_aborts: int = 0
    current: int = 0


@dataclass(frozen=True)
class GatewayCounts:
    """What the gateway counts apart from its servers.

    Args:
        copies_dropped: shadow requests that were not sent.
        with_key: requests under A/B that carried the key.
        without_key: requests under A/B without the key, assigned at random.
    """

    copies_dropped: int = 0
    with_key: int = 0
    without_key: int = 0

    def __add__(self, other: GatewayCounts) -> GatewayCounts:
        return GatewayCounts(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: GatewayCounts) -> GatewayCounts:
        return GatewayCounts(*map(operator.sub, astuple(self), astuple(other)))


@dataclass(frozen=True)
class GatewayState:
    """The gateway at one moment.

    Args:
        entry: the split that holds, as `Plan.entry`.
        until: when it ends by itself, in seconds of Unix time; 0 where it never began.
        servers: counts by "backend/server".
        challengers: number of challengers that are ready.
        counts: other counts since HAProxy started.
    """

    entry: str
    until: int
    servers: Mapping[str, ServerCounts]
    challengers: int
    counts: GatewayCounts


def is_challenger(server: str) -> bool:
    """Whether "backend/server" is a challenger."""
    return server.partition("/")[2].startswith(_CHALLENGER)


class GatewayControl:
    """Reads and sets the gateway's split through the socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def state(self) -> GatewayState:
        """The gateway's split and counts now.

        Raises:
            TrafficError: it does not answer, or not as HAProxy does.
        """
        text = await self._ask(f"get map {SPLIT_MAP} split; show arms; show stat")
        answer, mark, table = text.partition("# pxname")
        split, counted = _SPLIT.search(answer), _COUNTS.search(answer)
        if not (mark and split and counted):
            raise TrafficError(
                "The gateway does not know the split.",
                fix="Its configuration is not the project's configs/gateway: "
                "docker compose up -d --force-recreate gateway",
            )
        rows = list(csv.DictReader(("pxname" + table).splitlines()))
        ready = sum(
            row["pxname"] == "challengers"
            and row["svname"] not in _SUMS
            and row["status"].startswith("UP")
            for row in rows
        )
        counts = GatewayCounts(*map(int, counted.groups()))
        return GatewayState(split[1], int(split[2]), read_servers(rows), ready, counts)

    async def split(self, entry: str, until: int = 0) -> None:
        """Set the split `entry` for every request that begins after this.

        Args:
            entry: as `Plan.entry`.
            until: seconds of Unix time after which the gateway treats it as "off".

        Raises:
            TrafficError: the gateway does not answer, or refuses.
        """
        if answer := (await self._ask(f"set map {SPLIT_MAP} split {entry}:{until}")).strip():
            raise TrafficError(f"The gateway refused the split: {answer}")

    async def _ask(self, command: str) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self._path)
                try:
                    writer.write(command.encode() + b"\n")
                    return (await reader.read(-1)).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise TrafficError(
                f"The gateway does not answer at {self._path} ({type(error).__name__}).",
                fix="docker compose ps gateway shows its state, docker compose up -d starts it.",
            ) from error


def read_servers(rows: Iterable[Mapping[str, str]]) -> dict[str, ServerCounts]:
    """Counts by "backend/server" from the rows of `show stat`."""
    return {
        f"{row['pxname']}/{row['svname']}": ServerCounts(
            sessions=int(row["stot"] or 0),
            answered=sum(int(row[name] or 0) for name in _ANSWERED),
            client_aborts=int(row["cli_abrt"] or 0),
            current=int(row["scur"] or 0),
        )
        for row in rows
        if row["pxname"] in _BACKENDS and row["svname"] not in _SUMS
    }
