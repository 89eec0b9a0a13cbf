"""A server of the toy model for each test that asks for one."""

from __future__ import annotations

import pytest

from support.serving_app import MakeServer, Server


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    """A server that serves version 1 of the toy model."""
    made = make_server()
    made.serve(1)
    return made
