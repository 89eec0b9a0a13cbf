"""The one-page report of a run: a self-contained HTML file that opens in MLflow and by mail."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from modelyard.config import dump_yaml
from modelyard.training.judge.report.evaluation import MODEL, SHOWN, Evaluation

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.5rem;margin-bottom:0} h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse} td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd}
th{text-align:left} td.n{text-align:right;font-variant-numeric:tabular-nums}
pre{background:#f6f6f6;padding:.8rem;overflow-x:auto} img{max-width:25rem;width:49%}
.lead{font-size:1.15rem}
"""


def page(
    title: str,
    description: str,
    evaluation: Evaluation,
    facts: Mapping[str, str],
    config: Mapping[str, object],
) -> str:
    """The report as HTML.

    Args:
        facts: what led to the model, in the order in which it is shown: run, data, commit, …
        config: the resolved experiment.
    """
    primary = escape(evaluation.primary)
    lead = f"<b>{escape(evaluation.sentence())}</b>: {escape(evaluation.against_baseline())}."
    threshold: list[str] = []
    if (choice := evaluation.decision) is not None:
        text = (
            f"Answering yes from <b>{choice.threshold:.4g}</b> on costs least on the validation "
            f"rows. On the test rows it costs {choice.cost_per_row:.4g} a row; never answering yes "
            f"costs {choice.cost_of_none:.4g}, always {choice.cost_of_all:.4g}. Precision "
            f"{choice.precision:.3f}, recall {choice.recall:.3f}."
        )
        threshold = ["<h2>Threshold</h2>", f"<p>{text}</p>"]
    parts = [
        f"<h1>{escape(title)}</h1><p>{escape(description)}</p>",
        f'<p class="lead">{primary} {lead}</p>',
        "<h2>Scores</h2>",
        f"<p>On {evaluation.rows:,} test rows, with 95 % confidence intervals.</p>",
        _scores(evaluation),
        *threshold,
        "<h2>Pictures</h2>",
        *(
            f'<img alt="{escape(name)}" src="data:image/png;base64,{b64encode(png).decode()}">'
            for name, png in evaluation.plots.items()
        ),
        *_slices(evaluation),
        "<h2>Where it comes from</h2>",
        _table(("", ""), ((key, value) for key, value in facts.items())),
        f"<h2>Configuration</h2><pre>{escape(dump_yaml(config))}</pre>",
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _scores(evaluation: Evaluation) -> str:
    who = [name for name in SHOWN if f"{name}_{evaluation.primary}" in evaluation.scores]
    metrics = [
        name.removeprefix(f"{MODEL}_") for name in evaluation.scores if name.startswith(f"{MODEL}_")
    ]

    def score(name: str) -> str:
        interval = evaluation.intervals.get(name)
        shown = f" ({interval.low:.4f} to {interval.high:.4f})" if interval else ""
        return f"{evaluation.scores[name]:.4f}{shown}"

    rows = ((metric, *(score(f"{name}_{metric}") for name in who)) for metric in metrics)
    return _table(("", *(SHOWN[name] for name in who)), rows)


def _slices(evaluation: Evaluation) -> Iterable[str]:
    if not evaluation.slices:
        return
    yield "<h2>Slices</h2>"
    metrics = list(dict.fromkeys(name for part in evaluation.slices for name in part.metrics))
    header = ("feature", "value", "rows", "mean label", "mean prediction", *metrics)
    yield _table(
        header,
        (
            (
                part.feature,
                part.value,
                f"{part.rows:,}",
                _number(part.mean_truth),
                _number(part.mean_predicted),
                *(_number(part.metrics.get(name)) for name in metrics),
            )
            for part in evaluation.slices
        ),
    )
    for feature, count in evaluation.slices_left_out.items():
        yield f"<p>{escape(feature)} has {count:,} more values, with fewer rows each.</p>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def kind(cell: str) -> str:
        """Numbers are right-aligned."""
        return ' class="n"' if cell[:1].isdigit() or cell[:2].lstrip("-")[:1].isdigit() else ""

    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td{kind(cell)}>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
