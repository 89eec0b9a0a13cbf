"""The model registry: `models:/` addresses, versions, aliases, files and their manifest."""

from modelyard.registry.client import RegistryClient
from modelyard.registry.manifest import read_manifest, verify_files, write_manifest
from modelyard.registry.records import ArtifactFile, ModelVersion, RegisteredModel, Run
from modelyard.registry.uri import ModelUri, Selector, parse_model_uri

__all__ = [
    "ArtifactFile",
    "ModelUri",
    "ModelVersion",
    "RegisteredModel",
    "RegistryClient",
    "Run",
    "Selector",
    "parse_model_uri",
    "read_manifest",
    "verify_files",
    "write_manifest",
]
