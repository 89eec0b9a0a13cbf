"""Adds up what servers count, although they come, go and restart at zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, replace

from modelyard.traffic.control import GatewayCounts, ServerCounts, is_challenger
from modelyard.traffic.counts import ArmCounts


class Totals:
    """Both arms' counts since this was created.

    A server that is seen for the first time adds nothing: what it counted so far came before.
    """

    def __init__(self) -> None:
        self.champion = ArmCounts()
        self.challenger = ArmCounts()
        self.gateway = GatewayCounts()
        self._gateway: GatewayCounts | None = None
        self._servers: dict[str, ServerCounts] = {}
        self._serving: dict[str, ArmCounts] = {}

    def add_gateway_servers(self, servers: Mapping[str, ServerCounts]) -> None:
        """Add the gateway's counts of the challengers, with tries that never reached a server."""
        for name, now in servers.items():
            before = self._servers.get(name, now)
            self._servers[name] = now
            if not is_challenger(name):
                continue
            if now.sessions < before.sessions:  # the gateway restarted
                before = ServerCounts()
            requests = (now.sessions - now.current) - (before.sessions - before.current)
            excused = (now.client_aborts - before.client_aborts) + (now.answered - before.answered)
            self.challenger += ArmCounts(requests=requests, failures=requests - excused)

    def add_gateway(self, now: GatewayCounts) -> None:
        """Add what the gateway counts apart from its servers."""
        before = now if self._gateway is None else self._gateway
        self._gateway = now
        more = now - before
        # a count that fell: the gateway restarted
        self.gateway += now if min(astuple(more)) < 0 else more

    def add_champion(self, servers: Mapping[str, ArmCounts]) -> None:
        """Add the champions' own counts, by address."""
        for address, now in servers.items():
            self.champion += self._more(address, now)

    def add_challenger(self, servers: Mapping[str, ArmCounts]) -> None:
        """Add the challengers' own counts, by address; the gateway counts their requests."""
        for address, now in servers.items():
            self.challenger += replace(self._more(address, now), requests=0.0, failures=0.0)

    def _more(self, address: str, now: ArmCounts) -> ArmCounts:
        before = self._serving.get(address, now)
        self._serving[address] = now
        if now.requests < before.requests:  # the server restarted
            before = ArmCounts()
        # its model answers other scores or classes than before
        scores_restarted = (
            now.scores.count < before.scores.count
            or now.scores.counts.keys() != before.scores.counts.keys()
            or now.classes.keys() != before.classes.keys()
        )
        more = now - before
        return replace(more, scores=now.scores, classes=now.classes) if scores_restarted else more
