"""A model of code is served within the time that its contract allows, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import ModelRefusedError
from modelyard.scoring.bundle import open_bundle
from modelyard.scoring.child.opening import ChildOptions
from support.models.code import write_code_version
from support.models.toy import contract_with


def options(request_s: float) -> ChildOptions:
    return ChildOptions(count=1, memory_bytes=0, start_s=60, batch_rows=64, request_s=request_s)


def test_a_contract_that_allows_more_time_than_the_server_gives_is_refused(tmp_path: Path):
    write_code_version(tmp_path / "v", contract=contract_with(inference_timeout_s=10.0))
    with pytest.raises(ModelRefusedError) as refusal:
        open_bundle(tmp_path / "v", options(request_s=5))
    assert "allows a row 10 s" in refusal.value.detail
    assert "ends a call after 2.5 s" in refusal.value.detail
    assert "SERVING_REQUEST_TIMEOUT_S=20 or more" in refusal.value.fix
    open_bundle(tmp_path / "v", options(request_s=20)).runner.close()


def test_a_contract_that_states_no_time_gets_what_the_server_gives(tmp_path: Path):
    """Contracts of before leave it out, and so does a version that has only a signature."""
    write_code_version(tmp_path / "v")
    path = tmp_path / "v/contract.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("inference_timeout_s")))
    open_bundle(tmp_path / "v", options(request_s=1)).runner.close()
