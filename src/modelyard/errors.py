"""The one error tree: every error says what was expected, what was found and what fixes it.

An error that a user can cause is a `ModelyardError`. Each edge maps it once: a process shows
title, detail and fix and ends with `exit_code` (program.py); the server answers `status` as
application/problem+json. Anything else that escapes is a defect of ours.

Standard library only, and any Python from 3.8: tools that run on the host raise these, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """Every exit code and its meaning: the one table. `make generated` writes it into the docs."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:  # noqa: PYI034 - Python 3.8 has no Self
        """A member with its meaning, as the documentation prints it."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    DONE = 0, "done, or it was so already"
    FAILED = 1, "a check of `make doctor` failed, `make rollout` went back, or any other failure"
    CONFIGURATION = 2, "configuration or arguments, or Docker where `make rollout` needs it"
    CONTRACT = 3, "the model's contract is not kept"
    DATA = 4, "the dataset is missing, is another one, or breaks the contract"
    TRAINING = 5, "training gave no usable model"
    REGISTRY = 6, "the registry does not answer, or has no such thing"
    GATE_REFUSED = 7, "the gate refused the version"
    ALIAS_MOVED = 8, "someone else moved the alias"
    NOT_REPRODUCED = 9, "the version was not reproduced"
    TRAFFIC = 10, "the traffic between champion and challenger cannot be split"
    STOOD_STILL = 11, "a server's event loop stood still (SERVING_WATCHDOG_S)"
    INTERRUPTED = 130, "interrupted by Ctrl-C"
    STOPPED = 143, "stopped by SIGTERM"


class ModelyardError(Exception):
    """Base of all errors with a next step.

    Args:
        detail: what was expected and what was found, one or two sentences.
        fix: the command or change that resolves it; may be empty where there is none.
    """

    title = "Modelyard could not do this"
    exit_code = ExitCode.FAILED
    status = 500

    def __init__(self, detail: str, *, fix: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.fix = fix

    def sentence(self) -> str:
        """Detail and fix as running text, for logs and for problem details."""
        return f"{self.detail} {self.fix}".strip()


class ConfigError(ModelyardError):
    """A setting, a YAML file or an argument is not what it has to be."""

    title = "Configuration is not valid"
    exit_code = ExitCode.CONFIGURATION


class ContractError(ModelyardError):
    """A contract does not hold together, or a model does not keep it."""

    title = "The model's contract is not kept"
    exit_code = ExitCode.CONTRACT
    status = 409


class DataError(ModelyardError):
    """The dataset is missing, is not the one that was asked for, or breaks the contract."""

    title = "The dataset cannot be used"
    exit_code = ExitCode.DATA


class TrainingError(ModelyardError):
    """Training ended without a model that may be registered."""

    title = "Training gave no usable model"
    exit_code = ExitCode.TRAINING


class RegistryError(ModelyardError):
    """The registry answered, and the answer was no."""

    title = "The model registry refused"
    exit_code = ExitCode.REGISTRY
    status = 502


class RegistryNotFoundError(RegistryError):
    """The registry has no such model, version, alias or file."""

    title = "Not in the model registry"
    status = 404


class RegistryUnavailableError(RegistryError):
    """The registry did not answer in time: asking again later can succeed."""

    title = "The model registry does not answer"
    status = 503


class GateRefusedError(RegistryError):
    """The gate refused the version, and promoting it all the same was not asked for."""

    title = "The gate refused this version"
    exit_code = ExitCode.GATE_REFUSED
    status = 409


class PromotionConflictError(RegistryError):
    """Someone else moved the alias first: nothing was moved."""

    title = "Someone else moved the alias"
    exit_code = ExitCode.ALIAS_MOVED
    status = 409


class AliasOvertakenError(PromotionConflictError):
    """The alias was moved, on record, and someone else moved it on at the same moment."""


class ReproductionError(ModelyardError):
    """A version could not be rebuilt, or what was rebuilt is not the same."""

    title = "The version was not reproduced"
    exit_code = ExitCode.NOT_REPRODUCED


class TrafficError(ModelyardError):
    """The gateway could not be asked, or told, how to split the traffic."""

    title = "The traffic cannot be split"
    exit_code = ExitCode.TRAFFIC
    status = 503


class ModelRefusedError(ModelyardError):
    """A model version was found and may not, or cannot, be served."""

    title = "The model version is refused"
    status = 409


class ModelNotLoadedError(ModelRefusedError):
    """A model version ran out of time or memory while it was loaded or tried.

    That may be the machine's fault: it says nothing of the files, and trying again can succeed.
    """

    title = "The model version could not be loaded"
    status = 503


class ModelDamagedError(ModelRefusedError):
    """The files of a model version are not those that were registered.

    They were changed in the store, or on their way: fetching them again can succeed.
    """


class NoModelError(ModelyardError):
    """No model is served yet."""

    title = "No model is served"
    status = 503


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean "x"?' for the known word nearest to `word`, or an empty string."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""
