"""Where a version came from, as sections to read and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.cli.output import moment
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
    """Which version it is."""
    return f"{lineage.version.name} version {lineage.version.version}"


def sections(lineage: Lineage) -> dict[str, dict[str, str]]:
    """Named values under headings, shortened for people."""
    version, run, tags = lineage.version, lineage.run, lineage.tags
    parts = {
        heading: {key.rpartition(".")[2]: tags[key] for key in keys if key in tags}
        for heading, keys in _PARTS.items()
    }
    parts["code"].update(_found_commit(tags))
    if changed := tags.get("git.changed", "").splitlines():
        more = len(changed) - _SHOWN_FILES
        parts["code"]["changed"] = "\n".join(
            [*changed[:_SHOWN_FILES], *([f"and {more} more"] if more > 0 else [])]
        )
    return {
        "version": {
            "created": f"{moment(version.created_ms)} UTC",
            "status": version.status,
            "aliases": ", ".join(version.aliases) or "none",
            **_moves(lineage),
        },
        "gate": _verdict(tags),
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
        "config": {} if not lineage.config else {"config.yaml": lineage.config.rstrip()},
        "metrics": _metrics(run.metrics) if run else {},
        "packages": _packages(lineage),
        "files (sha256)": {
            **dict(sorted(lineage.files.items())),
            "manifest.json": tags.get(DIGEST_TAG, "none registered"),
        },
        "not found": {name.partition(":")[0]: name.partition(": ")[2] for name in lineage.lost},
    }


def _moves(lineage: Lineage) -> dict[str, str]:
    number = lineage.version.version
    said = [
        f"{moment(move.at)} UTC  {'became' if move.moved_to == number else 'was no longer'} "
        f"{move.alias}, by {move.who}{', forced' if move.forced else ''}"
        f"{f': {move.why}' if move.why else ''}"
        for move in lineage.moves
    ]
    return {"history": "\n".join(said)} if said else {}


def _verdict(tags: Mapping[str, str]) -> dict[str, str]:
    verdict, _, reasons = tags.get(SENTENCE_TAG, "never judged").partition(": ")
    return {"verdict": verdict, **({"found": "\n".join(reasons.split("; "))} if reasons else {})}


def _metrics(metrics: Mapping[str, float]) -> dict[str, str]:
    shown = {k: f"{v:.6g}" for k, v in sorted(metrics.items()) if not k.endswith(_INTERVALS)}
    hidden = len(metrics) - len(shown)
    return {**shown, **({"in all": f"{len(metrics)} (--json lists them)"} if hidden else {})}


def _packages(lineage: Lineage) -> dict[str, str]:
    versions = dict(line.split("==", 1) for line in lineage.packages if "==" in line)
    if not versions:
        return {}
    main = {name: versions[name] for name in _MAIN_PACKAGES if name in versions}
    return {**main, "in all": f"{len(versions)} (--json lists them)"}


def _found_commit(tags: Mapping[str, str]) -> dict[str, str]:
    """Where no commit was recorded: the one of this checkout that has the same `src/`."""
    if tags.get("git.commit", _UNKNOWN) != _UNKNOWN or "git.tree" not in tags:
        return {}
    commit = find_commit(Path.cwd(), tags["git.tree"])
    return {"commit": f"not recorded; {commit} has the same src/"} if commit else {}


def facts(lineage: Lineage) -> dict[str, Any]:
    """Everything, for JSON."""
    version, run, tags = lineage.version, lineage.run, lineage.tags
    created = datetime.fromtimestamp(version.created_ms / 1000, UTC)
    return {
        "model": version.name,
        "version": version.version,
        "created": created.isoformat(timespec="seconds"),
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
