"""Makes what is served follow what `MODEL_URI` means.

One task makes one pass after the other: it asks the registry and, when the answer is not the
version that is served, loads that version and hands it to the holder. When anything goes wrong, the
old version stays and `report` says why. A verdict on a version's files is remembered; a version
that ran out of time or memory, or arrived damaged, is tried again after longer and longer pauses.
One whose processes keep dying is refused, and its predecessor is served again. The task never ends
by itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic

from modelyard.errors import (
    ContractError,
    ModelDamagedError,
    ModelNotLoadedError,
    ModelRefusedError,
    ModelyardError,
    NoModelError,
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
)
from modelyard.registry import ModelVersion
from modelyard.scoring.daemon import in_daemon
from modelyard.serving.following.cache import identity
from modelyard.serving.following.loader import Loader
from modelyard.serving.following.loading import Loading
from modelyard.serving.following.report import FollowerReport, State
from modelyard.serving.following.setback import Setback
from modelyard.serving.model.holder import Holder
from modelyard.serving.model.snapshot import Snapshot

log = logging.getLogger(__name__)

_LONGEST_DELAY_S = 15.0
_STALE_AFTER_S, _STALE_INTERVALS = 30.0, 10
_JITTER = 0.25
_FIRST_LOAD_S = 5.0


class Follower:
    """Follows one address.

    Args:
        loader: resolves and loads; its calls block.
        holder: gets each new snapshot.
        interval_s: seconds between two passes, give or take a quarter.

    Attributes:
        uri: the address.
        report: what the last pass found.
        loads: how often a load ended in which way, for metrics.
    """

    def __init__(self, loader: Loader, holder: Holder, interval_s: float) -> None:
        self.uri = str(loader.uri)
        self.report = FollowerReport()
        self.loads: Counter[str] = Counter()
        self._loader = loader
        self._holder = holder
        self._interval_s = interval_s
        self._setback: Setback | None = None
        self._predecessor: ModelVersion | None = None
        self._failures = 0
        self._next_pass: asyncio.Future[FollowerReport] | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve the version that was served last, if the cache has it, and start following."""
        remembering = asyncio.create_task(self._serve_remembered(), name="remember")
        await asyncio.wait({remembering}, timeout=_FIRST_LOAD_S)
        self._task = asyncio.create_task(self._follow(remembering), name="follower")

    async def stop(self) -> None:
        """End the task; a call to the registry in progress is not waited for."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._next_pass is not None:
            self._next_pass.cancel()

    async def reload(self) -> None:
        """Make a pass now, in which a refused version gets another chance.

        Callers that ask before the pass has begun share it: fifty at once cause one load, and each
        sees the alias as it is after its call.

        Raises:
            ModelyardError: why the pass failed, or why the version is refused.
        """
        if self._next_pass is None:
            self._next_pass = asyncio.get_running_loop().create_future()
            self._wake.set()
        report = await asyncio.shield(self._next_pass)
        if report.error is not None:
            raise report.error

    @property
    def is_stale(self) -> bool:
        """Whether what is served may not be what the address means by now."""
        return self.report.is_stale(max(_STALE_AFTER_S, _STALE_INTERVALS * self._interval_s))

    def served(self) -> Snapshot:
        """What is served now.

        Raises:
            NoModelError: nothing is; says why, and what to do about it.
        """
        if self._holder.snapshot is None:
            raise self.absence()
        return self._holder.snapshot

    def absence(self) -> NoModelError:
        """Why no model is served, and what to do about it."""
        return self.report.absence(self.uri)

    # -- passes --------------------------------------------------------------------------------

    async def _follow(self, remembering: asyncio.Task[None]) -> None:
        await remembering
        while True:
            asked, self._next_pass = self._next_pass, None
            self._wake.clear()
            if asked is not None:
                self._setback = None
            await self._pass()
            if asked is not None and not asked.done():
                asked.set_result(self.report)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._delay_s()):
                    await self._wake.wait()

    def _delay_s(self) -> float:
        longest = max(_LONGEST_DELAY_S, self._interval_s)
        if self._holder.snapshot is None:
            longest = self._interval_s  # clients are waiting for the first model
        delay = min(self._interval_s * 2.0**self._failures, longest)
        return delay * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret

    async def _pass(self) -> None:
        """One look at the registry; every failure becomes a report."""
        await self._fall_back()
        try:
            version = await in_daemon(self._loader.resolve, "resolve")
        except RegistryNotFoundError as error:
            self._tell(State.NOT_FOUND, error, None)
        except ModelyardError as error:
            self._tell(_unreachable_or_failed(error), error, self.report.wanted_version)
        except Exception as error:
            log.exception("A look at the registry failed.")
            self._tell(State.FAILED, _unexpected(error), self.report.wanted_version)
        else:
            newer: ModelVersion | None = version
            while newer is not None:
                newer = await self._converge(newer)

    async def _converge(self, version: ModelVersion) -> ModelVersion | None:
        """Serve `version`; returns another one when the address means that one meanwhile."""
        served, setback = self._holder.snapshot, self._setback
        wanted = version.version
        if served is not None and identity(served.version) == identity(version):
            error = _failure(served)
            self._tell(State.REFUSED if error else State.FOLLOWING, error, wanted)
            return None
        if setback is not None and setback.version != identity(version):
            setback = self._setback = None
        if setback is not None and not setback.is_over:
            self._tell(setback.state, setback.error, wanted)
            return None
        contract = served.contract if served is not None else None
        loading = Loading(self._loader, version, contract)
        while not await loading.is_done_within(self._interval_s):
            newer = await self._look_again(version)
            if identity(newer) != identity(version) and loading.abandon():
                return newer
        try:
            snapshot = loading.result()
        except Exception as error:  # noqa: BLE001 - each becomes a report
            self._tell_failed_load(version, error)
            return None
        self._setback = None
        if served is not None and not _failure(served):
            self._predecessor = served.version
        self._serve(snapshot)
        self.loads["loaded"] += 1
        log.info("%s is version %s: served from now on.", self.uri, wanted)
        self._tell(State.FOLLOWING, None, wanted)
        return None

    async def _look_again(self, version: ModelVersion) -> ModelVersion:
        """What the address means while `version` is loaded; `version` where that is not known."""
        try:
            newer = await in_daemon(self._loader.resolve, "resolve")
        except Exception:  # noqa: BLE001 - the pass after this load reports it
            return version
        self._tell(State.LOADING, None, version.version)
        return newer

    def _tell_failed_load(self, version: ModelVersion, error: Exception) -> None:
        wanted = version.version
        if isinstance(error, ModelNotLoadedError | ModelDamagedError):
            self._setback = Setback.postponed(
                identity(version), error, self._setback, self._interval_s
            )
            self._tell(self._setback.state, error, wanted)
        elif isinstance(error, ModelRefusedError | ContractError):
            self._setback = Setback.refused(identity(version), error)
            self._tell(State.REFUSED, error, wanted)
        elif isinstance(error, ModelyardError):
            self._tell(_unreachable_or_failed(error), error, wanted)
        else:
            log.error("Version %s could not be loaded.", wanted, exc_info=error)
            self._tell(State.FAILED, _unexpected(error), wanted)
        self.loads["refused" if self.report.state is State.REFUSED else "failed"] += 1

    def _serve(self, snapshot: Snapshot) -> None:
        loop = asyncio.get_running_loop()

        def look_now() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._wake.set)

        if snapshot.queued is not None:
            snapshot.queued.on_failure(look_now)
        self._holder.replace(snapshot)

    async def _fall_back(self) -> None:
        """Refuse the served version when it has failed, and serve its predecessor again."""
        served, predecessor = self._holder.snapshot, self._predecessor
        error = _failure(served) if served is not None else None
        if served is None or error is None:
            return
        if predecessor is None or identity(predecessor) == identity(served.version):
            return  # there is nothing better: it is served whenever its processes live
        try:
            snapshot = await in_daemon(lambda: self._loader.load(predecessor, None), "fall-back")
        except Exception as failure:  # noqa: BLE001 - whatever it is, the failed version stays
            log.warning("Version %s could not be served again: %s", predecessor.version, failure)
            return
        log.error(
            "Version %s is refused: %s Version %s is served again.",
            *(served.version.version, error.detail, predecessor.version),
        )
        self._setback = Setback.refused(identity(served.version), error)
        self._serve(snapshot)
        self.loads["fell back"] += 1

    async def _serve_remembered(self) -> None:
        try:
            snapshot = await in_daemon(self._loader.load_remembered, "remember")
        except ModelyardError as error:
            log.warning("The version in the cache cannot be served: %s", error.sentence())
        except Exception:
            log.exception("The version in the cache could not be loaded.")
        else:
            if snapshot is not None:
                self._serve(snapshot)
                self.loads["remembered"] += 1
                log.info(
                    "Version %s is served from the cache until the registry answers.",
                    snapshot.version.version,
                )

    def _tell(self, state: State, error: ModelyardError | None, wanted: str | None) -> None:
        """Report how a pass ended; log it when it ended differently from the one before."""
        before = self.report
        answered = state is not State.UNREACHABLE
        self.report = FollowerReport(
            state=state,
            stale=state is not State.FOLLOWING,
            checked_at=datetime.now(UTC) if answered else before.checked_at,
            checked_at_s=monotonic() if answered else before.checked_at_s,
            wanted_version=wanted,
            error=error,
        )
        # a version that is tried again later does not delay the looks at the registry
        retries_later = state in (State.UNREACHABLE, State.FAILED) and self._setback is None
        self._failures = min(self._failures + 1, 10) if retries_later else 0
        if (state, str(error)) != (before.state, str(before.error)):
            if error is not None:
                log.warning("%s: %s. %s", self.uri, state.value, error.sentence())
            elif before.error is not None and state is State.FOLLOWING:
                log.info("%s: %s again.", self.uri, state.value)


def _failure(served: Snapshot) -> ModelyardError | None:
    """Why a loaded version should no longer be served; None while it is good."""
    if served.queued is None or not served.queued.failure:
        return None
    return ModelRefusedError(f"Version {served.version.version}: {served.queued.failure}")


def _unreachable_or_failed(error: ModelyardError) -> State:
    return State.UNREACHABLE if isinstance(error, RegistryUnavailableError) else State.FAILED


def _unexpected(error: Exception) -> ModelyardError:
    return RegistryError(
        f"Something unexpected went wrong ({type(error).__name__}); the server's log says what."
    )
