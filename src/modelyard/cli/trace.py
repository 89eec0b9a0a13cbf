"""`modelyard trace`: where a version, or the answer to a request, came from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from modelyard.cli.connection import JsonOption, ModelOption, open_registry
from modelyard.cli.lineage import facts, sections, title
from modelyard.cli.output import show_fields, show_json
from modelyard.errors import RegistryNotFoundError
from modelyard.prediction_log.record import Record
from modelyard.prediction_log.search import find_predictions, log_files
from modelyard.registry import ModelVersion, RegistryClient
from modelyard.registry.lineage import Lineage, read_lineage
from modelyard.settings import CommandSettings, read_settings

SubjectArgument = Annotated[
    str,
    typer.Argument(
        metavar="VERSION|ALIAS|REQUEST_ID",
        help="A version's number or alias, or the X-Request-Id of an answer.",
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(trace)


def trace(subject: SubjectArgument, model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Print where a version, or the answer to a request, came from.

    Commit, data, config, metrics, packages, image and the gate's verdict; for a request also when
    it was answered, and by which version.
    """
    answered: list[Record] = []
    with open_registry(model) as (registry, name):
        try:
            lineages = [read_lineage(registry, name, _number(registry, name, subject))]
        except RegistryNotFoundError as error:
            answered = _find_predictions(subject, error)
            lineages = _read_lineages(registry, answered)
    if not as_json:
        for lineage in lineages:
            requests = _request_sections(answered, lineage.version)
            show_fields(title(lineage), requests | sections(lineage))
    elif answered:
        show_json(
            {
                "requests": [one.fields for one in answered],
                "versions": [facts(lineage) for lineage in lineages],
            }
        )
    else:
        show_json(facts(lineages[0]))


def _number(registry: RegistryClient, name: str, text: str) -> str:
    """The version number that `text` is, or that the alias `text` points to."""
    if text.isascii() and text.isdigit():
        return text
    aliases = registry.aliases(name)
    if found := aliases.get(text.removeprefix("@")):
        return found
    listed = ", ".join(sorted(aliases)) or "none"
    raise RegistryNotFoundError(
        f'"{text}" is neither the number of a version of {name} nor one of its aliases ({listed}).'
    )


def _find_predictions(request_id: str, error: RegistryNotFoundError) -> list[Record]:
    """The predictions with this id; where there are none, `error` and where we looked for them."""
    folder = read_settings(CommandSettings).prediction_log_dir
    if answered := find_predictions(folder, request_id):
        return answered
    extent = "which is empty (SERVING_PREDICTION_LOG=off?)"
    if files := log_files(folder):
        day = files[0].name.partition("T")[0]
        extent = f"which begins on {day[:4]}-{day[4:6]}-{day[6:]}"
    raise RegistryNotFoundError(
        f"{error.detail} Nor is it the id of a request in the prediction log, {folder}, {extent}.",
        fix=error.fix
        or "Versions: modelyard versions. A request that was refused has its id in the log of the "
        "server: docker compose logs serving",
    ) from error


def _read_lineages(registry: RegistryClient, answered: Sequence[Record]) -> list[Lineage]:
    """The lineage of each version that answered."""
    found = []
    for one in {(one.model, one.version): one for one in answered}.values():
        try:
            found.append(read_lineage(registry, one.model, one.version))
        except RegistryNotFoundError as error:
            raise RegistryNotFoundError(
                f"{one.model} version {one.version} answered this request at "
                f"{one.time}, and is gone: {error.detail}"
            ) from error
    return found


def _request_sections(
    answered: Sequence[Record], version: ModelVersion
) -> dict[str, dict[str, str]]:
    """A section for each request that `version` answered."""
    own = [one for one in answered if (one.model, one.version) == (version.name, version.version)]
    found = {}
    for number, one in enumerate(own, start=1):
        fields = {"answered": one.time, "address": one.path, "rows": str(one.rows)}
        if one.trace_id:
            fields["trace"] = one.trace_id
        for name, value in one.contents.items():
            fields[name.replace("_", " ")] = value if isinstance(value, str) else json.dumps(value)
        found["request" if len(own) == 1 else f"request, answer {number}"] = fields
    return found
