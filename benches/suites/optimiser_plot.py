"""Curves of the optimiser bench: best feasible latency over trials, a panel for each cell.

Depends on: numpy, plotly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from plotly.colors import qualitative  # type: ignore[import-untyped]  # plotly ships no types
from plotly.subplots import make_subplots  # type: ignore[import-untyped]  # plotly ships no types


def write_plot(
    path: Path,
    runs: Sequence[Mapping[str, Any]],
    kinds: Sequence[str],
    levels: Sequence[str],
    searchers: Sequence[str],
) -> None:
    """Write a self-contained page: medians as lines, quartiles as bands.

    Args:
        path: HTML file.
        runs: As ``benches/optimiser.py`` keeps them.
        kinds: Rows of panels.
        levels: Columns of panels.
        searchers: One colour each.
    """
    titles = [f"{kind}, {level}" for kind in kinds for level in levels]
    figure = make_subplots(rows=len(kinds), cols=len(levels), subplot_titles=titles)
    for i, kind in enumerate(kinds, start=1):
        for j, level in enumerate(levels, start=1):
            for k, searcher in enumerate(searchers):
                cell = f"{kind}/{level}/{searcher}/1"
                curves = [run["best"] for run in runs if run["cell"] == cell]
                if not curves:
                    continue
                low, middle, high = np.quantile(np.array(curves), [0.25, 0.5, 0.75], axis=0)
                colour = qualitative.D3[k]
                x = list(range(1, len(middle) + 1))
                band = {"x": x + x[::-1], "y": [*high, *low[::-1]], "fill": "toself"}
                figure.add_scatter(
                    **band, line_width=0, fillcolor=colour, opacity=0.15, hoverinfo="skip",
                    showlegend=False, row=i, col=j,
                )  # fmt: skip
                figure.add_scatter(
                    x=x, y=middle, name=f"{searcher} ({len(curves)})", line_color=colour,
                    legendgroup=searcher, showlegend=i == j == 1, row=i, col=j,
                )  # fmt: skip
    figure.update_yaxes(type="log", title_text="latency, dense = 100", col=1)
    figure.update_xaxes(title_text="trials", row=len(kinds))
    figure.update_layout(
        title="Best feasible latency: median and quartiles", height=420 * len(kinds)
    )
    path.write_text(figure.to_html(include_plotlyjs=True), encoding="utf-8")
