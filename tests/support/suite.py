"""`make test`: all tests, beside each other where they wait, and the files that took longest.

Most of what the integration and stack tests take is waiting: they run at the same time, and the
README's commands on a stack of their own. What counts lost requests waits until no other stack is
there. Each part's output is in build/test/, with a JUnit file beside it.
"""

# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build/test"
PYTEST = (str(Path(sys.executable).parent / "pytest"), "-v")
YIELDING = ("nice",)  # to the stack, whose clients do not wait for ever
WORKERS = ("-n", "2", "--dist", "loadfile")
UNDER_LOAD = (
    "tests/stack/test_rollout.py",
    "tests/stack/test_faults.py",
    "tests/stack/test_chaos.py",
)
README = "tests/stack/test_readme.py"
SHOWN = 10
_POLL_S = 0.2
NOT_RUN = "THE STACK TESTS DID NOT RUN"


@dataclass(frozen=True)
class Part:
    """One command whose tests are reported in a JUnit file.

    Attributes:
        after: names of the parts that have to have ended before it starts.
    """

    name: str
    command: Sequence[str]
    after: Sequence[str] = ()

    @property
    def report(self) -> Path:
        return RESULTS / f"{self.name.replace(' ', '-')}.xml"

    @property
    def log(self) -> Path:
        return self.report.with_suffix(".log")


def of_pytest(
    name: str, *words: str, before: Sequence[str] = (), after: Sequence[str] = ()
) -> Part:
    part = Part(name, ())
    return Part(name, (*before, *PYTEST, *words, f"--junitxml={part.report}"), after)


CHECK = Part("check", ("make", "check", f"PYTEST=--junitxml={RESULTS / 'check.xml'}"))
BESIDE = (
    of_pytest("integration", "tests/integration", *WORKERS, before=YIELDING),
    of_pytest("stack", "tests/stack", *(f"--ignore={file}" for file in (*UNDER_LOAD, README))),
    of_pytest("readme", README),
    of_pytest("stack under load", *UNDER_LOAD, after=("stack", "readme")),
)


class Running:
    """A part that runs; its lines are shown with its name and kept in its log."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.minutes = 0.0
        self.notice = ""
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            part.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._show, daemon=True)
        self._reader.start()

    def _show(self) -> None:
        with self.part.log.open("w", encoding="utf-8") as log:
            for line in self._process.stdout:
                print(f"{self.part.name:<12}| {line}", end="", flush=True)
                log.write(line)
                if NOT_RUN in line:
                    self.notice = line.strip()
        self.minutes = (time.monotonic() - self._began) / 60

    @property
    def has_ended(self) -> bool:
        """Whether its command has."""
        return self._process.poll() is not None

    def interrupt(self) -> None:
        """As Ctrl-C does: pytest stops at once and cleans up."""
        if not self.has_ended:
            self._process.send_signal(signal.SIGINT)

    def wait(self) -> bool:
        """Wait for its end; whether it went well."""
        code = self._process.wait()
        self._reader.join()
        return code == 0


def run(parts: Sequence[Part]) -> tuple[list[Running], list[str]]:
    """Run the parts beside each other; what ran, and the names of those that failed."""
    waiting, running = list(parts), []
    try:
        while waiting:
            ahead = {part.name for part in waiting}
            ahead |= {one.part.name for one in running if not one.has_ended}
            for part in [part for part in waiting if ahead.isdisjoint(part.after)]:
                waiting.remove(part)
                running.append(Running(part))
            time.sleep(_POLL_S)
        return running, [one.part.name for one in running if not one.wait()]
    except KeyboardInterrupt:
        for one in running:
            one.interrupt()
        for one in running:
            one.wait()
        raise


def slowest_files(reports: Sequence[Path]) -> list[tuple[str, float]]:
    """Files with the seconds of their tests, setup and teardown included, the slowest first."""
    seconds: Counter[str] = Counter()
    for report in reports:
        for case in ET.parse(report).iter("testcase"):
            file = re.sub(r"\.Test\w+$", "", case.get("classname", ""))
            seconds[f"{file.replace('.', '/')}.py"] += float(case.get("time", 0))
    return seconds.most_common(SHOWN)


def main() -> int:
    """Run everything; 1 when a part failed."""
    # a shell starts its background jobs with Ctrl-C ignored, and the parts would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    RESULTS.mkdir(parents=True, exist_ok=True)
    for old in RESULTS.iterdir():
        old.unlink()
    ran, failed = run([CHECK])
    if not failed:
        more, bad = run(BESIDE)
        ran += more
        failed += bad
    print("\nthe slowest files")
    for file, seconds in slowest_files(sorted(RESULTS.glob("*.xml"))):
        print(f"  {seconds:7.1f} s    {file}")
    print("\nthe parts")
    for one in ran:
        print(f"  {one.minutes:7.1f} min  {one.part.name}")
    for name in failed:
        print(f"FAILED: {name}; its output is in {RESULTS.relative_to(ROOT)}/")
    for notice in sorted({one.notice for one in ran} - {""}):
        print(notice)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
