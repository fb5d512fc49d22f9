"""The report: one self-contained HTML page, a pure function of the API's JSON.

Depends on: jinja2, plotly (for its JavaScript alone, which is put into the page).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from stillhouse_service.report import (
    explained,
    figures,
    front_figures,
    front_words,
    importance_figures,
    rung_words,
    sentences,
    tables,
    transfer_figures,
    transfer_words,
    wording,
)
from stillhouse_service.report.facts import Facts
from stillhouse_service.report.plain_json import finite
from stillhouse_service.report.proposals import why_proposed

Json = Mapping[str, Any]

_ASSETS = resources.files(__package__)
TEMPLATES = jinja2.Environment(
    loader=jinja2.FunctionLoader(lambda name: asset(name)),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_html(
    study: Json,
    trials: Sequence[Json],
    baseline: Json,
    importance: Json | None,
    environment: Json,
    front: Json | None = None,
    transfer: Json | None = None,
    contradictions: Sequence[Json] = (),
) -> str:
    """Render the report.

    Args:
        study: A Study of docs/api.md, in any state.
        trials: Its Trials in `number` order. The incumbent should come as a Trial with details
            (`layers`, `sparsity`, `schedule`, `measurements`): without them the report says so.
        baseline: Its Baseline.
        importance: Its Importance; None if it could not be computed.
        environment: What the server runs on: `{"python": "3.11.9", "packages": {...}, ...}`,
            strings or mappings of strings.
        front: Its Front, of several objectives.
        transfer: Its Transfer, of a study that learns from others.
        contradictions: `number` and `reason` of trials whose probe the measurement contradicted.

    Returns:
        A whole HTML page that loads nothing from anywhere.
    """
    facts = Facts(study, trials, baseline, front, transfer, contradictions)
    plots = _Plots()
    return TEMPLATES.get_template("report.html.j2").render(
        facts=facts,
        study=study,
        baseline=baseline,
        outcome=sentences.outcome(facts),
        split_note=sentences.split_note(facts),
        threshold_note=sentences.threshold_note(facts),
        noise_note=sentences.noise_note(facts),
        saved_note=sentences.saved_note(facts),
        rungs_note=rung_words.sentence(facts),
        probe_note=sentences.probe_note(facts),
        cards=tables.cards(facts),
        summary=[tables.comparison_cells(row) for row in facts.summary()],
        finalized_note=sentences.finalized_note(facts),
        comparison=[tables.comparison_cells(row) for row in facts.comparison()],
        history=plots.keep("history", figures.history(facts)),
        tradeoff=plots.keep("tradeoff", figures.tradeoff(facts)),
        **_front(front, plots),
        **_transfer(transfer, plots),
        **_importance(facts, importance, plots),
        layers=plots.keep("layers", figures.layer_times(facts)),
        layer_rows=tables.layer_rows(facts),
        settings=tables.settings(facts),
        why_proposed=None
        if facts.winner is None
        else why_proposed(
            facts.winner["origin"], facts.winner["prediction"], facts.winner.get("transfer")
        ),
        schedule=tables.schedule(facts.winner),
        environment=tables.environment_rows(facts, environment),
        value=wording.value,
        text_duration=tables.study_duration(study),
        **_assets(plots),
    )


def render_importance_html(study: Json, baseline: Json, importance: Json) -> str:
    """Render a study's importance alone; arguments and page as for `render_html`."""
    plots = _Plots()
    return TEMPLATES.get_template("importance.html.j2").render(
        study=study,
        baseline=baseline,
        n_trials=importance["n_trials"],
        **_importance(Facts(study, [], baseline), importance, plots),
        **_assets(plots),
    )


class _Plots(dict[str, figures.Figure]):
    """The page's figures, by the place where each is drawn."""

    def keep(self, name: str, figure: figures.Figure | None) -> str | None:
        """Keep a figure for the page's script; give the name of its place."""
        if figure is None:
            return None
        self[name] = figure
        return name


def _front(front: Json | None, plots: _Plots) -> dict[str, Any]:
    """What the report shows of several objectives."""
    if front is None:
        return {"front_note": ""}
    return {
        "front_note": front_words.sentence(front),
        "front_columns": ["trial", *map(wording.label, front["objectives"]), "limits"],
        "front_rows": front_words.rows(front),
        "front_plot": plots.keep("front", front_figures.front_plot(front)),
        "front_volume": plots.keep("volume", front_figures.volume_plot(front)),
    }


def _transfer(transfer: Json | None, plots: _Plots) -> dict[str, Any]:
    """What the report shows of a study that learns from others."""
    if transfer is None:
        return {"learned": []}
    return {
        "learned": transfer_words.sentences(transfer),
        "learned_columns": transfer_words.columns(transfer),
        "learned_rows": transfer_words.rows(transfer),
        "learned_plot": plots.keep("transfer", transfer_figures.weights_plot(transfer)),
    }


def _importance(facts: Facts, importance: Json | None, plots: _Plots) -> dict[str, Any]:
    """What importance_section.html.j2 shows."""
    parameters = facts.study["parameters"]
    analysed = (importance or {}).get("metrics", {})
    return {
        "importance": [
            {
                "metric": metric,
                "label": wording.label(metric),
                "verdict": of_metric["verdict"],
                "verdict_text": tables.verdict_badge(of_metric),
                "interactions": sentences.interaction_note(of_metric),
                "note": sentences.importance_note(of_metric),
                "trials": explained.trials_note(of_metric),
                "rows": tables.importance_rows(of_metric),
                "groups": explained.group_tables(of_metric),
                "local": explained.local_rows(metric, of_metric),
                "bars": plots.keep(
                    f"importance-{metric}", importance_figures.importance_bars(of_metric)
                ),
                "curves": [
                    plots.keep(f"curve-{metric}-{i}", figure)
                    for i, figure in enumerate(
                        importance_figures.marginals(metric, of_metric, parameters)
                    )
                ],
            }
            for metric, of_metric in analysed.items()
        ],
        "ablation": plots.keep("ablation", explained.ablation_figure(facts, importance)),
        "ablation_table": explained.ablation_table(importance),
        "ablation_note": explained.ablation_note(importance),
    }


def _assets(plots: _Plots) -> dict[str, Markup]:
    # On use: every command of ours shows figures as words, few make a page.
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]  # ships no types

    return {
        "styles": Markup(asset("report.css")),
        "script": Markup(asset("report.js")),
        "plotly": Markup(get_plotlyjs()),
        "plots": Markup(script_json(plots)),
    }


def asset(name: str) -> str:
    """Read a file that belongs to the reports."""
    return _ASSETS.joinpath(name).read_text(encoding="utf-8")


def script_json(data: object) -> str:
    """Write JSON that may stand in a script element: no `<` that could close it, no NaN."""
    return json.dumps(finite(data), allow_nan=False).replace("<", "\\u003c")
