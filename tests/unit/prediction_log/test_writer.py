from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelyard.errors import ConfigError
from modelyard.prediction_log import writer as module
from modelyard.prediction_log.search import log_files
from modelyard.prediction_log.writer import LogWriter, remove_oldest

DAY_S = 86_400.0
MONTH_S = 30 * DAY_S


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "predictions"


def opened(folder: Path, max_bytes: int = 2**30) -> LogWriter:
    made = LogWriter(folder, max_bytes, MONTH_S)
    made.prepare()
    return made


def text_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in log_files(folder))


def test_lines_are_in_the_file_at_once(folder: Path):
    log = opened(folder)
    assert log_files(folder) == []  # nobody asked: no file
    for line in (b"one\n", b"two\nthree\n"):
        log.append(line)
    (path,) = log_files(folder)
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert path.stat().st_mode & 0o007 == 0


def test_a_full_file_is_followed_by_another(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FILE_BYTES", 8)
    log = opened(folder)
    for number in range(5):
        log.append(b"line %d\n" % number)
    assert [len(path.read_bytes()) for path in log_files(folder)] == [14, 14, 7]
    assert text_of(folder) == b"".join(b"line %d\n" % number for number in range(5))


def test_another_day_is_another_file(folder: Path, monkeypatch: pytest.MonkeyPatch):
    log = opened(folder)
    log.append(b"today\n")
    tomorrow = time.time() + DAY_S
    monkeypatch.setattr(module.time, "time", lambda: tomorrow)
    log.append(b"tomorrow\n")
    assert [path.read_bytes() for path in log_files(folder)] == [b"today\n", b"tomorrow\n"]


def test_the_oldest_go_when_the_folder_is_full_but_never_one_that_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "FILE_BYTES", 8)
    idle, busy = opened(folder), opened(folder)
    idle.append(b"of an idle server\n")
    for number in range(4):
        busy.append(b"line %d.\n" % number)
    remove_oldest(folder, 20, MONTH_S)
    assert text_of(folder) == b"of an idle server\nline 2.\nline 3.\n"
    idle.append(b"more\n")  # its file was full
    remove_oldest(folder, 20, MONTH_S)
    assert text_of(folder) == b"line 3.\nmore\n"


def test_what_is_too_old_goes(folder: Path):
    log = opened(folder)
    log.append(b"old\n")
    log.close()
    os.utime(log_files(folder)[0], (0, 0))
    log.append(b"new\n")
    deadline = time.monotonic() + 10
    while len(log_files(folder)) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert text_of(folder) == b"new\n"


def test_servers_that_remove_at_once_do_not_trip_over_each_other(folder: Path):
    folder.mkdir()
    for number in range(50):
        (folder / f"{number:02d}.ndjson").write_bytes(b"line\n")
    remove = f"remove_oldest(Path({str(folder)!r}), 9, 9e9)"
    code = f"from modelyard.prediction_log.writer import *; {remove}"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert [path.name for path in log_files(folder)] == ["49.ndjson"]


def test_half_a_line_is_taken_back(folder: Path):
    """A disk that gets full, as a limit on the file's size; the limit holds for a whole process."""
    code = f"""
import resource
from pathlib import Path
from modelyard.prediction_log.writer import LogWriter
log = LogWriter(Path({str(folder)!r}), 2**30, 9e9)
log.prepare()
log.append(b"whole\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (10, {resource.RLIM_INFINITY}))
for _ in range(2):
    try:
        log.append(b"too long\\n")
    except OSError:
        print("refused")
log.append(b"fit\\n")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n" * 2
    assert text_of(folder) == b"whole\nfit\n"


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/log"])
def test_a_folder_that_cannot_be_made_is_refused_naming_the_setting(place: str):
    with pytest.raises(ConfigError) as refusal:
        opened(Path(place))
    assert place in refusal.value.detail
    assert "SERVING_PREDICTION_LOG_DIR" in refusal.value.fix
