"""How two ONNX files differ: in their graph, or only in their weights, and by how much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def describe_difference(registered: Path, rebuilt: Path) -> str:
    """One clause about two ONNX files that are not the same bytes."""
    old, new = onnx.load(str(registered)), onnx.load(str(rebuilt))
    old_weights, new_weights = _take_weights(old), _take_weights(new)
    if old.SerializeToString(deterministic=True) != new.SerializeToString(deterministic=True):
        return "the graph itself differs, not only its weights"
    gaps = {name: _largest_gap(value, new_weights.get(name)) for name, value in old_weights.items()}
    differing = {name: gap for name, gap in gaps.items() if gap > 0}
    if not differing:
        return "the same graph and the same weights, written differently"
    worst = max(differing, key=lambda name: differing[name])
    return (
        f"the weights differ, {len(differing)} of {len(gaps)} tensors, by at most "
        f"{differing[worst]:.2g} (in {worst}); the graph is the same"
    )


def _take_weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    del model.graph.initializer[:]
    return weights


def _largest_gap(old: np.ndarray, new: np.ndarray | None) -> float:
    """Infinite where they cannot be subtracted."""
    if new is None or old.shape != new.shape:
        return float("inf")
    if old.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(old, new) else float("inf")
    gap = np.abs(old.astype(np.float64) - new.astype(np.float64))
    return float(np.max(gap, initial=0.0))
