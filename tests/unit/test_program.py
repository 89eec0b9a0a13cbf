"""How processes end: the error, its exit code, Ctrl-C, SIGTERM; the same with the oldest Python."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest

from modelyard.errors import ExitCode, ModelyardError
from support.host_python import ROOT, oldest_python

RAISE = "raise ConfigError('expected a, found b', fix='write a')"
UNTIL_STOPPED = """try:
        print("runs", flush=True)
        time.sleep(60)
    finally:
        print("closed", flush=True)"""
FORMS = {
    "command": "sys.exit(run_command(main))",
    "server": "from modelyard.logs import configure_logs, log_error\n"
    "configure_logs()\n"
    "sys.exit(run_server(main, log_error))",
}


def program(form: str, body: str) -> str:
    return (
        "import sys, time\n"
        "from modelyard.errors import ConfigError\n"
        "from modelyard.program import run_command, run_server\n"
        f"def main():\n    {body}\n"
        f"{FORMS[form]}"
    )


def start(form: str, body: str, **options) -> subprocess.Popen[str]:
    python = oldest_python() if form == "command" else sys.executable
    return subprocess.Popen(
        [python, "-S", "-c", program(form, body)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
        text=True,
        stdout=subprocess.PIPE,
        **{"stderr": subprocess.PIPE, **options},
    )


def test_a_users_mistake_is_title_detail_and_fix_without_a_traceback():
    process = start("command", RAISE)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == "error: Configuration is not valid\nexpected a, found b\nfix: write a\n"


def test_a_server_logs_it_as_one_json_line():
    process = start("server", RAISE)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    line = json.loads(err)
    assert line["message"] == "Configuration is not valid: expected a, found b"
    assert (line["level"], line["fix"], line["exit_code"]) == ("critical", "write a", 2)


def test_a_terminal_gets_it_in_colour_and_bold():
    terminal, other_end = pty.openpty()
    process = start("command", RAISE, stderr=other_end)
    process.communicate(timeout=60)
    os.close(other_end)
    shown = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert "\x1b[1;31merror: Configuration is not valid\x1b[0m" in shown
    assert "\x1b[1mfix: write a\x1b[0m" in shown


@pytest.mark.parametrize(
    ("form", "number", "code"),
    [
        ("command", signal.SIGINT, 130),
        ("command", signal.SIGTERM, 143),
        ("server", signal.SIGINT, 0),
        ("server", signal.SIGTERM, 0),
    ],
)
def test_being_stopped_unwinds_the_stack(form: str, number: signal.Signals, code: int):
    process = start(form, UNTIL_STOPPED)
    assert process.stdout.readline() == "runs\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "closed\n", "")


@pytest.mark.parametrize(("body", "code"), [("return None", 0), ("return 9", 9), ("1 / 0", 1)])
def test_a_result_is_the_exit_code_and_a_defect_keeps_its_traceback(body: str, code: int):
    process = start("command", body)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert ("Traceback" in err) == (code == 1)


def test_every_error_has_a_code_of_the_table():
    kinds = [ModelyardError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert all(isinstance(kind.exit_code, ExitCode) for kind in kinds)
    assert len(kinds) > 10


def test_the_entrypoints_exit_codes_are_those_of_the_table():
    text = (ROOT / "entrypoint.sh").read_text(encoding="utf-8")
    codes = dict(re.findall(r"^EXIT_(\w+)=(\d+)", text, re.MULTILINE))
    assert {name: ExitCode[name] for name in codes} == {n: int(c) for n, c in codes.items()}
    used = re.findall(r"\bexit (\S+)", re.sub("#.*", "", text))
    assert sorted(used) == sorted(f'"$EXIT_{name}"' for name in codes)
