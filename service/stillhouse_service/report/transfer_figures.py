"""How much earlier studies counted, as plain Plotly JSON.

Depends on: figures, wording, transfer_words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_service.report import wording
from stillhouse_service.report.figures import Figure
from stillhouse_service.report.transfer_words import metrics, shares

Json = Mapping[str, Any]


def weights_plot(transfer: Json) -> Figure | None:
    """Each source's share of each metric's models over trial numbers; None before a model's."""
    if not transfer["history"]:
        return None
    data = []
    for one in transfer["sources"]:
        for metric in metrics(transfer):
            told = shares(transfer, one["study_id"], metric)
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"{one['name']}, {wording.label(metric)}",
                    "x": [number for number, _ in told],
                    "y": [100 * share for _, share in told],
                    "line": {"shape": "hv", "width": 2},
                    "marker": {"size": 5},
                }
            )
    layout = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": {"title": {"text": "share, %"}, "range": [-2, 102]},
        "height": 300,
    }
    return {"data": data, "layout": layout}
