"""How much each layer suffers from pruning, measured one layer at a time.

Depends on: torch, selection, ranking; plotly for the plot only.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stillhouse_compression.errors import CompressionError, nearest
from stillhouse_compression.schedule.names import expand
from stillhouse_compression.schedule.ranking import Structure, keep_best, n_to_prune
from stillhouse_compression.schedule.selection import keep_level

Group = Literal["element", "filter", "channel"]
Test = Callable[[nn.Module], tuple[float, float, float]]
"""Evaluates a network: (top1, top5, loss)."""

LEVELS = tuple(percent / 100 for percent in range(0, 100, 5))


@dataclass(frozen=True)
class SensitivityRow:
    """One layer at one level.

    Attributes:
        parameter: Its name.
        level: Sparsity asked for, 0..1.
        sparsity: Share of its weights that were pruned.
        top1: First number of the test.
        top5: Second.
        loss: Third.
    """

    parameter: str
    level: float
    sparsity: float
    top1: float
    top5: float
    loss: float


@dataclass(frozen=True)
class SensitivityAnalysis:
    """The rows of an analysis: layers in the order asked for, levels in theirs."""

    group: Group
    rows: tuple[SensitivityRow, ...]

    def to_json(self) -> str:
        """``{"group": ..., "rows": [...]}``."""
        return json.dumps({"group": self.group, "rows": [asdict(row) for row in self.rows]})

    def to_text(self) -> str:
        """One line a layer, Top-1 at each level in the test's unit."""
        levels = list(dict.fromkeys(row.level for row in self.rows))
        names = list(dict.fromkeys(row.parameter for row in self.rows))
        width = max(len("parameter"), *(len(name) for name in names)) if names else 9
        lines = ["parameter".ljust(width) + "".join(f"{level:>9.2f}" for level in levels)]
        found = {(row.parameter, row.level): row for row in self.rows}
        for name in names:
            values = (found.get((name, level)) for level in levels)
            cells = (" " * 9 if row is None else f"{row.top1:>9.4g}" for row in values)
            lines.append(name.ljust(width) + "".join(cells).rstrip())
        return "\n".join(lines)

    def to_html(self) -> str:
        """A self-contained page: Top-1 over sparsity, one line a layer."""
        from plotly import graph_objects  # type: ignore[import-untyped]  # plotly ships no types

        figure = graph_objects.Figure()
        for name in dict.fromkeys(row.parameter for row in self.rows):
            rows = sorted(
                (row for row in self.rows if row.parameter == name), key=lambda row: row.level
            )
            figure.add_scatter(
                x=[row.level for row in rows],
                y=[row.top1 for row in rows],
                name=name,
                mode="lines+markers",
            )
        figure.update_layout(
            title=f"Sensitivity to {self.group} pruning, one layer at a time",
            xaxis_title="sparsity of the layer",
            yaxis_title="Top-1",
        )
        page: str = figure.to_html(include_plotlyjs=True, full_html=True)
        return page


def sensitivity_analysis(
    model: nn.Module,
    test: Test,
    sparsities: Sequence[float] = LEVELS,
    parameters: Sequence[str] | None = None,
    group: Group = "element",
    progress: Callable[[SensitivityRow], None] | None = None,
) -> SensitivityAnalysis:
    """Prune one layer at one level, test, and begin again from the dense network.

    Args:
        model: Not changed.
        test: Evaluates a network.
        sparsities: Levels, each in [0, 1]; 0 is the dense network.
        parameters: Names or patterns; None means every weight that the group fits.
        group: ``element``: by level; ``filter`` and ``channel``: by L1 norm.
        progress: Called with each row.

    Returns:
        A row for each layer and level.

    Raises:
        CompressionError: A level outside [0, 1], or as `fitting_parameters` says.

    Source: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural
    Networks", figure 6.
    """
    wrong = [level for level in sparsities if not 0.0 <= level <= 1.0]
    if wrong:
        raise CompressionError(f"sparsities must lie in [0, 1], got {wrong}")
    rows: list[SensitivityRow] = []
    for name in fitting_parameters(model, group, parameters):
        for level in sparsities:
            pruned = copy.deepcopy(model)
            parameter = dict(pruned.named_parameters())[name]
            mask = _mask(parameter.detach(), level, group)
            with torch.no_grad():
                if mask is not None:
                    parameter.mul_(mask)
            share = 0.0 if mask is None else 1.0 - float(mask.float().mean())
            row = SensitivityRow(name, level, share, *map(float, test(pruned)))
            rows.append(row)
            if progress is not None:
                progress(row)
    return SensitivityAnalysis(group, tuple(rows))


def fitting_parameters(
    model: nn.Module, group: Group, patterns: Sequence[str] | None = None
) -> list[str]:
    """The weights that an analysis prunes.

    Args:
        model: The network.
        group: ``element`` and ``channel`` fit convolutions and linear layers, ``filter`` fits
            convolutions.
        patterns: Names or patterns; None means every weight that fits.

    Returns:
        Names in the order of the patterns, each once.

    Raises:
        CompressionError: An unknown group, or a pattern that means no weight that fits.
    """
    if group not in ("element", "filter", "channel"):
        raise CompressionError(
            f"group must be element, filter or channel, got {group!r}"
            f"{nearest(group, ('element', 'filter', 'channel'))}"
        )
    n_dims = (4,) if group == "filter" else (2, 4)
    known = [name for name, weight in model.named_parameters()]
    fit = [name for name, weight in model.named_parameters() if weight.dim() in n_dims]
    for pattern in patterns or ():
        if not expand([pattern], known):
            raise CompressionError(
                f"the network has no parameter {pattern!r}{nearest(pattern, fit)}"
            )
        if not expand([pattern], fit):
            raise CompressionError(
                f"{pattern!r} means no weight that {group} pruning fits{nearest(pattern, fit)}"
            )
    return fit if patterns is None else expand(patterns, fit)


def _mask(weight: Tensor, level: float, group: Group) -> Tensor | None:
    if group == "element":
        return keep_level(weight, level)
    structure = Structure("Filters" if group == "filter" else "Channels")
    keep = keep_best(structure.scores(weight, 1), n_to_prune(structure.count(weight.shape), level))
    return None if keep is None else structure.mask(keep, weight.shape)
