"""Broken requests by the thousand, through the server's own connections: none of them does harm.

    FUZZ_SEED=7 FUZZ_CASES=200000 .venv/bin/pytest tests/integration/test_fuzz.py
    FUZZ_CASE=build/fuzz/inline-7-123.json .venv/bin/pytest tests/integration/test_fuzz.py

A case that fails is made smaller and kept in build/fuzz/, from where it can be sent again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.fuzz.case import Case
from support.fuzz.servers import TARGETS
from support.fuzz.session import Finding, Session
from support.servers import ROOT
from support.soak import SOAK, FaultRow, size

SEED = int(os.environ.get("FUZZ_SEED") or (int.from_bytes(os.urandom(4)) if SOAK else 1))
CASES = int(os.environ.get("FUZZ_CASES") or size(5000, 200_000))
KEPT = ROOT / "build/fuzz"
SHOWN_BYTES = 600
pytestmark = pytest.mark.timeout(1800)


def keep(target: str, finding: Finding) -> str:
    """Write the case into a file; what to say of it."""
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{target}-{finding.original.name.replace('/', '-')}.json"
    path.write_text(finding.case.to_json())
    return (
        f"{target} {finding.original.name}: {finding.fault}\n    {finding.case.end}, cuts "
        f"{finding.case.cuts[:20]}: {finding.case.stream[:SHOWN_BYTES]!r}\n    again: "
        f"FUZZ_CASE={path.relative_to(ROOT)} .venv/bin/pytest tests/integration/test_fuzz.py"
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.skipif("FUZZ_CASE" in os.environ, reason="one case is sent again")
def test_no_broken_request_gets_a_wrong_answer_or_harms_another(
    target: str, tmp_path: Path, tell: Callable[[FaultRow], None], figure: Callable[[str], None]
):
    session = Session(TARGETS[target].build(tmp_path), TARGETS[target])
    session.run(SEED, range(CASES * TARGETS[target].share // 100))
    figure(f"fuzz {target}, FUZZ_SEED={SEED}: {session.figures}")
    figures = session.figures
    what = f"broken requests, {target} (seed {SEED})"
    asked = f"{figures.requests} requests and {figures.neighbours} of neighbours"
    tell(FaultRow(what, figures.cases, len(session.findings), asked))
    assert not session.findings, "\n".join(keep(target, one) for one in session.findings)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.skipif("FUZZ_CASE" not in os.environ, reason="no case is sent again")
def test_one_case_again(target: str, tmp_path: Path):
    case = Case.from_json((ROOT / os.environ["FUZZ_CASE"]).read_text())
    Session(TARGETS[target].build(tmp_path), TARGETS[target]).replay(case)
