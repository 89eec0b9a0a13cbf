"""From a version in the registry, or in the cache, to a snapshot that may be served.

Blocking, and away from the event loop: fetch beside what is served, verify, open, try.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from modelyard.contract import Contract
from modelyard.errors import (
    ModelDamagedError,
    ModelNotLoadedError,
    ModelRefusedError,
    ModelyardError,
    RegistryError,
)
from modelyard.registry import ModelUri, ModelVersion, RegistryClient, verify_files
from modelyard.registry.fetch import Verification, fetch, verify
from modelyard.registry.transfer import Transfer, TransferLimits
from modelyard.scoring.bundle import Bundle, needs_child, open_bundle
from modelyard.scoring.child.opening import ChildOptions
from modelyard.scoring.child.runner import ChildRunner
from modelyard.scoring.daemon import DaemonCall
from modelyard.scoring.files import VersionFiles
from modelyard.scoring.proof import ProofLimits, prove
from modelyard.serving.following.cache import CachedVersion, VersionCache
from modelyard.serving.following.proof_record import ProofRecord
from modelyard.serving.model.snapshot import Origin, Snapshot

log = logging.getLogger(__name__)

_ATTEMPTS = 5
_INLINE_S = 0.01
_READY = ("READY", "")


class _DamagedError(ModelRefusedError):
    """Files of the cache are not, or no longer, what was registered."""


class Loader:
    """Makes snapshots of what `uri` means.

    Args:
        uri: what to serve.
        registry: where versions are registered.
        cache: where their files are kept.
        require_manifest: refuse versions that are not verified by a registered manifest.
        allow_schema_change: take versions that break those who call the served one.
        children: how models run that do not run in this process; with None every graph does, and
            code is refused.
        transfer: what fetching a version may take.
        proof: what a version may take, on trial in a process of its own, before it is read and
            opened in this one.
    """

    def __init__(
        self,
        uri: ModelUri,
        registry: RegistryClient,
        cache: VersionCache,
        *,
        require_manifest: bool,
        allow_schema_change: bool,
        children: ChildOptions | None = None,
        transfer: TransferLimits | None = None,
        proof: ProofLimits | None = None,
    ) -> None:
        self.uri = uri
        self._registry = registry
        self._cache = cache
        self._require_manifest = require_manifest
        self._allow_schema_change = allow_schema_change
        self._children = children
        self._transfer = transfer or TransferLimits()
        self._proof = proof or ProofLimits()
        self._memory = f"{registry.tracking_uri} {uri}"

    def resolve(self) -> ModelVersion:
        """The version that the address means now."""
        return self._registry.resolve(self.uri)

    def load(
        self,
        version: ModelVersion,
        served: Contract | None,
        abandoned: threading.Event | None = None,
    ) -> Snapshot:
        """`version`, ready to be served in the place of a model with the contract `served`.

        Args:
            abandoned: ends a download under way once it is set.

        Raises:
            ModelRefusedError, ContractError: it may not, or cannot, be served.
            RegistryError: its files cannot be had.
        """
        if version.status not in _READY:
            raise ModelRefusedError(
                f"{version.name} version {version.version} has the status {version.status} in the "
                "registry; expected READY."
            )
        for _ in range(_ATTEMPTS):
            cached = self._cache.find(version)
            entry = cached or self._fetch(version, abandoned)
            try:
                snapshot = self._open(entry, version, served)
            except _DamagedError as error:
                if cached is None:
                    raise ModelDamagedError(error.detail) from error
                log.warning("The cached version %s is damaged: %s", version.version, error.detail)
                self._cache.discard(cached)
                continue
            if snapshot is not None:
                self._keep(entry)
                return snapshot
        raise RegistryError(f"Version {version.version} does not stay in the cache.")

    def load_remembered(self) -> Snapshot | None:
        """The version that was served last, from the cache alone; None when there is none.

        Raises:
            ModelRefusedError: its files are no longer what they were.
        """
        entry = self._cache.remembered(self._memory)
        return None if entry is None else self._open(entry, entry.version, None)

    def _keep(self, entry: CachedVersion) -> None:
        """Remember the entry for the next start; a disk that is full does not cost the model."""
        try:
            self._cache.remember(self._memory, entry)
            self._cache.prune()
        except OSError as error:
            log.warning("The cache cannot be written: %s", error)

    def _fetch(self, version: ModelVersion, abandoned: threading.Event | None) -> CachedVersion:
        """Download the version; it becomes an entry of the cache when its manifest agrees."""

        def fill(folder: Path) -> None:
            transfer = Transfer(self._transfer, abandoned)
            self._require_verified(version, fetch(self._registry, version, folder, transfer))

        try:
            return self._cache.add(version, self._origin(version), fill)
        except OSError as error:
            raise ModelNotLoadedError(
                f"The files of {version.name} version {version.version} could not be written to "
                f"the cache, {self._cache.folder}: {error.strerror or error}.",
                fix="Make room there, or keep fewer versions (SERVING_CACHE_VERSIONS); it is tried "
                "again.",
            ) from error

    def _require_verified(self, version: ModelVersion, verification: Verification) -> None:
        if self._require_manifest and verification is not Verification.VERIFIED:
            raise ModelRefusedError(
                f"{version.name} version {version.version} is refused by "
                f"SERVING_REQUIRE_MANIFEST. {verification.explanation}"
            )

    def _origin(self, version: ModelVersion) -> Origin:
        """What the version's tags and its run say; a run that is gone is no reason to refuse."""
        metrics, run_tags = {}, {}
        if version.run_id:
            try:
                run = self._registry.run(version.run_id)
                metrics, run_tags = dict(run.metrics), dict(run.tags)
            except RegistryError as error:
                log.warning("The run of version %s is not shown: %s", version.version, error.detail)
        tags = {**run_tags, **version.tags}
        return Origin(
            run_id=version.run_id,
            commit=tags.get("git.commit") or tags.get("mlflow.source.git.commit", ""),
            data_version=tags.get("data.md5", ""),
            metrics=metrics,
        )

    def _open(
        self, entry: CachedVersion, version: ModelVersion, served: Contract | None
    ) -> Snapshot | None:
        """Verify, open and try an entry; None when another server removed it first."""
        with ExitStack() as holding:
            if not holding.enter_context(self._cache.hold(entry)):
                return None
            try:
                verification = verify(version, entry.files)
                self._require_verified(version, verification)
                if verification is not Verification.VERIFIED:
                    verify_files(entry.files, entry.sha256)
            except ModelRefusedError as error:
                raise _DamagedError(error.detail, fix=error.fix) from error
            record = self._prove(entry, is_serving=served is not None)
            bundle = self._open_bundle(entry, record)
            if isinstance(bundle.runner, ChildRunner):  # each new child reads the files again
                bundle.runner.on_close(holding.pop_all().close)
        queued = bundle.runner if isinstance(bundle.runner, ChildRunner) else None
        try:
            if served is not None and not self._allow_schema_change:
                _check_compatible(served, bundle.contract)
            trial = bundle.try_out(served)
        except BaseException:
            bundle.runner.close()
            raise
        record.succeed()
        contract = bundle.contract
        if not bundle.has_example:  # documentation shows a row that is answered
            contract = contract.model_copy(update={"example": dict(trial.row)})
        return Snapshot(
            version=version,
            contract=contract,
            contract_source=bundle.contract_source,
            origin=entry.origin,
            verification=verification,
            runner=bundle.runner,
            decoder=bundle.decoder,
            loaded_at=datetime.now(UTC),
            trial_row=trial.source,
            runs_inline=queued is None and trial.seconds <= _INLINE_S,
            queued=queued,
        )

    def _prove(self, entry: CachedVersion, *, is_serving: bool) -> ProofRecord:
        """See that reading and opening the entry here can do no harm.

        A server that serves nothing yet has nothing to lose, and starts half a second sooner
        without a proof: only what may have ended the last start is proved then.
        """
        record = ProofRecord(entry.folder, entry.sha256)
        if not record.is_proved:
            if is_serving or record.is_suspect:
                prove(entry.files, self._proof, has_children=self._children is not None)
            else:
                record.begin()
        return record

    def _open_bundle(self, entry: CachedVersion, record: ProofRecord) -> Bundle:
        try:
            if self._children is not None and needs_child(VersionFiles(entry.files)):
                return open_bundle(entry.files, self._children)  # a child has limits of its own
            call = DaemonCall(lambda: open_bundle(entry.files, self._children), name="open-model")
            return call.result(self._proof.seconds)
        except TimeoutError as error:
            raise ModelNotLoadedError(
                f"The graph was not opened within {self._proof.seconds:g} s.",
                fix="If it needs longer, raise SERVING_CHILD_START_TIMEOUT_S.",
            ) from error
        except ModelyardError:
            record.forget()
            raise


def _check_compatible(served: Contract, new: Contract) -> None:
    if breaks := served.breaking_changes(new):
        raise ModelRefusedError(
            f"The version would break those who call the served model: {'; '.join(breaks)}.",
            fix="If they are ready for it, set SERVING_ALLOW_SCHEMA_CHANGE=true.",
        )
