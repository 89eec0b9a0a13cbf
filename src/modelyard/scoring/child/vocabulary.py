"""Strings that a fitted scikit-learn model knows, by column.

An encoder that was fitted on categories refuses any other one: a row that is made for a trial can
only be answered when its strings are among them. What is found is a help, and may be incomplete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_KEPT = 12
_DEEPEST = 8
_LONGEST = 256


def known_strings(estimator: Any) -> dict[str, list[str]]:
    """Up to a dozen strings for each column that an encoder within `estimator` was fitted on."""
    found: dict[str, list[str]] = {}
    for names, categories in _encoders(estimator, (), _DEEPEST):
        for name, known in zip(names, categories, strict=False):
            words = [word for word in known[:_KEPT] if isinstance(word, str)]
            if isinstance(name, str) and words and max(map(len, words)) <= _LONGEST:
                found.setdefault(name, words)
    return found


def _encoders(
    part: Any, columns: Sequence[Any], depth: int
) -> Iterator[tuple[Sequence[Any], Sequence[Any]]]:
    """Columns and categories of each encoder in `part`, which was fitted on `columns`."""
    if depth == 0:
        return
    columns = _own_columns(part, columns)
    categories = getattr(part, "categories_", None)
    if isinstance(categories, list) and len(categories) == len(columns):
        yield columns, categories
    for _, inner, selected in _triples(getattr(part, "transformers_", ())):
        yield from _encoders(inner, _selected(selected, columns), depth - 1)
    for step in getattr(part, "steps", ()):
        yield from _encoders(step[1], columns, depth - 1)
    for name in ("best_estimator_", "estimator", "calibrated_classifiers_", "estimators_"):
        inner = getattr(part, name, None)
        for one in inner[:1] if isinstance(inner, list) else [inner]:
            if one is not None and not isinstance(one, str):
                yield from _encoders(one, columns, depth - 1)


def _own_columns(part: Any, columns: Sequence[Any]) -> Sequence[Any]:
    names = getattr(part, "feature_names_in_", None)
    return columns if names is None else [str(name) for name in names]


def _triples(transformers: Any) -> Iterator[tuple[Any, Any, Any]]:
    for entry in transformers if isinstance(transformers, list) else ():
        if isinstance(entry, tuple) and len(entry) == 3:  # noqa: PLR2004 - name, transformer, columns
            yield entry


def _selected(selected: Any, columns: Sequence[Any]) -> Sequence[Any]:
    """Names of the selected columns: they are given by name, or by place."""
    if isinstance(selected, str):
        return [selected]
    if not isinstance(selected, list):
        return ()
    if all(isinstance(one, str) for one in selected):
        return selected
    places = [one for one in selected if isinstance(one, int) and 0 <= one < len(columns)]
    return [columns[place] for place in places] if len(places) == len(selected) else ()
