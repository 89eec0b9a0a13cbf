"""What unit and integration tests share: a server in the test's own process."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.serving_app import MakeServer


@pytest.fixture
def make_server(tmp_path: Path) -> MakeServer:
    """Builds a server; keyword arguments are settings."""
    from support.serving_app import build_server  # the stack tests need no FastAPI

    return partial(build_server, tmp_path)
