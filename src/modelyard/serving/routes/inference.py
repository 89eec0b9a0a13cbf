"""The other routes of the Open Inference Protocol V2: metadata, health, repository."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from modelyard.errors import NoModelError
from modelyard.registry import parse_model_uri
from modelyard.serving.following.follower import Follower
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.problem import Problem
from modelyard.serving.protocols.inference import check_model
from modelyard.serving.protocols.tensors import DATATYPES
from modelyard.serving.routes.admin import AdminToken, Credentials
from modelyard.serving.web.readiness import Readiness

_TAG = "open inference protocol"
EXTENSIONS = ["binary_tensor_data", "model_repository"]


class ServerMetadata(BaseModel):
    """The server, and the extensions that it supports."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """One input or output; -1 stands for any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The served model's tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class RepositoryEntry(BaseModel):
    """A model that the server follows."""

    name: str
    version: str
    state: str
    reason: str


def metadata_routes(follower: Follower, server_version: str, readiness: Readiness) -> APIRouter:
    """What is served, and whether it is ready."""
    routes = APIRouter(tags=[_TAG])

    def served(model: str, version: str | None = None) -> Snapshot:
        snapshot = follower.served()
        check_model(snapshot, model, version)
        return snapshot

    @routes.get("/v2", summary="Server metadata")
    @routes.get("/v2/", include_in_schema=False)
    async def server() -> ServerMetadata:
        return ServerMetadata(name="modelyard", version=server_version, extensions=EXTENSIONS)

    @routes.get("/v2/health/live", summary="Does the process answer?")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get("/v2/health/ready", summary="Is a model served?")
    async def ready() -> dict[str, bool]:
        follower.served()
        readiness.check_ready()
        return {"ready": True}

    @routes.get("/v2/models/{model}/ready", summary="Is this model served?")
    async def model_ready(model: str) -> dict[str, Any]:
        snapshot = served(model)
        readiness.check_ready()
        return {"name": snapshot.version.name, "ready": True}

    @routes.get("/v2/models/{model}/versions/{version}/ready", summary="Is this version served?")
    async def version_ready(model: str, version: str) -> dict[str, Any]:
        snapshot = served(model, version)
        readiness.check_ready()
        return {"name": snapshot.version.name, "ready": True}

    @routes.get("/v2/models/{model}", summary="The model's tensors")
    async def metadata(model: str) -> ModelMetadata:
        return _metadata(served(model))

    @routes.get("/v2/models/{model}/versions/{version}", summary="The version's tensors")
    async def version_metadata(model: str, version: str) -> ModelMetadata:
        return _metadata(served(model, version))

    return routes


def repository_routes(follower: Follower, token: AdminToken) -> APIRouter:
    """The model repository extension: what is followed, and a way to look at the registry now."""
    routes = APIRouter(tags=[_TAG])

    # the body is optional, and some clients send none: it is not read
    @routes.post("/v2/repository/index", summary="What the server follows")
    async def index() -> list[RepositoryEntry]:
        name = parse_model_uri(follower.uri).name
        try:
            version = follower.served().version.version
        except NoModelError as error:
            reason = error.sentence()
            return [RepositoryEntry(name=name, version="", state="UNAVAILABLE", reason=reason)]
        return [RepositoryEntry(name=name, version=version, state="READY", reason="")]

    @routes.post("/v2/repository/models/{model}/load", summary="Look at the registry now")
    async def load(model: str, credentials: Credentials) -> Response:
        token.check(credentials)
        _check_followed(model, follower)
        await follower.reload()
        return Response()

    @routes.post("/v2/repository/models/{model}/unload", summary="Refused: see the answer")
    async def unload(model: str, credentials: Credentials) -> Response:
        token.check(credentials)
        _check_followed(model, follower)
        raise Problem(
            "not-unloaded",
            409,
            "Conflict",
            f"This server serves what {follower.uri} means; nothing can be unloaded.",
            fix="Move the alias in the registry, or stop the server.",
        )

    return routes


def _check_followed(model: str, follower: Follower) -> None:
    name = parse_model_uri(follower.uri).name
    if model != name:
        raise Problem(
            "not-served", 404, "Not Found", f"This server follows {name}, and no other model."
        )


def _metadata(snapshot: Snapshot) -> ModelMetadata:
    contract = snapshot.contract
    classes = contract.output.classes
    output = TensorMetadata(
        name=contract.output.name, datatype="FP64", shape=[-1, len(classes)] if classes else [-1]
    )
    return ModelMetadata(
        name=snapshot.version.name,
        versions=[snapshot.version.version],
        platform=snapshot.runner.description.split(" ")[0],
        inputs=[
            TensorMetadata(name=f.name, datatype=DATATYPES[f.type], shape=[-1])
            for f in contract.features
        ],
        outputs=[output],
    )
