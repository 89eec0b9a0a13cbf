"""What is wrong with rows: every fault by its place, and the one error that lists them.

Values are never quoted. Names of fields are, when they can be shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from modelyard.contract import Contract
from modelyard.errors import ModelyardError, did_you_mean

MAX_FAULTS = 200
"""Faults that one refusal lists; the search ends there."""

_HINTS = 3  # near names are looked for so often in a row, because that takes its time
_LISTED_NAMES = 10
_LONGEST_NAME = 128

Place = Sequence[str | int]
"""The way to a value from the outermost container: names of fields and indexes of rows."""


@dataclass(frozen=True)
class Fault:
    """One fault at a place; an empty place is the whole input."""

    place: Place
    message: str


class RowsRefusedError(ModelyardError):
    """Rows that do not keep the model's contract.

    Attributes:
        faults: at most `MAX_FAULTS`, in the order of the contract.
    """

    title = "The input does not keep the model's contract"

    def __init__(self, faults: Sequence[Fault]) -> None:
        names = dict.fromkeys(".".join(map(str, fault.place)) or "the body" for fault in faults)
        listed = ", ".join(list(names)[:_LISTED_NAMES])
        listed += ", …" if len(names) > _LISTED_NAMES else ""
        more = f" Only the first {MAX_FAULTS} faults are listed." * (len(faults) > MAX_FAULTS)
        super().__init__(f"Not acceptable: {listed}.{more}")
        self.faults = tuple(faults[:MAX_FAULTS])


def refuse(found: Iterable[Fault]) -> None:
    """Raise the `RowsRefusedError` that lists the faults, when there are any."""
    if faults := list(islice(found, MAX_FAULTS + 1)):
        raise RowsRefusedError(faults)


def unknown_names(names: Iterable[str], contract: Contract, place: Place) -> Iterator[Fault]:
    """A fault for each name that is no feature's, with a hint where one is near."""
    known = set(contract.names)
    unknown = [name for name in names if name not in known]
    for index, name in enumerate(unknown):
        searched = index < _HINTS and len(name) <= _LONGEST_NAME
        hint = did_you_mean(name, contract.names) if searched else ""
        yield Fault([*place, shown(name)], f"is not a feature of this model.{hint}")


def shown(name: str) -> str:
    """A name from outside as an answer may show it."""
    if len(name) <= _LONGEST_NAME and name.isprintable():
        return name
    return "(a name that cannot be shown)"
