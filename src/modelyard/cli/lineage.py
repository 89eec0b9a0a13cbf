"""The lineage of a model version, as sections to read and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelyard.cli.output import format_time
from modelyard.registry.lineage import Lineage
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.registry.verdict import SENTENCE_TAG, numbers_of
from modelyard.source_tree import find_commit

_UNKNOWN = "unknown"
_MAIN_PACKAGES = (
    "torch",
    "onnx",
    "onnxruntime",
    "scikit-learn",
    "numpy",
    "polars",
    "mlflow",
    "dvc",
)
_SHOWN_FILES = 8
_INTERVALS = ("_low", "_high")
_PARTS = {
    "code": ("git.commit", "git.dirty", "git.changed", "git.tree"),
    "data": ("data.path", "data.md5", "data.size_bytes", "data.objects"),
    "machine": (
        "image", "python", "platform", "cpu", "cpu.capability", "cpu.threads", "processes",
        "gpu", "gpu.driver", "gpu.cuda", "seed",
    ),
}  # fmt: skip


def title(lineage: Lineage) -> str:
    """The name and number of the version."""
    return f"{lineage.version.name} version {lineage.version.version}"


def sections(lineage: Lineage) -> dict[str, dict[str, str]]:
    """Named values under headings, shortened for people."""
    version, run, tags = lineage.version, lineage.run, lineage.tags
    parts = {
        heading: {key.rpartition(".")[2]: tags[key] for key in keys if key in tags}
        for heading, keys in _PARTS.items()
    }
    parts["code"] |= _code(tags)
    about = {
        "created": f"{format_time(version.created)} UTC",
        "status": version.status,
        "aliases": ", ".join(version.aliases) or "none",
    }
    if lineage.moves:
        about["history"] = "\n".join(
            f"{format_time(move.at)} UTC  "
            f"{'became' if move.moved_to == version.version else 'was no longer'} "
            f"{move.alias}, by {move.who}{', forced' if move.forced else ''}"
            f"{f': {move.why}' if move.why else ''}"
            for move in lineage.moves
        )
    verdict, _, reasons = tags.get(SENTENCE_TAG, "never judged").partition(": ")
    gate = {"verdict": verdict}
    if reasons:
        gate["found"] = "\n".join(reasons.split("; "))
    metrics = run.metrics if run else {}
    shown = {k: f"{v:.6g}" for k, v in sorted(metrics.items()) if not k.endswith(_INTERVALS)}
    if len(shown) < len(metrics):
        shown["in all"] = f"{len(metrics)} (--json lists them)"
    installed = dict(line.split("==", 1) for line in lineage.packages if "==" in line)
    packages = {name: installed[name] for name in _MAIN_PACKAGES if name in installed}
    if installed:
        packages["in all"] = f"{len(installed)} (--json lists them)"
    return {
        "version": about,
        "gate": gate,
        "run": {}
        if run is None
        else {
            "id": run.run_id,
            "name": run.name,
            "status": run.status,
            "by": tags.get("mlflow.user", _UNKNOWN),
            "took": f"{max(run.ended_ms - run.started_ms, 0) / 1000:.0f} s",
        },
        **parts,
        "config": {"config.yaml": lineage.config.rstrip()} if lineage.config else {},
        "metrics": shown,
        "packages": packages,
        "files (sha256)": {
            **dict(sorted(lineage.files.items())),
            "manifest.json": tags.get(DIGEST_TAG, "none registered"),
        },
        "not found": {name.partition(":")[0]: name.partition(": ")[2] for name in lineage.lost},
    }


def _code(tags: Mapping[str, str]) -> dict[str, str]:
    """The commit where none was recorded but this checkout has the same `src/`; changed files."""
    found = {}
    if tags.get("git.commit", _UNKNOWN) == _UNKNOWN and "git.tree" in tags:
        commit = find_commit(Path.cwd(), tags["git.tree"])
        found = {"commit": f"not recorded; {commit} has the same src/"} if commit else {}
    if changed := tags.get("git.changed", "").splitlines():
        more = len(changed) - _SHOWN_FILES
        listed = changed[:_SHOWN_FILES] + ([f"and {more} more"] if more > 0 else [])
        found["changed"] = "\n".join(listed)
    return found


def facts(lineage: Lineage) -> dict[str, Any]:
    """Everything, for JSON."""
    version, run, tags = lineage.version, lineage.run, lineage.tags
    return {
        "model": version.name,
        "version": version.version,
        "created": version.created.isoformat(timespec="seconds"),
        "status": version.status,
        "aliases": list(version.aliases),
        "moves": [asdict(move) for move in lineage.moves],
        "gate": {
            "sentence": tags.get(SENTENCE_TAG, ""),
            "numbers": numbers_of(tags),
        },
        "run": None if run is None else {"id": run.run_id, "name": run.name, "status": run.status},
        "tags": dict(tags),
        "params": dict(run.params) if run else {},
        "metrics": dict(run.metrics) if run else {},
        "config": lineage.config,
        "packages": list(lineage.packages),
        "files": dict(lineage.files),
        "lost": list(lineage.lost),
    }
