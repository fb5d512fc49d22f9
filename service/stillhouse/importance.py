"""Importance as the client shows it, with Plotly figures of it.

Depends on: the standard library; plotly for `plot` and `plot_curve` alone, pandas for `dataframe`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stillhouse.errors import StillhouseError
from stillhouse.shapes import Json, Shape

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Importance(Shape):
    """Which parameters mattered for which metric, and how sure that is.

    Attributes:
        n_trials: Trials that have ended by themselves.
        metrics: Metric -> `verdict` (`enough`, `care`, `not_enough`), `explanation`, `r2_oob`,
            `trials`, `left_out`, `parameters` (most important first), `pairs`, `groups`, `local`;
            docs/reports.md explains them.
        ablation: The way from the default to the best trial; None where there is none.
    """

    study_id: str
    n_trials: int
    metrics: Mapping[str, Json]
    ablation: Json | None

    def of(self, metric: str | None = None) -> Json:
        """Give one metric's importance; without a name the objective's.

        Raises:
            StillhouseError: No such metric.
        """
        name = metric or next(iter(self.metrics))
        if name not in self.metrics:
            raise StillhouseError(f"no metric {name!r}; there are {', '.join(self.metrics)}")
        return self.metrics[name]

    def plot(self, metric: str | None = None) -> Any:
        """Draw shares of variance with their 90 % intervals, as a `plotly.graph_objects.Figure`.

        Where there is too little data for a ranking the figure says so and shows none.

        Args:
            metric: Whose; without a name the objective's.

        Raises:
            StillhouseError: No such metric, or plotly is not installed.
        """
        name = metric or next(iter(self.metrics))
        found = self.of(name)
        parameters = list(found["parameters"])[::-1]
        figure = _figure(f"What matters for {name}", found)
        if not parameters:
            return figure
        figure.add_bar(
            orientation="h",
            x=[p["importance"] for p in parameters],
            y=[p["name"] for p in parameters],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [p["importance_high"] - p["importance"] for p in parameters],
                "arrayminus": [p["importance"] - p["importance_low"] for p in parameters],
            },
            customdata=[p["recommendation"] for p in parameters],
            hovertemplate="%{y}<br>%{x:.1%} of the variance<br>%{customdata}<extra></extra>",
        )
        figure.update_xaxes(title="share of variance explained", tickformat=".0%")
        figure.update_yaxes(automargin=True)
        return figure.update_layout(height=140 + 30 * len(parameters))

    def plot_curve(self, parameter: str, metric: str | None = None) -> Any:
        """Draw a metric over one parameter, all others averaged out where it is active.

        Args:
            parameter: Whose curve.
            metric: Of what; without a name the objective.

        Raises:
            StillhouseError: No such metric or parameter, or plotly is not installed.
        """
        name = metric or next(iter(self.metrics))
        found = self.of(name)
        known = {p["name"]: p for p in found["parameters"]}
        figure = _figure(f"{name} over {parameter}", found)
        if not known:
            return figure
        if parameter not in known:
            raise StillhouseError(f"no parameter {parameter!r}; there are {', '.join(known)}")
        curve = known[parameter]["curve"]
        x = ["null" if value is None else value for value in curve["x"]]
        is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in x)
        figure.add_scatter(
            x=x if is_number else [str(value) for value in x],
            y=curve["mean"],
            mode="lines" if is_number else "markers",
            error_y={"type": "data", "array": curve["sd"], "thickness": 1},
            hovertemplate="%{x}: %{y:.4g}<extra></extra>",
        )
        numbers = [float(value) for value in x] if is_number else []
        is_log = len(numbers) > 2 and numbers[0] > 0 and _is_geometric(numbers)
        figure.update_xaxes(title=parameter, type="log" if is_log else None)
        return figure.update_yaxes(title=name)

    def dataframe(self) -> pd.DataFrame:
        """Give one row a metric and parameter, as a pandas data frame.

        Raises:
            StillhouseError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise StillhouseError(
                "a data frame needs pandas: pip install 'stillhouse[dataframe]'"
            ) from error
        return pd.DataFrame(
            [
                {"metric": metric, "verdict": found["verdict"]}
                | {name: value for name, value in parameter.items() if name != "curve"}
                for metric, found in self.metrics.items()
                for parameter in found["parameters"]
            ]
        )


def _is_geometric(x: Sequence[float]) -> bool:
    """Whether neighbours stand in one ratio, as values of a log scale do."""
    return math.isclose(x[1] / x[0], x[-1] / x[-2], rel_tol=0.01)


def _figure(title: str, found: Json) -> Any:
    """An empty figure that carries the verdict."""
    try:
        import plotly.graph_objects as go  # type: ignore[import-untyped]  # ships no types
    except ImportError as error:
        raise StillhouseError("a figure needs plotly: pip install plotly") from error
    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "subtitle": {"text": found["explanation"]}}, showlegend=False
    )
    if not found["parameters"]:
        figure.add_annotation(
            text="Not enough data for a ranking", showarrow=False, font={"size": 16}
        )
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
    return figure
