"""The report as Markdown: the same facts, tables and sentences as the page's, without plots.

Depends on: the page's tables and sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stillhouse_service.report import (
    explained,
    front_words,
    rung_words,
    sentences,
    tables,
    transfer_words,
    wording,
)
from stillhouse_service.report.facts import Facts

Json = Mapping[str, Any]


def render_markdown(facts: Facts, importance: Json | None, environment: Json) -> str:
    """Render the report as Markdown (CommonMark with tables)."""
    return "\n\n".join(part for part in _parts(facts, importance, environment) if part) + "\n"


def _parts(facts: Facts, importance: Json | None, environment: Json) -> Iterable[str]:
    study = facts.study
    yield f"# {_text(study['name'])}"
    yield (
        f"{_text(facts.baseline['model'])} on {_text(facts.baseline['dataset'])}, device "
        f"{_text(study['spec']['device'])}, {study['state']}, {len(facts.complete)} of "
        f"{study['spec']['budget']['trials']} trials measured."
    )
    yield _text(" ".join(sentences.outcome(facts)))
    yield from _finalized(facts)
    yield "## Baseline and best feasible trial"
    rows = [tables.comparison_cells(row) for row in facts.comparison()]
    if rows and facts.winner is not None:
        yield _table(
            ["", "baseline", f"trial {facts.winner['number']}", "change"],
            [[row["name"], row["baseline"], row["best"], row["change"]] for row in rows],
        )
        yield sentences.split_note(facts)
    else:
        yield "There is no feasible trial to compare."
    yield sentences.threshold_note(facts)
    yield sentences.noise_note(facts)
    yield sentences.saved_note(facts)
    yield rung_words.sentence(facts)
    yield _text(sentences.probe_note(facts))
    if facts.front is not None:
        yield "## The front"
        yield front_words.sentence(facts.front)
        columns = ["trial", *map(wording.label, facts.front["objectives"]), "limits"]
        rows_on_front = front_words.rows(facts.front)
        yield _table(columns, rows_on_front) if rows_on_front else ""
    if facts.transfer is not None:
        yield "## Learned from other studies"
        yield _text(" ".join(transfer_words.sentences(facts.transfer)))
        yield _table(transfer_words.columns(facts.transfer), transfer_words.rows(facts.transfer))
    yield "## What mattered, and which way to turn it"
    analysed: Json = (importance or {}).get("metrics", {})
    if not analysed:
        yield "No importance could be computed: it needs measured trials whose parameters vary."
    for metric, of_metric in analysed.items():
        yield from _metric(metric, of_metric)
    yield from _way(importance)
    yield "## Failures"
    causes = facts.failures_by_cause
    yield (
        "No trial failed."
        if not causes
        else _table(
            ["trials", "stage", "cause", "reason, first seen", "numbers"],
            [[str(len(n)), s, k, why, ", ".join(map(str, n))] for s, k, why, n in causes],
        )
    )
    settings = tables.settings(facts)
    if settings:
        yield "## The best trial's parameters"
        yield _table(
            ["parameter", "value", "searched", "default"],
            [[f"`{r['name']}`", r["value"], r["span"], r["default"]] for r in settings],
        )
    schedule = tables.schedule(facts.winner)
    if schedule:
        yield f"```yaml\n{schedule.rstrip()}\n```"
    yield "## Environment"
    yield _table(["", ""], [[n, t] for n, t in tables.environment_rows(facts, environment)])


def _finalized(facts: Facts) -> Iterable[str]:
    note = sentences.finalized_note(facts)
    if not note:
        return
    yield "## Summary"
    rows = [tables.comparison_cells(row) for row in facts.summary()]
    if rows:
        yield _table(
            ["", "baseline", "finalized winner", "change"],
            [[row["name"], row["baseline"], row["best"], row["change"]] for row in rows],
        )
    yield _text(note)


def _metric(metric: str, of_metric: Json) -> Iterable[str]:
    yield f"### {wording.label(metric)}: {tables.verdict_badge(of_metric)}"
    yield _text(f"{sentences.importance_note(of_metric)} {explained.trials_note(of_metric)}")
    rows = tables.importance_rows(of_metric)
    if not rows:
        return
    yield _table(
        ["parameter", "share of variance", "as it rises", "rank correlation", "what to do"],
        [
            [f"`{r['name']}`", r["share"], r["direction"], r["correlation"], r["recommendation"]]
            for r in rows
        ],
    )
    yield _text(sentences.interaction_note(of_metric))
    for table in explained.group_tables(of_metric):
        yield _table(
            [f"by {table['kind']}", "share of variance", "its parameters"],
            [[r["name"], r["share"], r["parameters"]] for r in table["rows"]],
        )


def _way(importance: Json | None) -> Iterable[str]:
    note = explained.ablation_note(importance)
    if not note:
        return
    yield "### What made the best trial good"
    yield _text(note)
    table = explained.ablation_table(importance)
    if table is not None:
        yield _table(
            ["change", *table["labels"]], [[r["change"], *r["values"]] for r in table["rows"]]
        )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _text(text: str) -> str:
    """Keep names from becoming markup: HTML in Markdown is shown, and a table is one line."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())
