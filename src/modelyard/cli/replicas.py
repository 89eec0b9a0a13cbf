"""What each prediction server reports that it serves."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx

_TIMEOUT_S = 3.0
_MOST = 64


@dataclass(frozen=True)
class ServerStatus:
    """One server: what it serves, since when, and why it does not serve what it should.

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
        text = f"{self.model} version {self.version} since {since:%Y-%m-%d %H:%M:%S} UTC"
        if self.wanted not in ("", self.version):
            text += f", not {self.wanted}"
        return f"{text} ({self.why})" if self.why else text


def ask_replicas(hosts: Sequence[str]) -> list[ServerStatus]:
    """Ask every server behind each of the `hosts` (NAME:PORT), all at once.

    Each address of a name is a server of its own; a name without an address has none.
    """
    found = [(urlsplit(f"//{host}"), ip) for host in hosts for ip in _addresses(host)]
    if not found:
        return []
    urls = [f"http://{f'[{ip}]' if ':' in ip else ip}:{parts.port}" for parts, ip in found]
    services = [parts.hostname or parts.netloc for parts, _ in found]
    with ThreadPoolExecutor(min(len(found), _MOST)) as pool:
        names = pool.map(_container_name, [ip for _, ip in found])
        statuses = pool.map(ask_server, urls, services, names)
        # by the length of the name first: 2 comes before 10
        return sorted(statuses, key=lambda one: (one.service, len(one.name), one.name))


def ask_server(url: str, service: str = "", name: str = "") -> ServerStatus:
    """Ask the server at `url`, or the one that a gateway there chooses."""
    unknown = ServerStatus(service, name, url)
    try:
        answer = httpx.get(f"{url}/model", timeout=_TIMEOUT_S)
        body = answer.json()
        if answer.status_code != httpx.codes.OK:
            return replace(unknown, why=str(body.get("detail", answer.status_code)))
        follower = body.get("follower") or {}
        why = "stale: the registry has not confirmed it" if body.get("stale") else ""
        if error := body.get("last_error"):
            why = f"{follower.get('state', 'not following')}: {error}"
        health = httpx.get(f"{url}/health", timeout=_TIMEOUT_S)
        if health.status_code != httpx.codes.OK:
            why = str(health.json().get("detail", health.status_code))
        elif reasons := health.json().get("reasons"):
            why = " ".join(filter(None, (f"{health.json()['status']}:", *reasons, why)))
        return replace(
            unknown,
            model=str(body["name"]),
            version=str(body["version"]),
            since=str(body["loaded_at"]),
            wanted=str(follower.get("wanted_version") or ""),
            why=why,
        )
    except (httpx.HTTPError, ValueError, KeyError, AttributeError) as error:
        return replace(unknown, why=f"no answer ({type(error).__name__})")


def disagreement(statuses: Iterable[ServerStatus]) -> str:
    """A sentence when servers of one service serve different versions; else empty."""
    versions: dict[str, set[str]] = {}
    for status in statuses:
        versions.setdefault(status.service, set()).add(status.version or "nothing")
    return "; ".join(
        f"{service} serves {' and '.join(sorted(found))}"
        for service, found in versions.items()
        if len(found) > 1
    )


def _addresses(host: str) -> list[str]:
    parts = urlsplit(f"//{host}")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(place[4][0]) for place in found})


def _container_name(ip: str) -> str:
    """The container's name, which Docker's DNS knows; the address where there is none."""
    try:
        return socket.gethostbyaddr(ip)[0].split(".")[0]
    except OSError:
        return ip
