"""Pruning of filters ranked by activations, by gradients, or at random.

Depends on: torch, numpy, ranking, observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stillhouse_compression.schedule.arguments import (
    FRACTION,
    WEIGHTS,
    Argument,
    Arguments,
    ClassSpec,
    boolean,
    choice,
    default,
    given,
    list_of,
)
from stillhouse_compression.schedule.pruners.law import Drawn
from stillhouse_compression.schedule.pruners.step import Kind, PruningStep
from stillhouse_compression.schedule.pruners.structures import (
    DEPENDENCY,
    GROUP_SIZE,
    MASK_BATCHNORM,
    NORM_ARGUMENTS,
    Kept,
    NormRanker,
    Ranker,
    gradual,
    one_shot,
    pruner,
    structure_faults,
    structure_fits,
)
from stillhouse_compression.schedule.ranking import Structure, drop_last


@dataclass(frozen=True)
class ActivationRanker:
    """Prunes the filters whose activations say least.

    Attributes:
        observes: ``apoz``: the most often zero go; ``mean``: the weakest go.
        strongest_first: Of ``mean``: the strongest go instead, as in the original.
        group_size: Filters are pruned in such numbers only.

    Source: Hu et al. 2016, "Network Trimming", section 3.1 (APoZ); Molchanov et al. 2017,
    "Pruning Convolutional Neural Networks for Resource Efficient Inference", section 2.2
    (mean activation).
    """

    observes: Kind
    strongest_first: bool = False
    group_size: int = 1
    is_random: bool = False

    def rank(
        self, names: Sequence[str], fraction: float, structure: Structure, step: PruningStep
    ) -> Kept | None:
        """Compare statistics, summed over the parameters; pending while there are none."""
        found = [step.activations.get(f"{name}/{self.observes}") for name in names]
        seen = [value for value in found if value is not None]
        n_filters = step.parameters[names[0]].shape[0]
        if len(seen) < len(found) or any(value.numel() != n_filters for value in seen):
            step.is_pending = True
            return None
        scores = torch.stack(seen).sum(dim=0)
        # The last of the order go: the highest share of zeros, the lowest mean.
        is_descending = self.observes == "mean" and not self.strongest_first
        order = scores.argsort(descending=is_descending, stable=True)
        return _dropped(order, fraction, self.group_size)


@dataclass(frozen=True)
class GradientRanker:
    """Prunes the filters whose loss of ``sum(weight * gradient)`` is lowest, signed.

    Source: Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource
    Efficient Inference", section 2.2, equation 7, without the absolute value, as the original.
    """

    group_size: int = 1
    is_random: bool = False
    needs_gradients: bool = True

    def rank(
        self, names: Sequence[str], fraction: float, structure: Structure, step: PruningStep
    ) -> Kept | None:
        """Compare sums over the parameters; nothing is pruned before there is a gradient."""
        scores: Tensor | None = None
        for name in names:
            gradient = step.parameters[name].grad
            if gradient is None:
                return None
            score = (step.weight(name) * gradient).flatten(1).sum(dim=1)
            scores = score if scores is None else scores + score
        if scores is None:
            return None
        order = scores.argsort(descending=True, stable=True)
        return _dropped(order, fraction, self.group_size)


@dataclass(frozen=True)
class RandomRanker:
    """Prunes filters drawn at random (numpy's global generator)."""

    group_size: int = 1
    is_random: bool = True

    def rank(
        self, names: Sequence[str], fraction: float, structure: Structure, step: PruningStep
    ) -> Kept | None:
        """Draw an order."""
        parameter = step.parameters[names[0]]
        if int(fraction * parameter.shape[0]) == 0:
            return None
        drawn = np.random.permutation(parameter.shape[0])
        order = torch.from_numpy(drawn).to(parameter.device)
        return _dropped(order, fraction, self.group_size)


@dataclass(frozen=True)
class BernoulliRanker:
    """Keeps each filter with probability ``1 - fraction`` and scales up what is kept.

    When the draw drops every filter, none is dropped: there would be nothing to scale.
    """

    is_random: bool = True

    def rank(
        self, names: Sequence[str], fraction: float, structure: Structure, step: PruningStep
    ) -> Kept | None:
        """Draw."""
        parameter = step.parameters[names[0]]
        keep = torch.bernoulli(torch.full((parameter.shape[0],), 1.0 - fraction)).bool()
        n_kept = int(keep.sum())
        if n_kept == 0:
            return Kept(torch.ones_like(keep).to(parameter.device))
        return Kept(keep.to(parameter.device), keep.numel() / n_kept)


def _dropped(order: Tensor, fraction: float, group_size: int) -> Kept | None:
    n = math.floor(fraction * order.numel()) // group_size * group_size
    keep = drop_last(order, n)
    return None if keep is None else Kept(keep)


# Arguments --------------------------------------------------------------------------------

FILTER_ARGUMENTS: tuple[Argument, ...] = (
    given("group_type", choice("Filters", "3D")),
    WEIGHTS,
    DEPENDENCY,
    GROUP_SIZE,
    MASK_BATCHNORM,
)


def _apoz(arguments: Arguments) -> Ranker:
    return ActivationRanker("apoz", group_size=arguments["group_size"])


def _mean(arguments: Arguments) -> Ranker:
    return ActivationRanker("mean", arguments["legacy_order"], arguments["group_size"])


def _gradient(arguments: Arguments) -> Ranker:
    return GradientRanker(arguments["group_size"])


def _random(arguments: Arguments) -> Ranker:
    return RandomRanker(arguments["group_size"])


def _bernoulli(arguments: Arguments) -> Ranker:
    return BernoulliRanker()


LEGACY_ORDER = default("legacy_order", boolean, False)
RANKERS: tuple[tuple[str, tuple[Argument, ...], Callable[[Arguments], Ranker]], ...] = (
    ("ActivationAPoZRankedFilterPruner", FILTER_ARGUMENTS, _apoz),
    ("ActivationMeanRankedFilterPruner", (*FILTER_ARGUMENTS, LEGACY_ORDER), _mean),
    ("GradientRankedFilterPruner", FILTER_ARGUMENTS, _gradient),
    ("RandomRankedFilterPruner", FILTER_ARGUMENTS, _random),
    ("BernoulliFilterPruner", FILTER_ARGUMENTS, _bernoulli),
)


def _random_level(arguments: Arguments) -> Drawn:
    low, high = arguments["sparsity_range"]
    return Drawn(low, high)


CLASSES = (
    *(make(*row) for row in RANKERS for make in (one_shot, gradual)),
    ClassSpec(
        "RandomLevelStructureParameterPruner",
        "pruners",
        (given("sparsity_range", list_of(FRACTION, length=2)), *NORM_ARGUMENTS),
        lambda name, args, building: pruner(
            name,
            args,
            _random_level(args),
            NormRanker(1, args["noise"], args["group_size"]),
        ),
        faults=structure_faults,
        fits=structure_fits,
    ),
)
