"""The goals of the project beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.serving.figures import (
    TIMES,
    Entry,
    Figure,
    best,
    is_batching_peer,
    latencies_us,
    processor_us,
    rates,
    ratio,
)

MLFLOW = "mlflow models serve"
_WITHOUT_ONNX = "mlflow models serve, scikit-learn form"
_OURS = {
    "small": "Modelyard /predict",
    "forest": "Modelyard /predict, compiled",
    "pyfunc": "Modelyard /predict, child",
}
_LIMIT = "constant from raw uvicorn"
Found = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Goal:
    """One line: `measured` is None where it was not measured."""

    what: str
    goal: str
    measured: str
    is_met: bool | None
    by_processor: str = ""
    """The same ratio by processor time, which a disturbed machine moves less."""


def goals(results: Found) -> Iterator[Goal]:
    """Every goal, in the order of the project's list; `results` by part."""
    yield from _throughput(results, "small", 120, 25)
    small = results.get("small", {})
    mine = small.get(_OURS["small"], {})
    yield _faster(
        "small model, against a constant from raw uvicorn", mine, small.get(_LIMIT, {}), 0.70, ".2f"
    )
    yield from _throughput(results, "forest", 200, 20)
    pyfunc = results.get("pyfunc", {})
    peer = best(pyfunc, is_batching_peer)
    yield _faster(
        f"any flavor in a child, against the best batching peer{_named(peer)}",
        pyfunc.get(_OURS["pyfunc"], {}),
        peer[1] if peer else {},
        2,
        ".1f",
    )
    one = latencies_us(mine)
    yield _most("one connection, p50", Figure.of(one) if one else None, 120, " µs", ",.0f")
    yield _most(
        "one connection, p50, against mlflow",
        ratio(one, latencies_us(small.get(MLFLOW, {}))),
        1 / 25,
    )
    yield _most(
        "one connection, p50, against mlflow without ONNX",
        ratio(one, latencies_us(small.get(_WITHOUT_ONNX, {}))),
        1 / 25,
    )
    yield from _start(results.get("start", {}))
    yield from _bulk(results.get("bulk", {}).get("small", {}))
    yield from _swap(results.get("swap", {}))


def _throughput(
    results: Found, workload: str, against_mlflow: float, against_peer: float
) -> Iterator[Goal]:
    entries = results.get(workload, {})
    mine = entries.get(_OURS[workload], {})
    words = "200-tree forest" if workload == "forest" else "small model"
    mlflow = entries.get(MLFLOW, {})
    yield _faster(f"{words}, 64 connections, against mlflow", mine, mlflow, against_mlflow)
    if _WITHOUT_ONNX in entries:
        other = entries[_WITHOUT_ONNX]
        yield _faster(f"{words}, against mlflow without ONNX", mine, other, against_mlflow)
    peer = best(entries, is_batching_peer)
    theirs = peer[1] if peer else {}
    words = f"{words}, against the best batching peer{_named(peer)}"
    yield _faster(words, mine, theirs, against_peer)


def _start(found: Mapping[str, Entry]) -> Iterator[Goal]:
    mine, mlflow = found.get("Modelyard, empty cache", {}), found.get(MLFLOW, {})
    for what, key, most in (
        ("process start to first prediction, against mlflow", "seconds", 1 / 6),
        ("resident memory, ONNX model, against mlflow", "rss_bytes", 1 / 4),
    ):
        yield _most(what, ratio(mine.get(key, []), mlflow.get(key, [])), most)


def _bulk(found: Mapping[str, Entry]) -> Iterator[Goal]:
    for form, least in (("columnar JSON", 25), ("Arrow", 35)):
        mine = found.get(f"Modelyard, {form}", {}).get("ms", [])
        for note, theirs in (
            ("mlflow's dataframe_split", "mlflow, dataframe_split"),
            ("the same without ONNX", "mlflow without ONNX, dataframe_split"),
            ("mlflow's CSV, its fastest form", "mlflow, CSV"),
        ):
            yield _least(
                f"100,000 rows, {form}, against {note}",
                ratio(found.get(theirs, {}).get("ms", []), mine),
                least,
                ".1f",
            )


def _swap(found: Mapping[str, Any]) -> Iterator[Goal]:
    rate = f"{found.get('rate', 3000):,} requests/s"
    failed = found.get("failed")
    yield Goal(
        f"swaps under {rate}: failed requests",
        "0",
        "not measured" if failed is None else f"{failed} of {found['requests']:,}",
        None if failed is None else failed == 0,
    )
    during = found.get("during")
    p99 = Figure(*[during["p99_us"] / 1e3] * 3) if during else None
    yield _most("swaps under load: p99 of requests within a swap", p99, 5, " ms", ".2f")


def _faster(what: str, mine: Entry, theirs: Entry, least: float, form: str = ",.0f") -> Goal:
    """A ratio of rates, and the same by processor time."""
    goal = _least(what, ratio(rates(mine), rates(theirs)), least, form)
    used = ratio(processor_us(theirs), processor_us(mine))
    return replace(goal, by_processor=used.text(form) + TIMES if used else "")


def _least(what: str, found: Figure | None, least: float, form: str = ",.0f") -> Goal:
    return _goal(what, f"≥ {least:g}{TIMES}", found, lambda f: f.median >= least, TIMES, form)


def _most(what: str, found: Figure | None, most: float, unit: str = "", form: str = ".3f") -> Goal:
    goal = f"≤ {most:g}{unit}" if most >= 1 else f"≤ 1/{1 / most:.0f} ({most:.3f})"
    return _goal(what, goal, found, lambda f: f.median <= most, unit, form)


def _goal(
    what: str,
    goal: str,
    found: Figure | None,
    is_met: Callable[[Figure], bool],
    unit: str,
    form: str,
) -> Goal:
    if found is None:
        return Goal(what, goal, "not measured", None)
    return Goal(what, goal, found.text(form) + unit, is_met(found))


def _named(peer: tuple[str, Entry] | None) -> str:
    return f", {peer[0]}" if peer else ""
