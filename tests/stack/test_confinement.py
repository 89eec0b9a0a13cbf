"""What a model's code reaches in a prediction server's own container, beside the server itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard.scoring.child.confinement import gaps
from support.models.intruder import ATTEMPTS, OWN, write_intruder
from support.models.toy import ROW
from support.stack_driver import Stack

PLACE = "/tmp/intruder"
JUDGE = """
import json, pathlib, sys
from modelyard.scoring.bundle import open_bundle
from modelyard.scoring.child.opening import ChildOptions

files, row, attempts = json.loads(sys.argv[1])
folder = pathlib.Path("/tmp/intruder")
commands = {p.parent.name: (p / "cmdline").read_bytes() if p.is_dir() else p.read_bytes()
            for p in pathlib.Path("/proc").glob("[0-9]*/cmdline")}
server = min(int(pid) for pid, line in commands.items() if line.endswith(b"modelyard.serving\\0")
             and line.startswith(b"python"))
for name, text in files.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text.replace('"@SERVER@"', str(server)))
said = {}
options = ChildOptions(count=1, memory_bytes=0, start_s=120, batch_rows=64, request_s=240,
                       isolation="required")
with open_bundle(folder, options) as bundle:
    for attempt in attempts:
        columns = bundle.decoder.columns(bundle.decoder.rows([{**row, "note": attempt}]))
        said[attempt] = float(bundle.runner.predict(columns)[0])
print(json.dumps(said))
"""


@pytest.mark.skipif(bool(gaps()), reason="this kernel cannot confine")
def test_a_model_reaches_nothing_of_the_server_beside_it(stack: Stack, tmp_path: Path) -> None:
    targets = {
        "TOKEN": "/run/secrets/admin/token",
        "CACHE": "/var/cache/modelyard",
        "OTHER": "/var/cache/modelyard/versions",
        "LOG": "/var/log/modelyard",
        "TEMPORARY": "/tmp",
        "PORT": 8000,
        "SOCKET": "/run/none",
        "ABSTRACT": "none",
        "NEIGHBOUR": "@SERVER@",
    }
    write_intruder(tmp_path / "v", targets)
    files = {
        path.relative_to(tmp_path / "v").as_posix(): path.read_text()
        for path in (tmp_path / "v").rglob("*")
        if path.is_file()
    }
    code = files["code/code_model.py"]
    code = code.replace(json.dumps(str(tmp_path / "v")), json.dumps(PLACE))
    files["code/code_model.py"] = code
    del files["manifest.json"]
    question = json.dumps([files, ROW, [*ATTEMPTS, *OWN]])
    done = stack.compose("exec", "-T", "serving", "python", "-c", JUDGE, question)
    said = json.loads(done.stdout)
    assert {attempt for attempt in ATTEMPTS if said[attempt]} == set()
    assert {attempt for attempt in OWN if not said[attempt]} == set()
