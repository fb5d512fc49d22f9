"""Element-wise pruning to a sparsity level: fixed, or rising gradually.

Depends on: torch, selection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from stillhouse_compression.schedule.arguments import FRACTION, WEIGHTS, Argument, ClassSpec
from stillhouse_compression.schedule.pruners.law import (
    GRADUAL_ARGUMENTS,
    Gradual,
    Target,
    gradual_faults,
    gradual_window,
)
from stillhouse_compression.schedule.pruners.step import MaskUpdate, PruningStep, Stateless
from stillhouse_compression.schedule.selection import keep_level


class SparsityLevelParameterPruner(Stateless):
    """Prunes each parameter to its own level.

    Args:
        name: Instance name.
        levels: Parameter name -> sparsity in [0, 1]; ``*`` stands for all others. A
            parameter without a level, or with level 0, keeps the mask it has.

    Source: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural
    Networks", section 3.
    """

    def __init__(self, name: str, levels: Mapping[str, float]) -> None:
        self.name = name
        self.levels = dict(levels)

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The parameters that have a level."""
        return [name for name in parameters if self._level(name) > 0]

    def masks(self, step: PruningStep) -> Iterator[MaskUpdate]:
        """Masks at the levels."""
        for name in self.owns(step.parameters):
            mask = keep_level(step.weight(name), self._level(name))
            if mask is not None:
                yield MaskUpdate(name, mask)

    def state_dict(self) -> dict[str, Any]:
        """The levels: a policy may have replaced them."""
        return {"levels": dict(self.levels)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the levels over."""
        self.levels = dict(state["levels"])

    def _level(self, name: str) -> float:
        return self.levels.get(name, self.levels.get("*", 0.0))


class AutomatedGradualPruner(Stateless):
    """Prunes parameters to a level that rises over the window.

    Args:
        name: Instance name.
        target: The rising level.
        weights: Parameter names.

    Source: Zhu and Gupta 2017, "To prune, or not to prune".
    """

    def __init__(self, name: str, target: Target, weights: list[str]) -> None:
        self.name = name
        self.target = target
        self.weights = frozenset(weights)

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The listed parameters."""
        return [name for name in parameters if name in self.weights]

    def masks(self, step: PruningStep) -> Iterator[MaskUpdate]:
        """Masks at the level of the epoch; none while it is too small to prune anything."""
        sparsity = self.target.sparsity(step.epoch, step.window)
        for name in self.owns(step.parameters):
            mask = keep_level(step.weight(name), sparsity)
            if mask is not None:
                yield MaskUpdate(name, mask)


CLASSES = (
    ClassSpec(
        "SparsityLevelParameterPruner",
        "pruners",
        (Argument("levels", FRACTION, names="map", wildcard=True),),
        lambda name, args, building: SparsityLevelParameterPruner(name, args["levels"]),
    ),
    ClassSpec(
        "AutomatedGradualPruner",
        "pruners",
        (*GRADUAL_ARGUMENTS, WEIGHTS),
        lambda name, args, building: AutomatedGradualPruner(
            name, Gradual(args["initial_sparsity"], args["final_sparsity"]), args["weights"]
        ),
        faults=gradual_faults,
        window=gradual_window,
    ),
)
