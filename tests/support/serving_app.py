"""A server in this process: the whole ASGI application, a real model, a registry of folders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from modelyard.registry import ModelVersion
from modelyard.registry.fetch import Verification
from modelyard.scoring.bundle import open_bundle
from modelyard.scoring.child.opening import ChildOptions
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.scoring.trial import TrialRow
from modelyard.serving.app import create_app
from modelyard.serving.following.cache import VersionCache
from modelyard.serving.following.follower import Follower
from modelyard.serving.following.loader import Loader
from modelyard.serving.model.holder import Holder
from modelyard.serving.model.snapshot import Origin, Snapshot
from modelyard.serving.web.edge import Edge
from modelyard.settings import ServingSettings
from support.models.folders import FolderRegistry, write_version
from support.models.toy import NAME, URI

TOKEN = "sesame"
Result = TypeVar("Result")


@dataclass
class Server:
    """The application and its collaborators."""

    app: Edge
    holder: Holder
    follower: Follower
    loader: Loader
    registry: FolderRegistry
    cache: VersionCache
    folder: Path

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request, in an event loop of its own."""
        return self.run(lambda client: client.request(method, path, **request))

    def run(self, work: Callable[[httpx.AsyncClient], Awaitable[Result]]) -> Result:
        """What `work` returns when it is given a client."""

        async def main() -> Result:
            async with self.client() as client:
                return await work(client)

        return asyncio.run(main())

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            yield client

    @asynccontextmanager
    async def following(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client while the follower runs."""
        await self.follower.start()
        try:
            async with self.client() as client:
                yield client
        finally:
            await self.follower.stop()

    def serve(self, number: int = 1, **options: Any) -> None:
        """Serve version `number` without the follower."""
        files = self.folder / f"served-{number}"
        write_version(files, number, **options)
        self.holder.replace(snapshot_of(files, number))


MakeServer = Callable[..., Server]


def snapshot_of(folder: Path, number: int = 1) -> Snapshot:
    """The version in `folder` as the server holds it, without a registry."""
    bundle = open_bundle(folder, children=None)
    return Snapshot(
        version=ModelVersion(NAME, str(number), "run", "", "READY", 0),
        contract=bundle.contract,
        contract_source=bundle.contract_source,
        origin=Origin(),
        verification=Verification.ABSENT,
        runner=bundle.runner,
        decoder=RowDecoder(bundle.contract),
        loaded_at=datetime.now(UTC),
        trial_row=TrialRow.EXAMPLE,
        runs_inline=True,
    )


def build_server(folder: Path, registry: FolderRegistry | None = None, **values: Any) -> Server:
    """A server with its files in `folder`; `values` are settings."""
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    values = {"admin_token_file": token, "poll_interval_s": 60.0, **values}
    folders = {
        "cache_dir": folder / "cache",
        "prediction_log_dir": folder / "predictions",
    }
    settings = ServingSettings(MODEL_URI=str(URI), **folders, **values)
    registry = registry or FolderRegistry(folder / "registry")
    cache = VersionCache(settings.cache_dir, settings.cache_versions)
    cache.prepare()
    loader = Loader(
        URI,
        registry,
        cache,
        require_manifest=settings.require_manifest,
        allow_schema_change=settings.allow_schema_change,
        children=ChildOptions.of(settings),
    )
    holder = Holder()
    follower = Follower(loader, holder, settings.poll_interval_s)
    app = create_app(settings, holder, follower)
    return Server(app, holder, follower, loader, registry, cache, folder)
