"""Greedy filter pruning: again and again the layer that can spare filters best loses some.

Depends on: torch, ranking, layers, thinning.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from stillhouse_compression.errors import CompressionError, nearest
from stillhouse_compression.layers import total_macs
from stillhouse_compression.schedule.names import expand
from stillhouse_compression.schedule.policies import PruningPolicy
from stillhouse_compression.schedule.pruners.law import Constant
from stillhouse_compression.schedule.pruners.structures import NormRanker, StructurePruner
from stillhouse_compression.schedule.ranking import Structure, keep_best, n_to_prune
from stillhouse_compression.schedule.scheduler import CompressionScheduler
from stillhouse_compression.sensitivity import Test
from stillhouse_compression.thinning import thin

FineTune = Callable[[nn.Module, CompressionScheduler], None]
"""Trains a masked network for a while, with a scheduler whose callbacks keep it masked."""


@dataclass(frozen=True)
class GreedyStep:
    """One step.

    Attributes:
        parameter: The layer that lost filters.
        n_filters: Filters it has left.
        macs: Multiply-accumulates of the network now.
        density: ``macs`` as a share of the dense network's.
        top1: First number of the test.
        top5: Second.
        loss: Third.
    """

    parameter: str
    n_filters: int
    macs: int
    density: float
    top1: float
    top5: float
    loss: float


def greedy_pruner(
    model: nn.Module,
    input_shape: Sequence[int],
    test: Test,
    target_density: float,
    pruning_step: float = 0.1,
    fine_tune: FineTune | None = None,
    parameters: Sequence[str] | None = None,
    progress: Callable[[GreedyStep], None] | None = None,
) -> tuple[nn.Module, list[GreedyStep]]:
    """Prune filters until a share of the multiply-accumulates is left.

    In each step every candidate is tried on a copy: its L1-weakest filters are zeroed together
    with what their BatchNorm adds, the copy is fine-tuned, thinned and tested; the best by
    (top1, top5, -loss) is kept.

    Args:
        model: Not changed.
        input_shape: (channels, height, width).
        test: Evaluates a network: (top1, top5, loss).
        target_density: Share of multiply-accumulates to come down to, in (0, 1).
        pruning_step: Share of a layer's filters that a step removes, in (0, 1).
        fine_tune: Trains a copy before it is judged; None: no training.
        parameters: Names or patterns of candidate convolutions; None: all.
        progress: Called with each step.

    Returns:
        The pruned network and the steps.

    Raises:
        CompressionError: A bad argument, or no candidate can spare another filter before the
            target is reached.

    Source: Abbasi-Asl and Yu 2017, "Structural Compression of Convolutional Neural Networks
    Based on Greedy Filter Pruning", section 2.
    """
    for label, value in (("target_density", target_density), ("pruning_step", pruning_step)):
        if not 0.0 < value < 1.0:
            raise CompressionError(f"{label} must lie in (0, 1), got {value}")
    known = dict(model.named_parameters())
    for pattern in parameters or ():
        if not expand([pattern], known):
            raise CompressionError(
                f"the network has no parameter {pattern!r}{nearest(pattern, known)}"
            )
    names = expand(parameters, known) if parameters else list(known)
    candidates = [name for name in names if known[name].dim() == 4]
    dense_macs = total_macs(model, input_shape)
    best, steps = copy.deepcopy(model), list[GreedyStep]()
    while total_macs(best, input_shape) > target_density * dense_macs:
        found: tuple[tuple[float, float, float], nn.Module, GreedyStep] | None = None
        for name in candidates:
            trial = _without_weakest(best, name, input_shape, pruning_step, fine_tune)
            if trial is None:
                continue
            top1, top5, loss = map(float, test(trial))
            macs = total_macs(trial, input_shape)
            left = dict(trial.named_parameters())[name].shape[0]
            step = GreedyStep(name, left, macs, macs / dense_macs, top1, top5, loss)
            if found is None or (top1, top5, -loss) > found[0]:
                found = ((top1, top5, -loss), trial, step)
        if found is None:
            raise CompressionError(
                f"no layer can spare another filter at {total_macs(best, input_shape)} MACs; "
                f"{target_density:g} of {dense_macs} was wanted"
            )
        best = found[1]
        steps.append(found[2])
        if progress is not None:
            progress(found[2])
    return best, steps


def _without_weakest(
    model: nn.Module,
    name: str,
    input_shape: Sequence[int],
    fraction: float,
    fine_tune: FineTune | None,
) -> nn.Module | None:
    """A thinned copy without the layer's weakest filters; None when nothing could be cut."""
    trial = copy.deepcopy(model)
    weight = dict(trial.named_parameters())[name]
    structure = Structure("Filters")
    n = n_to_prune(weight.shape[0], fraction)
    if keep_best(structure.scores(weight.detach(), 1), n) is None:
        return None
    pruner = StructurePruner("greedy", [name], structure, Constant(fraction), NormRanker(1))
    scheduler = CompressionScheduler(trial)
    scheduler.add_policy(PruningPolicy(pruner, {"mask_batchnorm": True}), epochs=[0])
    scheduler.on_epoch_begin(0)
    scheduler.mask_all_weights()
    if fine_tune is not None:
        fine_tune(trial, scheduler)
        scheduler.mask_all_weights()
    n_before = weight.shape[0]
    thin(trial, input_shape, parts=("filters",))
    with torch.no_grad():
        is_cut = dict(trial.named_parameters())[name].shape[0] < n_before
    return trial if is_cut else None
