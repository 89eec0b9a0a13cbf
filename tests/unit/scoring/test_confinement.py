"""What a model's process may reach, as far as no process is needed to see it."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import pytest

from modelyard.errors import ModelNotLoadedError
from modelyard.scoring.child import opening
from modelyard.scoring.child.confinement import Confinement
from modelyard.scoring.child.opening import ChildOptions
from modelyard.scoring.child.oversight import Budget, Overseen, Usage, usage_of_groups
from modelyard.scoring.child.process import ChildProcess
from modelyard.scoring.child.scratch import Scratch, remove_abandoned
from modelyard.scoring.child.semaphores import SharedSemaphore

MIB = 2**20


@pytest.fixture
def scratch() -> Scratch:
    made = Scratch()
    yield made
    made.remove()


def options(isolation: str) -> ChildOptions:
    return ChildOptions(1, 0, 60, 64, 5, isolation=isolation)


def open_on_old_kernel(monkeypatch: pytest.MonkeyPatch, isolation: str) -> list[object]:
    """Open a model where nothing can be confined; the starts of processes."""
    started: list[object] = []
    monkeypatch.setattr(opening, "gaps", lambda: ("Landlock", "filters"))
    monkeypatch.setattr(ChildProcess, "__init__", lambda *_: started.append(1))
    monkeypatch.setattr(ChildProcess, "load", lambda *_: None)
    opening.OpenedModel(Path(), {}, options(isolation))
    return started


def test_what_is_required_and_cannot_be_had_is_refused_before_a_process_starts(monkeypatch):
    started: list[object] = []
    with pytest.raises(ModelNotLoadedError) as refusal:
        started = open_on_old_kernel(monkeypatch, "required")
    assert started == []
    assert "expected Landlock and filters" in refusal.value.detail
    assert "SERVING_CHILD_ISOLATION=auto" in refusal.value.fix


@pytest.mark.parametrize(
    ("isolation", "words"), [("auto", "no Landlock and no filters"), ("off", "ISOLATION=off")]
)
def test_what_is_not_confined_is_said_in_the_log(monkeypatch, caplog, isolation, words):
    with caplog.at_level(logging.WARNING):
        assert open_on_old_kernel(monkeypatch, isolation) == [1]
    assert words in caplog.text


def test_a_confinement_passes_through_a_command_whatever_its_paths():
    confinement = Confinement('/a "b"/ç\n', "/tmp/own", network=True)
    assert Confinement.from_json(confinement.to_json()) == confinement


def test_a_process_is_left_its_version_and_its_folder_and_no_parent_of_them():
    paths = dict(Confinement("/cache/versions/7/files", "/tmp/own")._rules())
    assert {"/cache/versions/7/files", "/tmp/own", "/usr", "/dev/null"} <= paths.keys()
    for path in paths:
        assert path not in {"/", "/tmp", "/etc", "/proc", "/dev", "/dev/shm", "/var", "/run"}
    assert "/etc/resolv.conf" not in paths
    assert "/etc/resolv.conf" in dict(Confinement("/v", network=True)._rules())


def test_a_folder_is_removed_however_deep_and_odd_it_is(scratch: Scratch):
    here = os.open(scratch.path, os.O_RDONLY)
    try:
        for _ in range(3000):  # deeper than a path may be long, and than Python may recurse
            os.mkdir("d", dir_fd=here)
            deeper = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    finally:
        os.close(here)
    (scratch.path / "closed").mkdir(mode=0)
    (scratch.path / "unlisted").mkdir(mode=0o300)
    (scratch.path / "unlisted/file").touch()
    outside = scratch.path.with_name(f"{scratch.path.name}-outside")
    outside.mkdir()
    (outside / "kept").touch()
    (scratch.path / "link").symlink_to(outside)
    scratch.remove()
    assert not scratch.path.exists()
    assert (outside / "kept").exists()
    (outside / "kept").unlink()
    outside.rmdir()


def test_a_folder_is_measured_by_what_it_holds(scratch: Scratch):
    assert not scratch.holds_more(MIB, 10)
    (scratch.path / "inner").mkdir()
    (scratch.path / "inner/file").write_bytes(bytes(2 * MIB))
    with (scratch.path / "hole").open("wb") as file:
        file.truncate(2**40)
    assert scratch.holds_more(MIB, 10)
    assert not scratch.holds_more(4 * MIB, 10)
    for number in range(10):
        (scratch.path / str(number)).touch()
    assert scratch.holds_more(4 * MIB, 10)
    scratch.remove()
    assert not scratch.holds_more(MIB, 10), "it is gone already"


def test_too_much_of_anything_is_named(scratch: Scratch):
    budget = Budget(memory_bytes=MIB, processes=3, threads=9)
    child = Overseen(1, budget, scratch, lambda _: None)
    here = (os.getpid(),)
    assert child.excess_in_number(Usage(3, 9)) == child.excess_in_size(Usage(3, 9, MIB)) == ""
    assert "4 processes, and 3 are allowed" in child.excess_in_number(Usage(4, 9))
    assert "10 threads, and 9 are allowed" in child.excess_in_number(Usage(3, 10))
    assert "MiB of memory" in child.excess_in_size(Usage(1, 1, 2 * MIB, here))
    (scratch.path / "file").write_bytes(b"x")
    full = Overseen(1, Budget(0, scratch_bytes=0), scratch, lambda _: None)
    assert "temporary folder" in full.excess_in_size(Usage())


def test_the_group_of_this_process_is_counted():
    group = os.getpgrp()
    usage = usage_of_groups({group})[group]
    assert os.getpid() in usage.members
    assert usage.processes == len(usage.members)
    assert usage.threads >= usage.processes
    assert usage.resident_bytes > MIB
    assert usage_of_groups({-7}) == {}


def test_a_shared_semaphore_does_what_pythons_own_does():
    lock = SharedSemaphore(0, 1, 1, "/lock", unlink=True)
    assert lock.acquire()
    assert lock.acquire(timeout=0)
    assert (lock._count(), lock._is_mine(), lock._is_zero()) == (2, True, True)
    lock.release()
    lock.release()
    with pytest.raises(AssertionError, match="not owned"):
        lock.release()
    counter = SharedSemaphore(1, 1, 1, "/counter", unlink=True)
    assert counter.acquire()
    assert not counter.acquire(block=False)
    assert not counter.acquire(timeout=0.01)
    counter.release()
    with pytest.raises(ValueError, match="too many times"):
        counter.release()
    with pytest.raises(PermissionError):
        SharedSemaphore(1, 1, 1, "/named", unlink=False)


def test_folders_of_servers_that_are_gone_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    remove_abandoned.cache_clear()
    held = Scratch()
    left = tmp_path / f"{held.path.name[:-8]}deserted"
    (left / "within").mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    link = tmp_path / f"{held.path.name[:-8]}alink123"
    link.symlink_to(other)
    remove_abandoned.cache_clear()
    Scratch().remove()
    assert held.path.exists() and other.exists() and link.is_symlink()
    assert not left.exists()
    held.remove()
    held.remove()
    assert not held.path.exists()
