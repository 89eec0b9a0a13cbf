"""The champion as the gate meets it: fetched, verified and opened, or the reason why not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from modelyard.errors import ModelRefusedError, ModelyardError, RegistryNotFoundError
from modelyard.registry import RegistryClient
from modelyard.registry.fetch import fetch
from modelyard.scoring.bundle import open_bundle
from modelyard.scoring.child.opening import ChildOptions
from modelyard.scoring.proof import ProofLimits, prove
from modelyard.training.judge.served import ServedModel

UNKNOWN_CHAMPION = "unknown"


@dataclass(frozen=True)
class Champion:
    """What the alias pointed to when the gate looked; `model` is None when it cannot run here."""

    version: str
    model: ServedModel | None
    why_not: str = ""

    def answers(self, test: pl.DataFrame, shape: tuple[int, ...]) -> np.ndarray:
        """Its predictions for `test`.

        Raises:
            ModelRefusedError: it cannot run, `test` does not fit it, or it answers otherwise
                than in `shape`.
        """
        if self.model is None:
            raise ModelRefusedError(self.why_not)
        predicted = self.model.predict(self.model.columns(test))
        if predicted.shape != shape:
            raise ModelRefusedError(f"It answers in shape {predicted.shape}, not {shape}.")
        return predicted


@contextmanager
def open_champion(registry: RegistryClient, name: str, alias: str) -> Iterator[Champion | None]:
    """What `alias` points to, as far as it can be run here; None where it points to nothing."""
    try:
        version = registry.aliased(name, alias)
    except RegistryNotFoundError:
        yield None
        return
    except ModelyardError as error:
        yield Champion(UNKNOWN_CHAMPION, None, error.detail)
        return
    with ExitStack() as opened:
        try:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="modelyard-champion-"))
            files = Path(folder) / "model"
            fetch(registry, version, files)
            prove(files, ProofLimits())  # it comes from outside: it may loop, or eat memory
            bundle = opened.enter_context(open_bundle(files, ChildOptions.offline()))
            champion = Champion(version.version, ServedModel(bundle))
        except ModelyardError as error:
            champion = Champion(version.version, None, error.detail)
        yield champion
