"""`modelyard doctor`, which is `make doctor` for those who have the package."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from modelyard.cli.main import app


def test_the_doctor_answers_as_lines_and_as_json():
    plain, as_json = (CliRunner().invoke(app, ["doctor", *words]) for words in ([], ["--json"]))
    said = json.loads(as_json.stdout)
    assert as_json.exit_code == plain.exit_code == (0 if said["ready"] else 1)
    for check in said["checks"]:
        assert check["check"] in plain.stdout
