"""A gate that judges rankings, and the candidates and champions that it is given."""

from __future__ import annotations

from pathlib import Path

from modelyard.registry import RegistryClient
from modelyard.training.experiment import GateConfig
from modelyard.training.judge.gate import Gate, Verdict
from support.models.model import Model, register
from support.models.rankings import (
    CONTRACT,
    TARGET,
    held_out_rows,
    ranking,
)

GOOD = ("signal", "signal")
BAD = ("noise", "noise")
BAD_AT_NIGHT = ("signal", "noise")


def gate(name: str, **config: object) -> Gate:
    rows = held_out_rows()
    baseline = rows["noise"].to_numpy()
    return Gate(GateConfig(**config), name, "champion", rows, TARGET, baseline)


def candidate(folder: Path, how: tuple[str, str], contract=CONTRACT) -> Path:
    Model(ranking(*how, contract), contract).write(folder / "candidate")
    return folder / "candidate"


def champion(registry: RegistryClient, mlflow_url: str, name: str, *how: object, **options) -> str:
    version = register(mlflow_url, name, Model(ranking(*(how or GOOD)), CONTRACT), **options)
    registry.set_alias(name, "champion", version)
    return version


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed}
