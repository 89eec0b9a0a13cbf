"""The one error tree: every error says what was expected, what was found and what mends it.

An error that a user can cause is a `ModelyardError`. It is mapped once at each edge: the command
line prints `detail` and `fix` and exits with `exit_code`; the server answers `status` as
application/problem+json. Anything else that escapes is a defect of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ModelyardError(Exception):
    """Base of all errors with a next step.

    Args:
        detail: what was expected and what was found, one or two sentences.
        fix: the command or change that mends it; may be empty where there is none.
    """

    title = "Modelyard could not do this"
    exit_code = 1
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
    exit_code = 2


class ContractError(ModelyardError):
    """A contract does not hold together, or a model does not keep it."""

    title = "The model's contract is not kept"
    exit_code = 3
    status = 409


class DataError(ModelyardError):
    """The dataset is missing, is not the one that was asked for, or breaks the contract."""

    title = "The dataset cannot be used"
    exit_code = 4


class TrainingError(ModelyardError):
    """Training ended without a model that may be registered."""

    title = "Training gave no usable model"
    exit_code = 5


class RegistryError(ModelyardError):
    """The registry answered, and the answer was no."""

    title = "The model registry refused"
    exit_code = 6
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
    """The gate refused the version, and nobody said that it shall be promoted all the same."""

    title = "The gate refused this version"
    exit_code = 7
    status = 409


class PromotionConflictError(RegistryError):
    """Somebody else moved the alias before: nothing was moved."""

    title = "The alias was moved by somebody else"
    exit_code = 8
    status = 409


class AliasOvertakenError(PromotionConflictError):
    """The alias was moved, on record, and somebody else moved it on in the same moment."""


class ReproductionError(ModelyardError):
    """A version could not be rebuilt, or what was rebuilt is not the same."""

    title = "The version was not reproduced"
    exit_code = 9


class TrafficError(ModelyardError):
    """The gateway could not be asked, or told, how to split the traffic."""

    title = "The traffic cannot be split"
    exit_code = 10
    status = 503


class ModelRefusedError(ModelyardError):
    """A model version was found and may not, or cannot, be served."""

    title = "The model version is refused"
    status = 409


class NoModelError(ModelyardError):
    """No model is served yet."""

    title = "No model is served"
    status = 503


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean "x"?' for the known word nearest to `word`, or an empty string."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""
