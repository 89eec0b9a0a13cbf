"""A real browser without any network but this machine's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """Chromium with a new profile; where it is missing, the test is skipped, and fails in CI."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("chromium and chromedriver are not installed; ci/packages.sh does it on Debian")
    options = ChromeOptions()
    options.binary_location = programs[0]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (
        "--headless=new",
        "--no-sandbox",  # CI runs as root, where Chromium has none
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--window-size=1280,2000",
        f"--user-data-dir={profile}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing leaves
    ):
        options.add_argument(argument)
    with Chrome(options, Service(programs[1])) as chrome:
        yield chrome
