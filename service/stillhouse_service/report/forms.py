"""The report in each of its forms: a page, Markdown, JSON.

Depends on: page, markdown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from stillhouse_service.report import front_words, sentences, transfer_words
from stillhouse_service.report.facts import Facts
from stillhouse_service.report.markdown import render_markdown
from stillhouse_service.report.page import render_html
from stillhouse_service.report.plain_json import finite

Json = Mapping[str, Any]
Form = Literal["html", "md", "json"]


def render(
    form: Form,
    study: Json,
    trials: Sequence[Json],
    baseline: Json,
    importance: Json | None,
    environment: Json,
    front: Json | None = None,
    transfer: Json | None = None,
    contradictions: Sequence[Json] = (),
) -> str:
    """Render the report; the other arguments are those of `render_html`."""
    if form == "html":
        return render_html(
            study, trials, baseline, importance, environment, front, transfer, contradictions
        )
    facts = Facts(study, trials, baseline, front, transfer, contradictions)
    if form == "md":
        return render_markdown(facts, importance, environment)
    said = {
        "outcome": sentences.outcome(facts),
        "notes": [
            note
            for note in (
                sentences.finalized_note(facts),
                sentences.split_note(facts),
                sentences.threshold_note(facts),
                sentences.noise_note(facts),
                sentences.probe_note(facts),
                "" if front is None else front_words.sentence(front),
                "" if transfer is None else " ".join(transfer_words.sentences(transfer)),
            )
            if note
        ],
        "summary": [asdict(row) for row in facts.summary()],
        "comparison": [asdict(row) for row in facts.comparison()],
        "noise_floor": max(facts.noise_floor, default=None),
        "failures": [
            {"stage": stage, "class": kind, "reason": reason, "trials": numbers}
            for stage, kind, reason, numbers in facts.failures_by_cause
        ],
        "winner": facts.winner,
        "study": study,
        "baseline": baseline,
        "front": front,
        "transfer": transfer,
        "contradictions": contradictions,
        "importance": importance,
        "environment": environment,
    }
    return json.dumps(finite(said), allow_nan=False, indent=1, ensure_ascii=False)
