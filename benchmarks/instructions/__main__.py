"""`make bench-instructions`: fails when a route takes over 3 % more instructions than in BASE.

A slowdown that is wanted gets a reason in a commit's message: the trailer `Slower: ROUTE: REASON`.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.instructions.comparison import Comparison
from benchmarks.instructions.counted_server import CountedServer, CountError
from benchmarks.instructions.questions import PACKAGES, Question, questions
from benchmarks.instructions.trees import (
    TRAILER,
    NoBaseError,
    accepted_slowdowns,
    base_commit,
    export_source,
)
from benchmarks.serving.models import make_small_models
from benchmarks.serving.places import ROOT
from benchmarks.serving.registry import running_registry

Counts = Mapping[str, float | CountError]


def main() -> int:
    """See the module."""
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)  # what mlflow says of its own work
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stop what was started
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="", metavar="COMMIT", help="what to compare with")
    parser.add_argument("routes", nargs="*", metavar="ROUTE", help="all of them by default")
    given = parser.parse_args()
    asked = questions()
    if unknown := set(given.routes) - {question.name for question in asked}:
        known = ", ".join(question.name for question in asked)
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {known}")
    if shutil.which("valgrind") is None:
        parser.exit(2, "expected valgrind, found none\nfix: apt-get install valgrind\n")
    try:
        base = base_commit(ROOT, given.base)
    except NoBaseError as error:
        parser.exit(2, f"{error}\n")
    wanted = [question for question in asked if not given.routes or question.name in given.routes]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        now = folder / "now" / "src"  # a copy: editing may go on
        shutil.copytree(ROOT / "src", now, ignore=shutil.ignore_patterns("__pycache__"))
        sources = {"before": export_source(ROOT, base, folder / "before"), "now": now}
        counts = _count(folder, sources, wanted)
    accepted = accepted_slowdowns(ROOT, base)
    comparisons = [
        Comparison(q.name, counts["before"][q.name], counts["now"][q.name], accepted)
        for q in wanted
    ]
    sys.stdout.write(f"instructions an answer, {base[:12]} and the working tree\n")
    for comparison in comparisons:
        sys.stdout.write(f"  {comparison.line()}\n")
    failed = [comparison.route for comparison in comparisons if comparison.is_failure]
    if failed:
        sys.stdout.write(
            f"too much: {', '.join(failed)}\n"
            f'fix: make it faster, or say why in a commit: "{TRAILER}: {failed[0]}: REASON"\n'
        )
    return 1 if failed else 0


def _count(
    folder: Path, sources: Mapping[str, Path], wanted: Sequence[Question]
) -> Mapping[str, Counts]:
    """All servers are up at once; each answers while nothing else is asked."""
    found: dict[str, dict[str, float | CountError]] = {tree: {} for tree in sources}
    with running_registry() as registry, ExitStack() as stack:
        models = make_small_models(folder / "models")
        servers = {}
        for model in dict.fromkeys(question.model for question in wanted):
            registry.publish(model, models / PACKAGES[model])
            for tree, source in sources.items():
                started = CountedServer(source, folder / f"{tree}-{model}", registry.url, model)
                servers[tree, model] = stack.enter_context(started)
        for question in wanted:
            for tree in sources:
                try:
                    found[tree][question.name] = servers[tree, question.model].count(question)
                except CountError as error:
                    found[tree][question.name] = error
    return found


if __name__ == "__main__":
    sys.exit(main())
