from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelyard.prediction_log.search import find_predictions


def line(request_id: str, second: int = 0, **more: Any) -> str:
    fields = {"time": f"2026-11-20T13:14:{second:02d}.000Z", "id": request_id}
    answered = {"model": "toy", "version": "3", "path": "/predict", "rows": 1}
    text = {**fields, **answered, **more}
    return json.dumps(text, separators=(",", ":")) + "\n"


def test_every_answer_to_an_id_is_found_the_oldest_first(tmp_path: Path):
    (tmp_path / "1-a.ndjson").write_text(line("x", 1) + line("mine", 9) + line("y", 10))
    (tmp_path / "2-b.ndjson").write_text(line("mine", 5, version="4"))
    found = find_predictions(tmp_path, "mine")
    assert [(one.model, one.version) for one in found] == [("toy", "4"), ("toy", "3")]
    assert find_predictions(tmp_path, "min") == find_predictions(tmp_path, "ine") == []


def test_an_id_within_what_was_asked_is_not_a_requests_id(tmp_path: Path):
    (tmp_path / "1.ndjson").write_text(
        line("other", request={"id": "mine"}) + line("mine", 2, request={"id": "mine"})
    )
    (found,) = find_predictions(tmp_path, "mine")
    assert found.time.startswith("2026-11-20T13:14:02")


def test_what_is_being_written_is_left_out(tmp_path: Path):
    (tmp_path / "1.ndjson").write_text(line("mine") + line("mine")[:-3])
    (tmp_path / "2.ndjson").write_bytes(b"")
    assert len(find_predictions(tmp_path, "mine")) == 1


def test_no_folder_is_an_empty_log(tmp_path: Path):
    assert find_predictions(tmp_path / "nowhere", "mine") == []


def test_what_a_crash_left_of_a_line_is_passed_over(tmp_path: Path):
    """A machine that lost its power: zeros where the disk had not been written."""
    broken = "\0" * 40 + line("mine", 1)
    cut = line("mine", 2).replace("{", "", 1)
    other = '{"note":{"id":"mine"}}\n'
    (tmp_path / "1.ndjson").write_text(
        broken + cut + other + '["id","id":"mine"]\n' + line("mine", 3)
    )
    (found,) = find_predictions(tmp_path, "mine")
    assert found.time.startswith("2026-11-20T13:14:03")
