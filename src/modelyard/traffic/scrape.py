"""Reads the counts of an arm's servers from the `/metrics` of each."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

from modelyard.traffic.counts import ArmCounts, Histogram

_TIMEOUT_S = 1.0
_SECONDS, _SCORES = "modelyard_predict_seconds", "modelyard_prediction_scores"
_REFUSALS, _NOT_FINITE = "modelyard_refusals_total", "no-finite-answer"
_REQUESTS, _SERVER_ERROR = "modelyard_requests_total", 500


def read_metrics(text: str) -> ArmCounts:
    """One server's counts since it started, from a page of Prometheus text.

    Raises:
        ValueError: `text` is not such a page.
    """
    not_finite = 0.0
    statuses: list[tuple[str, int, float]] = []
    buckets: dict[str, dict[float, float]] = {_SECONDS: {}, _SCORES: {}}
    sums = dict.fromkeys(buckets, 0.0)
    classes: dict[str, float] = {}
    routes: set[str] = set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels, value = sample.labels, float(sample.value)
            name, _, part = sample.name.rpartition("_")
            if name in buckets and part == "bucket":
                bound = float(labels["le"])
                buckets[name][bound] = buckets[name].get(bound, 0.0) + value
                routes.add(labels.get("route", ""))
            elif name in buckets and part == "sum":
                sums[name] += value
            elif name == _SCORES and part == "count" and "class" in labels:
                classes[labels["class"]] = value
            elif sample.name == _REFUSALS and labels["reason"] == _NOT_FINITE:
                not_finite += value
            elif sample.name == _REQUESTS:
                statuses.append((labels["route"], int(labels["status"]), value))
    seconds = Histogram(buckets[_SECONDS], sums[_SECONDS])
    return ArmCounts(
        requests=seconds.count,
        failures=sum(n for route, s, n in statuses if route in routes and s >= _SERVER_ERROR),
        not_finite=not_finite,
        seconds=seconds,
        scores=Histogram(buckets[_SCORES], sums[_SCORES]),
        classes=classes,
    )


class Scraper:
    """Asks every server behind an arm's address `url` (http://NAME:PORT)."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._client = client

    async def read(self) -> Mapping[str, ArmCounts]:
        """Counts by address; a server that does not answer in a second is left out."""
        addresses = await self._addresses()
        answers = await asyncio.gather(*map(self._read, addresses))
        return {a: c for a, c in zip(addresses, answers, strict=True) if c is not None}

    async def _addresses(self) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                self._host, self._port, family=socket.AF_INET, type=socket.SOCK_STREAM
            )
        except OSError:  # no container of that name runs
            return []
        return sorted({str(address[0]) for *_, address in found})

    async def _read(self, address: str) -> ArmCounts | None:
        try:
            url = f"http://{address}:{self._port}/metrics"
            answer = await self._client.get(url, timeout=_TIMEOUT_S)
            return read_metrics(answer.raise_for_status().text)
        except (httpx.HTTPError, ValueError, KeyError):
            return None
