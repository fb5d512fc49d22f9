"""An experiment's report: one self-contained HTML page, a pure function of its evaluation.

Depends on: page, for what all reports share; experiment_tables, experiment_figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from stillhouse_service.report.experiment_figures import figures
from stillhouse_service.report.experiment_tables import tables
from stillhouse_service.report.page import TEMPLATES, asset, script_json

Json = Mapping[str, Any]
_TITLES = {
    "ratios": "Every trial",
    "macs": "Latency against MACs",
    "accuracy": "Latency against accuracy",
    "layers": "Layers, cut and masked",
}


def render_experiment(experiment: Json, evaluations: Sequence[Json]) -> str:
    """Render the report.

    Args:
        experiment: As `GET /v1/experiments/{id}` gives it, in any state.
        evaluations: Of each of its networks and devices.

    Returns:
        A whole HTML page that loads nothing from anywhere.
    """
    plots: dict[str, Any] = {}
    parts = []
    for number, evaluation in enumerate(evaluations):
        shown = []
        for name, figure in figures(evaluation).items():
            plots[f"{name}-{number}"] = figure
            shown.append({"title": _TITLES[name], "place": f"{name}-{number}"})
        parts.append(
            {
                "title": f"{evaluation['model']} on {evaluation['dataset']}, "
                f"device {evaluation['device']}",
                "limits": ", ".join(evaluation["constraints"]),
                "conclusions": evaluation["analysis"]["conclusions"],
                "plots": shown,
                "tables": tables(evaluation),
            }
        )
    # On use: few who import this make a page.
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]  # ships no types

    return TEMPLATES.get_template("experiment.html.j2").render(
        experiment=experiment,
        parts=parts,
        styles=Markup(asset("report.css")),
        script=Markup(asset("report.js")),
        plotly=Markup(get_plotlyjs()),
        plots=Markup(script_json(plots)),
    )
