"""What was measured, as the tables between two marks of benchmarks/README.md, and a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving import plot
from benchmarks.serving.disturbance import MOST
from benchmarks.serving.figures import (
    TIMES,
    Figure,
    latencies_us,
    others,
    p99s_us,
    processor_us,
    rates,
    ratio,
)
from benchmarks.serving.goals import MLFLOW, goals
from benchmarks.serving.places import BENCHMARKS

_BEGIN, _END = "<!-- serving: begin, written by `make bench` -->", "<!-- serving: end -->"
_README = BENCHMARKS / "README.md"
_MIB = 2**20
_MILLISECOND = 1000  # microseconds
_WORKLOADS = {
    "small": "Small model: one row a request, 64 connections",
    "forest": "Forest of 200 trees: one row a request, 64 connections",
    "pyfunc": "Any flavor: a pyfunc with code, one row a request, 64 connections",
}


def write(folder: Path) -> None:
    """Write the README's tables and the picture from the results in `folder`."""
    read = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    found = {part: content["found"] for part, content in read.items()}
    plot.write(found, BENCHMARKS / "serving.svg")
    text = "\n".join(_lines(read, found))
    old = _README.read_text(encoding="utf-8") if _README.is_file() else f"{_BEGIN}\n{_END}\n"
    before, _, rest = old.partition(_BEGIN)
    after = rest.partition(_END)[2]
    _README.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{after}", encoding="utf-8")


def _lines(read: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    yield from _machine(read)
    yield from ("", "### Goals", "", "| | goal | measured | by processor time | |")
    yield "|---|---|---|---|---|"
    for goal in goals(found):
        mark = {True: "met", False: "**missed**", None: ""}[goal.is_met]
        yield f"| {goal.what} | {goal.goal} | {goal.measured} | {goal.by_processor} | {mark} |"
    yield from ("", "![Requests a second](serving.svg)")
    for part, title in _WORKLOADS.items():
        if part in found:
            yield from ("", f"### {title}", "", *_throughput(found[part]))
    if "start" in found:
        yield from ("", "### Start and memory", "", *_start(found["start"]))
    for model, entries in found.get("bulk", {}).items():
        yield from ("", f"### 100,000 rows in one call, {model} model", "", *_bulk(entries))
    if "swap" in found:
        yield from ("", "### Swaps under load", "", *_swap(found["swap"]))
    if "memory" in found:
        yield from ("", *_memory(found["memory"]))


def _machine(read: Mapping[str, Any]) -> Iterator[str]:
    if not read:
        yield "Nothing was measured yet."
        return
    last = max(read.values(), key=lambda content: content["at"])
    first = min(content["at"] for content in read.values())
    words = last["machine"]
    yield (
        f"{words['processor']}, {words['memory']}; {words['system']}; {words['cores']}. Load from "
        f"{words['generator']}. Measured from {first} to {last['at']}; the machine's load average "
        f"before each part was {min(c['load_before'][0] for c in read.values())} to "
        f"{max(c['load_before'][0] for c in read.values())}."
    )
    if any(content["is_quick"] for content in read.values()):
        yield ""
        yield "**Of tiny rounds (`--quick`): no figure here means anything.**"


def _throughput(entries: Mapping[str, Any]) -> Iterator[str]:
    heads = "requests/s | against mlflow | processor time | p99 | one connection, p50 | memory"
    yield f"| | {heads} |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    mlflow = rates(entries.get(MLFLOW, {}))
    disturbed = Figure.of([share for entry in entries.values() for share in others(entry)] or [0.0])
    for name, entry in entries.items():
        if not rates(entry):
            yield f"| {_named(name, entry)} | not measured: {_first_line(entry)} | | | | | |"
            continue
        against = ratio(rates(entry), mlflow)
        cells = [
            _named(name, entry),
            Figure.of(rates(entry)).text(),
            f"{against.median:,.1f}{TIMES}" if against else "",
            _time(float(np.median(processor_us(entry)))) if processor_us(entry) else "",
            _time(float(np.median(p99s_us(entry)))),
            _time(float(np.median(latencies_us(entry)))),
            f"{entry['rss_bytes'] / _MIB:,.0f} MiB",
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield (
        f"During these turns the rest of the machine used {disturbed.text('.0%')} of one core"
        f"{'.' if disturbed.median <= MOST else ': **disturbed**; processor times hold better.'}"
    )


def _start(entries: Mapping[str, Any]) -> Iterator[str]:
    yield "| | process start to first prediction | resident memory, all its processes |"
    yield "|---|---:|---:|"
    for name, entry in entries.items():
        if entry["seconds"]:
            seconds = Figure.of(entry["seconds"]).text(".2f")
            memory = Figure.of([value / _MIB for value in entry["rss_bytes"]])
            yield f"| {_named(name, entry)} | {seconds} s | {memory.median:,.0f} MiB |"


def _bulk(entries: Mapping[str, Any]) -> Iterator[str]:
    yield "| | ms a call | body |"
    yield "|---|---:|---:|"
    for name, entry in entries.items():
        if not entry["ms"]:
            yield f"| {name} | not measured: {_first_line(entry)} | |"
            continue
        size = entry["request_bytes"] / _MIB
        yield f"| {name} | {Figure.of(entry['ms']).text()} | {size:.1f} MiB |"


def _swap(found: Mapping[str, Any]) -> Iterator[str]:
    swap_ms = Figure.of(found["swap_ms"])
    yield (
        f"{found['swaps']} new versions, each downloaded, verified, loaded, tried and served while "
        f"{found['rate']:,} requests/s came in an open loop (times count from when a request was "
        f"due). A swap took {swap_ms.text()} ms; {found['failed']} of {found['requests']:,} "
        f"requests failed, and {found['versions_seen']} versions answered."
    )
    yield from ("", "| | requests | p50 | p99 | p99.9 | max |", "|---|---:|---:|---:|---:|---:|")
    for name in ("steady", "during"):
        row = found[name]
        times = " | ".join(_time(row[key]) for key in ("p50_us", "p99_us", "p999_us", "max_us"))
        yield f"| {name}{' a swap' if name == 'during' else ''} | {row['requests']:,} | {times} |"


def _memory(found: Mapping[str, Any]) -> Iterator[str]:
    rss = found["rss_bytes"]
    yield (
        f"Memory over {found['swaps']} swaps between two versions in {found['seconds']:.0f} s: "
        f"{rss[0] / _MIB:.0f} MiB before, {rss[len(rss) // 5] / _MIB:.0f} MiB after a fifth of "
        f"them, {rss[-1] / _MIB:.0f} MiB at the end; slope of the last four fifths "
        f"{found['slope_mib_per_swap'] * 1024:.1f} KiB a swap."
    )


def _named(name: str, entry: Mapping[str, Any]) -> str:
    return f"**{name}**" if entry.get("is_ours") else name


def _time(us: float) -> str:
    return f"{us:,.0f} µs" if us < _MILLISECOND else f"{us / _MILLISECOND:,.1f} ms"


def _first_line(entry: Mapping[str, Any]) -> str:
    return str(entry.get("failure", "")).splitlines()[0][:160] if entry.get("failure") else ""
