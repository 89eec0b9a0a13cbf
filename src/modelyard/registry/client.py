"""MLflow's registry and artifact store over its REST API, without importing mlflow.

MLflow's own client costs a second and 130 MiB to import and blocks for minutes on a dead server;
serving can afford neither. Only the calls that the platform makes are here; each returns within
`timeout_s` or raises. Protocol: https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Any, Self
from urllib.parse import quote

from modelyard.errors import (
    ModelRefusedError,
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
)
from modelyard.registry.lean_httpx import httpx
from modelyard.registry.reads import API, ARTIFACTS
from modelyard.registry.records import (
    ArtifactFile,
    ModelVersion,
    RegisteredModel,
    Run,
    model_of,
    run_of,
    version_of,
)
from modelyard.registry.transfer import Transfer
from modelyard.registry.uri import ModelUri, Selector
from modelyard.settings import RegistrySettings

_PROXY_SCHEME = re.compile(r"^mlflow-artifacts:/+(?:[^/]+:\d+/)?")
_DEEPEST_FOLDER = 32


class RegistryClient(AbstractContextManager["RegistryClient"]):
    """A connection to one MLflow server; safe to share between threads.

    Every method raises `RegistryUnavailableError` when the server does not answer in time, and
    `RegistryNotFoundError` when it does not have what was asked for.
    """

    def __init__(self, tracking_uri: str, timeout_s: float = 5.0) -> None:
        self.tracking_uri = tracking_uri.rstrip("/")
        self._timeout_s = timeout_s
        self._http = httpx.Client(base_url=self.tracking_uri, timeout=timeout_s)

    @classmethod
    def of(cls, settings: RegistrySettings) -> Self:
        """The connection that a process' settings name."""
        return cls(settings.mlflow_tracking_uri, settings.registry_timeout_s)

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # -- versions ------------------------------------------------------------------------------

    def resolve(self, uri: ModelUri) -> ModelVersion:
        """The version that `uri` points to now."""
        match uri.selector:
            case Selector.ALIAS:
                return self.aliased(uri.name, uri.value)
            case Selector.VERSION:
                return self.version(uri.name, uri.value)
            case Selector.LATEST:
                newest = next(self.versions(uri.name), None)
            case Selector.STAGE:
                body = self._post(
                    "registered-models/get-latest-versions", name=uri.name, stages=[uri.value]
                )
                newest = next(map(version_of, body.get("model_versions", [])), None)
        if newest is None:
            raise RegistryNotFoundError(
                f"There is no version for {uri} in the registry at {self.tracking_uri}."
            )
        return newest

    def aliased(self, name: str, alias: str) -> ModelVersion:
        """The version that `alias` of the model `name` points to."""
        try:
            body = self._get("registered-models/alias", name=name, alias=alias)
        except RegistryNotFoundError as error:
            raise RegistryNotFoundError(
                f'The registry has no model "{name}" with the alias "{alias}".'
            ) from error
        return version_of(body.get("model_version"))

    def version(self, name: str, version: str) -> ModelVersion:
        """The version number `version` of the model `name`."""
        body = self._get("model-versions/get", name=name, version=version)
        return version_of(body.get("model_version"))

    def versions(self, name: str) -> Iterator[ModelVersion]:
        """All versions of the model `name`, newest first; none when there is no such model."""
        quote_mark = '"' if "'" in name else "'"
        return map(
            version_of,
            self._search(
                "model-versions",
                filter=f"name={quote_mark}{name}{quote_mark}",
                order_by="version_number DESC",
            ),
        )

    def registered_model(self, name: str) -> RegisteredModel:
        """The registered model `name` itself."""
        return model_of(self._get("registered-models/get", name=name)["registered_model"])

    def aliases(self, name: str) -> Mapping[str, str]:
        """Alias → version number of the model `name`; empty when there is no such model."""
        try:
            return self.registered_model(name).aliases
        except RegistryNotFoundError:
            return {}

    def model_names(self) -> list[str]:
        """The names of all registered models."""
        return [str(model["name"]) for model in self._search("registered-models")]

    def run(self, run_id: str) -> Run:
        """What the run `run_id` recorded."""
        return run_of(self._get("runs/get", run_id=run_id)["run"])

    def _search(self, kind: str, **query: str) -> Iterator[dict[str, Any]]:
        """Every entry that a search for `kind` finds, page by page."""
        token = ""
        while True:
            body = self._get(f"{kind}/search", max_results=100, page_token=token, **query)
            yield from body.get(kind.replace("-", "_"), [])
            token = body.get("next_page_token", "")
            if not token:
                return

    # -- writing -------------------------------------------------------------------------------

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point `alias` to `version`; the registry offers no compare-and-set."""
        self._post("registered-models/alias", name=name, alias=alias, version=version)

    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set one tag of a model version."""
        self._post("model-versions/set-tag", name=name, version=version, key=key, value=value)

    def set_model_tag(self, name: str, key: str, value: str) -> None:
        """Set one tag of a registered model."""
        self._post("registered-models/set-tag", name=name, key=key, value=value)

    def delete_model_tag(self, name: str, key: str) -> None:
        """Remove one tag of a registered model; nothing happens where it has none of this key."""
        with suppress(RegistryNotFoundError):
            self._answer(
                "DELETE", f"{API}/registered-models/delete-tag", json={"name": name, "key": key}
            )

    # -- files ---------------------------------------------------------------------------------

    def download(
        self, version: ModelVersion, folder: Path, transfer: Transfer | None = None
    ) -> None:
        """Fetch every file of `version` into `folder`, which is created.

        Args:
            transfer: bounds it; the usual limits when it is not given.

        Raises:
            RegistryNotFoundError: the version is registered, but the store has no files for it.
            RegistryUnavailableError: it does not answer, or not to the end.
            ModelRefusedError: a file's name would lead out of `folder`, or there is too much.
        """
        transfer = transfer or Transfer()
        source = self._folder(version)
        files = transfer.admit(self._walk(source, PurePosixPath()))
        if not files:
            raise RegistryNotFoundError(
                f"{version.name} version {version.version} is registered, but its files are not in "
                f"the artifact store ({source}).",
                fix="Train again, or restore the backup of the store.",
            )
        for file in files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(f"{source}/{file.path}", target, transfer)
            transfer.finish(file, target)

    def fetch_file(self, version: ModelVersion, path: str, target: Path) -> None:
        """Write one file of `version` to `target`."""
        self._fetch(f"{self._folder(version)}/{path}", target, Transfer())

    def version_text(self, version: ModelVersion, path: str) -> str:
        """The text of one file of `version`."""
        return self._text(f"{self._folder(version)}/{path}")

    def run_text(self, run: Run, path: str) -> str:
        """The text of one artifact of `run`."""
        return self._text(f"{_PROXY_SCHEME.sub('', run.artifact_uri).strip('/')}/{path}")

    def _text(self, path: str) -> str:
        return self._request("GET", f"{ARTIFACTS}/{quote(path)}").text

    def _folder(self, version: ModelVersion) -> str:
        """Path of the version's files in the server's artifact proxy."""
        uri = self._get(
            "model-versions/get-download-uri", name=version.name, version=version.version
        )["artifact_uri"]
        if not _PROXY_SCHEME.match(uri):
            raise RegistryError(
                f"The files of {version.name} version {version.version} are at {uri}; expected an "
                "MLflow server that proxies its artifact store (mlflow-artifacts:/).",
                fix="Start the server with --serve-artifacts and register the model again.",
            )
        return _PROXY_SCHEME.sub("", uri).strip("/")

    def _walk(self, folder: str, relative: PurePosixPath) -> Iterator[ArtifactFile]:
        body = self._answer(
            "GET", ARTIFACTS, params={"path": str(PurePosixPath(folder) / relative)}
        )
        for entry in body.get("files", []):
            name = entry["path"]
            plain = PurePosixPath(name).name == name and name not in ("", "..")
            if not plain or not name.isprintable() or "\\" in name:
                raise ModelRefusedError("The artifact store lists a file name that is not plain.")
            path = relative / name
            if len(path.parts) > _DEEPEST_FOLDER:
                raise ModelRefusedError("The artifact store's folders are nested too deeply.")
            if entry["is_dir"]:
                yield from self._walk(folder, path)
            else:
                yield ArtifactFile(path, int(entry.get("file_size") or 0))

    def _fetch(self, path: str, target: Path, transfer: Transfer) -> None:
        url = f"{ARTIFACTS}/{quote(path)}"
        try:
            with self._http.stream("GET", url) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise self._refusal(response)
                with target.open("wb") as file:
                    for chunk in response.iter_bytes():
                        transfer.receive(len(chunk))
                        file.write(chunk)
        except httpx.HTTPError as error:
            raise self._unavailable(error) from error

    # -- HTTP ----------------------------------------------------------------------------------

    def _get(self, path: str, **params: str | int) -> dict[str, Any]:
        return self._answer("GET", f"{API}/{path}", params=params)

    def _post(self, path: str, **body: Any) -> dict[str, Any]:
        return self._answer("POST", f"{API}/{path}", json=body)

    def _request(self, method: str, url: str, **request: Any) -> httpx.Response:
        ends_at, parts = monotonic() + self._timeout_s, []
        try:
            with self._http.stream(method, url, **request) as coming:
                for part in coming.iter_bytes():
                    parts.append(part)
                    if monotonic() > ends_at:  # httpx' own limit is for each read
                        raise httpx.ReadTimeout("it answers too slowly")
        except httpx.HTTPError as error:
            raise self._unavailable(error) from error
        response = httpx.Response(
            coming.status_code, content=b"".join(parts), request=coming.request
        )
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response)
        return response

    def _answer(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        try:
            body = self._request(method, url, **request).json()
        except ValueError as error:
            raise RegistryError(
                f"{self.tracking_uri} did not answer with JSON: is it MLflow?"
            ) from error
        return body if isinstance(body, dict) else {}

    def _unavailable(self, error: httpx.HTTPError) -> RegistryUnavailableError:
        why = str(error) or type(error).__name__
        return RegistryUnavailableError(
            f"The MLflow server at {self.tracking_uri} does not answer ({why}).",
            fix="Start it (`docker compose up -d --wait mlflow`), or set MLFLOW_TRACKING_URI.",
        )

    def _refusal(self, response: httpx.Response) -> RegistryError:
        try:
            body = response.json()
            code = str(body.get("error_code", ""))
            message = str(body.get("message", "") or body.get("detail", ""))  # of a proxy
        except (ValueError, AttributeError):
            code, message = "", response.text[:200].strip()
        # MLflow reports an unknown alias as an invalid parameter
        unknown_alias = code == "INVALID_PARAMETER_VALUE" and "alias" in message
        if response.status_code == httpx.codes.NOT_FOUND or unknown_alias:
            return RegistryNotFoundError(message or f"{response.url} does not exist.")
        detail = f"MLflow answered {response.status_code}: {message or code}"
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return RegistryUnavailableError(detail)
        return RegistryError(detail)
