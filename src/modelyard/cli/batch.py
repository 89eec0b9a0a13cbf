"""`modelyard batch`: score a Parquet file of any size, without a server.

    modelyard batch transactions.parquet scored.parquet --model-uri models:/fraud-detector@champion

The version is fetched and verified as the server does it, and the rows are held to the same
contract. The file is read in batches, so that memory does not grow with it; the result appears
under its name when it is whole, or not at all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from modelyard.cli.connection import CHAMPION, JsonOption
from modelyard.cli.output import show_json
from modelyard.errors import ConfigError
from modelyard.registry import ModelVersion, RegistryClient, parse_model_uri
from modelyard.registry.fetch import fetch
from modelyard.settings import CommandSettings, read_settings

if TYPE_CHECKING:
    from modelyard.scoring.bundle import Bundle

_NEEDED = ("msgspec", "onnxruntime", "pyarrow")

SourceArgument = Annotated[Path, typer.Argument(metavar="IN.parquet", help="The rows to score.")]
Target = Annotated[
    Path, typer.Argument(metavar="OUT.parquet", help="The same rows with their predictions.")
]
Uri = Annotated[
    str, typer.Option("--model-uri", help="models:/NAME@ALIAS, /VERSION, /STAGE or /latest.")
]
BatchRows = Annotated[int, typer.Option(min=1, max=10_000_000, help="Rows held in memory at once.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT.parquet when it exists.")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(batch)


def batch(
    source: SourceArgument,
    target: Target,
    model_uri: Uri = "",
    batch_rows: BatchRows = 65_536,
    overwrite: Overwrite = False,
    as_json: JsonOption = False,
) -> None:
    """Score a Parquet file of any size with a registered model version."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(
            f"Scoring needs {', '.join(missing)}, which this environment does not have.",
            fix="Use the environment of the training image.",
        )
    from modelyard.scoring.parquet import open_source, score

    rows = open_source(source)
    _check_target(target, source, overwrite=overwrite)
    with _opened(model_uri) as (version, bundle), _progress() as progress:
        task = progress.add_task(f"{version.name} {version.version}", total=rows.metadata.num_rows)
        scored = score(
            rows,
            target,
            bundle,
            {"modelyard.model": version.name, "modelyard.version": version.version},
            batch_rows,
            lambda done: progress.update(task, completed=done),
        )
    if as_json:
        facts = {"model": version.name, "version": version.version, "run_id": version.run_id}
        show_json({"file": str(target), "rows": scored, **facts})
    else:
        typer.echo(f"{target}: {scored} rows, scored by {version.name} version {version.version}")


def _check_target(target: Path, source: Path, *, overwrite: bool) -> None:
    """Raise ConfigError for what could not be written, before a model is fetched and asked."""
    if target.is_dir():
        raise ConfigError(f"{target} is a folder.", fix=f"Name a file: {target / source.name}")
    if not target.parent.is_dir():
        raise ConfigError(f"There is no folder {target.parent}.", fix=f"mkdir -p {target.parent}")
    if target.exists() and not overwrite:
        raise ConfigError(f"{target} exists already.", fix="Name another file, or --overwrite.")


@contextmanager
def _opened(model_uri: str) -> Iterator[tuple[ModelVersion, Bundle]]:
    """The version that the address means, with its files fetched, verified and opened."""
    from modelyard.scoring.bundle import open_bundle
    from modelyard.scoring.child.opening import ChildOptions

    settings = read_settings(CommandSettings)
    if not model_uri and not settings.model_name:
        raise ConfigError("Which model?", fix="Say --model-uri models:/NAME@ALIAS.")
    uri = parse_model_uri(model_uri or f"models:/{settings.model_name}@{CHAMPION}")
    with (
        RegistryClient.of(settings) as registry,
        tempfile.TemporaryDirectory(prefix="modelyard-batch-") as folder,
    ):
        version = registry.resolve(uri)
        fetch(registry, version, Path(folder))
        with open_bundle(Path(folder), ChildOptions.offline()) as bundle:
            yield version, bundle


def _progress() -> Progress:
    """A bar on a terminal; nothing in a pipe, where it would be lines without end."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
