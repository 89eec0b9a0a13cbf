"""`modelyard traffic`: how predictions are split between champion and challenger.

It runs in the service `traffic`, the only one that reaches the gateway's control socket
(`make traffic`), as `python -m modelyard.cli.traffic`: the serving image lacks what other commands
import.
"""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperCommand

from modelyard.cli.connection import JsonOption, ReasonOption
from modelyard.cli.output import format_time, show_fields, show_json, show_rows
from modelyard.errors import ConfigError, TrafficError
from modelyard.program import run_command
from modelyard.settings import TrafficSettings, read_settings
from modelyard.traffic.plan import DEFAULT_HEADER, Mode, Plan, PlanStore
from modelyard.traffic.report import ArmReport, Report, ask_traffic

_APPLIED_WITHIN_S = 5.0
_ASK_EVERY_S = 0.05
_SHOWN_CLASSES = 4
_DEFAULT_PERCENT = {"--canary": "10", "--ab": "50"}
_UP = "docker compose --profile challenger up -d --wait, then make traffic ARGS=..."


class _TrafficCommand(TyperCommand):
    """Takes `--canary` and `--ab` without a number, which Typer's options cannot."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the default number where there is none."""
        complete: list[str] = []
        for index, word in enumerate(args):
            complete.append(word)
            is_bare = index + 1 == len(args) or args[index + 1].startswith("-")
            if is_bare and word in _DEFAULT_PERCENT:
                complete.append(_DEFAULT_PERCENT[word])
        return super().parse_args(ctx, complete)


def add_commands(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(cls=_TrafficCommand)(traffic)


def traffic(
    canary: Annotated[
        float | None,
        typer.Option(
            metavar="[PERCENT]", help="Percent of the requests that go to the challenger; 10."
        ),
    ] = None,
    ab: Annotated[
        float | None,
        typer.Option(
            "--ab", metavar="[PERCENT]", help="Percent of the keys; a key keeps its arm; 50."
        ),
    ] = None,
    by_header: Annotated[
        str | None,
        typer.Option(
            help=f"Header with the key of --ab, {DEFAULT_HEADER} by default; without it: at random."
        ),
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="The champion answers; the challenger gets copies.")
    ] = False,
    off: Annotated[bool, typer.Option("--off", help="The champion answers everything.")] = False,
    why: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Change how predictions are split; without an option, show it."""
    settings = read_settings(TrafficSettings)
    chosen = [canary is not None, ab is not None, shadow, off]
    if sum(chosen) > 1:
        raise ConfigError(
            "Expected one of --canary, --ab, --shadow and --off, found more.",
            fix="Give one of them; it replaces the split that holds now.",
        )
    if by_header is not None and ab is None:
        raise ConfigError(
            "--by-header belongs to --ab.", fix="modelyard traffic --ab 50 --by-header NAME"
        )
    if not any(chosen):
        report = _ask(settings)
    else:
        mode = (Mode.CANARY, Mode.AB, Mode.SHADOW, Mode.OFF)[chosen.index(True)]
        header = (by_header or DEFAULT_HEADER) if mode is Mode.AB else None
        share = canary if canary is not None else ab
        report = _apply(settings, _plan(mode, share, header, settings.modelyard_user, why))
    if as_json:
        show_json(report.model_dump(mode="json"))
    else:
        _show(report)


def _plan(mode: Mode, share: float | None, header: str | None, who: str, why: str) -> Plan:
    try:
        return Plan(mode=mode, share_percent=share, header=header, changed_by=who, why=why)
    except ValidationError as error:
        fields = {"share_percent": "share in percent", "header": "name of the header"}
        faults = [
            f"{fields.get(str(fault['loc'][0]), 'split') if fault['loc'] else 'split'}: "
            f"{fault['msg']}"
            for fault in error.errors()
        ]
        raise ConfigError(
            f"The split is not valid. {'; '.join(faults)}.",
            fix="For example: modelyard traffic --canary 10",
        ) from error


def _apply(settings: TrafficSettings, plan: Plan) -> Report:
    """Save `plan` and wait until the gateway follows it."""
    _ask(settings)  # first: without the service, nothing would apply the plan
    PlanStore(settings.state_dir).write(plan)
    deadline = time.monotonic() + _APPLIED_WITHIN_S
    while True:
        report = _ask(settings)
        if report.plan.id == plan.id and report.applied:
            return report
        if report.plan.aborted and report.plan.changed_at > plan.changed_at:
            return report  # it was in force and has ended already
        if time.monotonic() > deadline:
            raise TrafficError(
                f"The split is saved, but the gateway does not follow it. {report.trouble}",
                fix="It takes effect as soon as the gateway answers: docker compose ps gateway",
            )
        time.sleep(_ASK_EVERY_S)


def _ask(settings: TrafficSettings) -> Report:
    report = ask_traffic(f"http://127.0.0.1:{settings.port}")
    if report is None:
        raise TrafficError(
            "The service `traffic`, which splits predictions, does not answer here.", fix=_UP
        )
    return report


def _show(report: Report) -> None:
    plan = report.plan
    since = f"since {format_time(plan.changed_at)} UTC" if plan.changed_by else ""
    by = f"by {plan.changed_by}" if plan.changed_by else ""
    challengers = f"{report.challengers or 'none is'} ready"
    if not report.challengers and plan.mode is not Mode.OFF:
        challengers += ": the champion answers everything; docker compose ps challenger"
    keys, requests = "", report.with_key + report.without_key
    if report.without_key:
        keys = (
            f"{report.without_key} of {requests} requests had none: they were assigned at random, "
            "so a user may meet both arms"
        )
    elif requests:
        keys = f"all {requests} requests had one"
    fields = {
        "split": plan.describe(),
        "set": ", ".join(filter(None, (since, by, "" if plan.aborted else plan.why))),
        "aborted": f"{plan.why}. {plan.aborted}" if plan.aborted else "",
        "trouble": report.trouble,
        "challenger": challengers,
        "copies dropped": str(report.copies_dropped or ""),
        "keys": keys,
    }
    show_fields("traffic", {"gateway": {name: text for name, text in fields.items() if text}})
    typer.echo()
    rows = [_row("champion", report.champion), _row("challenger", report.challenger)]
    show_rows(f"since {report.counting_since:%Y-%m-%d %H:%M:%S} UTC", rows)


def _row(name: str, arm: ArmReport) -> dict[str, str]:
    classified = sum(arm.classes.values())
    frequent = sorted(arm.classes.items(), key=lambda each: -each[1])[:_SHOWN_CLASSES]
    return {
        "arm": name,
        "requests": str(arm.requests),
        "failed": str(arm.failures),
        "no finite number": str(arm.not_finite),
        "p50 ms": _number(arm.p50_ms),
        "p99 ms": _number(arm.p99_ms),
        "mean score": _number(arm.mean_score),
        "p10": _number(arm.p10_score),
        "p50": _number(arm.p50_score),
        "p90": _number(arm.p90_score),
        "classes": ", ".join(f"{label} {rows / classified:.1%}" for label, rows in frequent)
        if classified
        else "-",
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    add_commands(app)
    sys.exit(run_command(app))
