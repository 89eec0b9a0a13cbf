"""What every prediction server by itself says that it serves."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

_TIMEOUT_S = 3.0
_MOST = 64


@dataclass(frozen=True)
class Replica:
    """One server: what it serves, since when, and what keeps it from serving what it should.

    `version` and `since` (ISO 8601) are empty while it serves nothing, `why` while all is well.
    """

    service: str
    name: str
    address: str
    model: str = ""
    version: str = ""
    since: str = ""
    wanted: str = ""
    why: str = ""

    def sentence(self) -> str:
        """What it serves, since when, and why it does not serve what it should."""
        if not self.version:
            return self.why
        since = datetime.fromisoformat(self.since).astimezone(UTC)
        said = f"{self.model} version {self.version} since {since:%Y-%m-%d %H:%M:%S} UTC"
        if self.wanted not in ("", self.version):
            said += f", not {self.wanted}"
        return f"{said} ({self.why})" if self.why else said


def ask_replicas(hosts: Sequence[str]) -> list[Replica]:
    """Ask every server behind every one of the `hosts` (NAME:PORT), all at once.

    A name that stands for no address has no server; each address of a name is a server of its own.
    """
    found = [(host, ip) for host in hosts for ip in _addresses(host)]
    if not found:
        return []
    with ThreadPoolExecutor(min(len(found), _MOST)) as pool:
        return sorted(pool.map(_ask, found), key=_order)


def ask(url: str, service: str = "", name: str = "") -> Replica:
    """Ask the server at `url`, or whichever one a gateway there chooses."""
    unknown = Replica(service, name, url)
    try:
        answer = httpx.get(f"{url}/model", timeout=_TIMEOUT_S)
        body = answer.json()
        if answer.status_code != httpx.codes.OK:
            return replace(unknown, why=str(body.get("detail", answer.status_code)))
        why = _why(body)
        health = httpx.get(f"{url}/health", timeout=_TIMEOUT_S)
        if health.status_code != httpx.codes.OK:
            why = str(health.json().get("detail", health.status_code))
        return replace(
            unknown,
            model=str(body["name"]),
            version=str(body["version"]),
            since=str(body["loaded_at"]),
            wanted=str((body.get("follower") or {}).get("wanted_version") or ""),
            why=why,
        )
    except (httpx.HTTPError, ValueError, KeyError, AttributeError) as error:
        return replace(unknown, why=f"no answer ({type(error).__name__})")


def disagreement(replicas: Iterable[Replica]) -> str:
    """A sentence when servers of one service serve different versions; else empty."""
    versions: dict[str, set[str]] = {}
    for replica in replicas:
        versions.setdefault(replica.service, set()).add(replica.version or "nothing")
    return "; ".join(
        f"{service} serves {' and '.join(sorted(found))}"
        for service, found in versions.items()
        if len(found) > 1
    )


def _why(body: dict[str, Any]) -> str:
    """What the body of `/model` says about a version that should be served and is not."""
    if error := body.get("last_error"):
        state = (body.get("follower") or {}).get("state", "not following")
        return f"{state}: {error}"
    return "stale: the registry has not confirmed it" if body.get("stale") else ""


def _order(replica: Replica) -> tuple[str, int, str]:
    return replica.service, len(replica.name), replica.name  # so that 2 comes before 10


def _ask(place: tuple[str, str]) -> Replica:
    host, ip = place
    parts = urlsplit(f"//{host}")
    address = f"[{ip}]:{parts.port}" if ":" in ip else f"{ip}:{parts.port}"
    return ask(f"http://{address}", parts.hostname or host, _name(ip))


def _addresses(host: str) -> list[str]:
    parts = urlsplit(f"//{host}")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(place[4][0]) for place in found})


def _name(ip: str) -> str:
    """The container's name, which Docker's DNS knows; the address where there is none."""
    try:
        return socket.gethostbyaddr(ip)[0].split(".")[0]
    except OSError:
        return ip
