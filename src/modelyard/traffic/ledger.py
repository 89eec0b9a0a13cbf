"""Adds up what servers count, though they come, go and start again from nought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, replace

from modelyard.traffic.control import GatewayTally, ServerCounts, is_challenger
from modelyard.traffic.counts import ArmCounts


class Ledger:
    """Both arms' counts since the ledger was opened.

    A server that is seen for the first time brings nothing: what it counted was before.
    """

    def __init__(self) -> None:
        self.champion = ArmCounts()
        self.challenger = ArmCounts()
        self.tally = GatewayTally()
        self._tally: GatewayTally | None = None
        self._servers: dict[str, ServerCounts] = {}
        self._serving: dict[str, ArmCounts] = {}

    def add_gateway(self, servers: Mapping[str, ServerCounts]) -> None:
        """Take the gateway's counts of the challengers: also tries that a server never noticed."""
        for name, now in servers.items():
            before = self._servers.get(name, now)
            self._servers[name] = now
            if not is_challenger(name):
                continue
            if now.sessions < before.sessions:  # the gateway started again
                before = ServerCounts()
            requests = (now.sessions - now.current) - (before.sessions - before.current)
            lost = (now.client_aborts - before.client_aborts) + (now.answered - before.answered)
            self.challenger += ArmCounts(requests=requests, failures=requests - lost)

    def add_tally(self, now: GatewayTally) -> None:
        """Take what the gateway counts beside its servers."""
        before = now if self._tally is None else self._tally
        self._tally = now
        more = now - before
        # a count that fell: the gateway started again
        self.tally += now if min(astuple(more)) < 0 else more

    def add_champion(self, servers: Mapping[str, ArmCounts]) -> None:
        """Take the champions' own counts, by address."""
        for address, now in servers.items():
            self.champion += self._more(address, now)

    def add_challenger(self, servers: Mapping[str, ArmCounts]) -> None:
        """Take the challengers' own counts, by address; requests are counted at the gateway."""
        for address, now in servers.items():
            self.challenger += replace(self._more(address, now), requests=0.0, failures=0.0)

    def _more(self, address: str, now: ArmCounts) -> ArmCounts:
        before = self._serving.get(address, now)
        self._serving[address] = now
        if now.requests < before.requests:  # the server started again
            before = ArmCounts()
        # with another kind of model
        scores_began_anew = (
            now.scores.count < before.scores.count
            or now.scores.counts.keys() != before.scores.counts.keys()
            or now.classes.keys() != before.classes.keys()
        )
        more = now - before
        return replace(more, scores=now.scores, classes=now.classes) if scores_began_anew else more
