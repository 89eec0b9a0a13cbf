"""The command: prints what was found, or only which Compose files a training here needs."""

# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from modelyard.errors import ExitCode
from modelyard.host.doctor.checks import BASE_FILE, CPU_OVERLAY, Finding, can_use_gpu, judge
from modelyard.host.doctor.facts import Facts, look, read_dotenv
from modelyard.program import run_command

OVERRIDE_FILE = "docker-compose.override.yml"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings, or only COMPOSE_FILE for training; 1 when a needed check fails."""
    parser = argparse.ArgumentParser(description="Can this machine run the stack?")
    parser.add_argument("--compose-file", action="store_true", help="print COMPOSE_FILE only")
    parser.add_argument("--json", action="store_true", help="the checks as JSON")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project's folder")
    arguments = parser.parse_args(argv)
    root = arguments.root.resolve()
    if not root.is_dir():
        parser.error(f"--root: expected the project's folder, found no folder {root}")
    settings = {**read_dotenv(root), **os.environ}
    facts = look(root, settings)
    if arguments.compose_file:
        has_override = (root / OVERRIDE_FILE).is_file()
        chosen = settings.get("COMPOSE_FILE", "")
        print(choose_compose_file(facts, chosen, has_override=has_override))
        return ExitCode.DONE
    findings = judge(facts)
    failed = [finding for finding in findings if finding.needed and not finding.ok]
    code = ExitCode.FAILED if failed else ExitCode.DONE
    if arguments.json:
        checks = [finding._asdict() for finding in findings]
        print(json.dumps({"ready": not failed, "checks": checks}, indent=2, ensure_ascii=False))
        return code
    print("\n".join(map(render_finding, findings)))
    print(f"\n{len(failed)} to fix" if failed else "\nready: docker compose up -d --wait")
    return code


def render_finding(finding: Finding) -> str:
    """One line for what is as it should be, three for what is not."""
    if finding.ok:
        return f"ok    {finding.check:<10} {finding.found}"
    verdict, indent = "FAIL" if finding.needed else "note", " " * 17
    return (
        f"{verdict}  {finding.check:<10} expected  {finding.expected}\n"
        f"{indent}found     {finding.found}\n{indent}fix       {finding.fix}"
    )


def choose_compose_file(facts: Facts, chosen: str, *, has_override: bool) -> str:
    """COMPOSE_FILE for training: what the user chose, and the CPU overlay where it is needed."""
    default = [BASE_FILE, OVERRIDE_FILE] if has_override else [BASE_FILE]
    files = chosen.split(os.pathsep) if chosen else default
    if not can_use_gpu(facts) and CPU_OVERLAY not in map(os.path.basename, files):
        files.insert(1, CPU_OVERLAY)
    return os.pathsep.join(files)


if __name__ == "__main__":
    sys.exit(run_command(main))
