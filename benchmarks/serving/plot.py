"""Requests a second of everybody, one panel a workload, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from benchmarks.serving.figures import Figure, rates

_TITLES = {"small": "small model", "forest": "200-tree forest", "pyfunc": "any flavor (pyfunc)"}
_OURS, _PEER, _LIMIT = "#1f6f8b", "#b0b0b0", "#e0e0e0"


def write(found: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write the picture; nothing when there is nothing to show."""
    parts = {
        part: {name: entry for name, entry in found[part].items() if rates(entry)}
        for part in _TITLES
        if part in found
    }
    parts = {part: entries for part, entries in parts.items() if entries}
    if not parts:
        return
    heights = [len(entries) for entries in parts.values()]
    settings = {"svg.fonttype": "none", "svg.hashsalt": "modelyard", "font.size": 9}
    with mpl.rc_context(settings):
        picture = Picture(figsize=(8, 0.28 * sum(heights) + 0.6 * len(heights)))
        axes = picture.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (part, entries) in zip(axes, parts.items(), strict=True):
            _draw(axis, _TITLES[part], entries)
        axes[-1].set_xlabel("requests/s on one core, 64 connections")
        picture.tight_layout()
        picture.savefig(path, metadata={"Date": None})


def _draw(axis: Any, title: str, entries: Mapping[str, Any]) -> None:
    figures = {name: Figure.of(rates(entry)) for name, entry in entries.items()}
    order = sorted(figures, key=lambda name: figures[name].median)
    for place, name in enumerate(order):
        figure, entry = figures[name], entries[name]
        color = _OURS if entry["is_ours"] else _LIMIT if entry["is_limit"] else _PEER
        spread = [[figure.median - figure.low], [figure.high - figure.median]]
        axis.barh(place, figure.median, color=color, xerr=spread, ecolor="#606060")
        axis.text(figure.high * 1.08, place, f"{figure.median:,.0f}", va="center")
    axis.set_yticks(range(len(order)), order)
    axis.set_xscale("log")
    axis.set_xlim(10, max(figure.high for figure in figures.values()) * 4)
    axis.set_title(title, loc="left", fontweight="bold")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
