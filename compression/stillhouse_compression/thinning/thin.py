"""Thinning: what is zero everywhere is cut out of the network, its optimizer and its masks.

Depends on: torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from stillhouse_compression.errors import ThinningError, TrainingDiverged
from stillhouse_compression.layers import count_params, example_input, total_macs
from stillhouse_compression.modes import evaluating
from stillhouse_compression.thinning.cut import Selection, Surgery, as_selections
from stillhouse_compression.thinning.graph import channel_units, groups_of
from stillhouse_compression.thinning.optimizer_state import follow_cuts
from stillhouse_compression.thinning.plan import Part, plan_cuts
from stillhouse_compression.thinning.report import CutLayer, ThinningReport

_N_PROBES = 4


class FollowsCuts(Protocol):
    """A scheduler, as far as thinning needs one."""

    def on_parameters_cut(self, cuts: Mapping[str, Selection]) -> None:
        """Cut masks and whatever else is kept by parameter, in the same places."""


def thin(
    model: nn.Module,
    input_shape: Sequence[int],
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: FollowsCuts | None = None,
    parts: Sequence[Part] = ("filters", "channels"),
) -> ThinningReport:
    """Cut what is exactly zero in every coupled layer; whatever else is zero stays masked.

    A zero filter still emits what its BatchNorm makes of 0; only where that is 0 as well
    (``mask_batchnorm``) the outputs stay the same. The report says how much they changed.

    Args:
        model: Changed in place: parameters are replaced, never resized.
        input_shape: (channels, height, width).
        optimizer: Goes on with the new parameters; its state is cut along.
        scheduler: Told which indices of which parameter were kept.
        parts: ``filters``, ``channels`` or both.

    Raises:
        ThinningError: The network cannot be traced, or does not run after the cut; it is
            unchanged then, and so are optimizer and scheduler.
        TrainingDiverged: Some weight is NaN or infinite.
    """
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise TrainingDiverged(f"training diverged: {name} holds NaN or infinite values")
    units = channel_units(model, input_shape)
    groups = groups_of(model, units)
    plan = plan_cuts(model, units, parts)
    sizes, macs, params = _sizes(model), total_macs(model, input_shape), count_params(model)
    probe = example_input(model, input_shape, _N_PROBES)
    before = _run(model, probe)
    surgery = Surgery(model)
    surgery.cut(plan.cut)
    try:
        after = _run(model, probe)
        if after.shape != before.shape:
            raise RuntimeError(f"output {tuple(before.shape)} became {tuple(after.shape)}")
    except (RuntimeError, IndexError) as error:
        surgery.undo()
        raise ThinningError(f"the network does not run after the cut: {error}") from error
    if optimizer is not None:
        follow_cuts(optimizer, surgery.cuts)
    if scheduler is not None and surgery.cuts:
        scheduler.on_parameters_cut(as_selections(surgery.cuts))
    now = _sizes(model)
    return ThinningReport(
        coupled=tuple(group for group in groups if len(group) > 1),
        cut=tuple(
            CutLayer(name, (sizes[name][0], now[name][0]), (sizes[name][1], now[name][1]))
            for name in sizes
            if sizes[name] != now[name]
        ),
        stayed=plan.stayed,
        macs=(macs, total_macs(model, input_shape)),
        params=(params, count_params(model)),
        output_change=float((after - before).abs().max()),
        output_scale=float(before.abs().max()),
    )


@torch.no_grad()
def _run(model: nn.Module, probe: Tensor) -> Tensor:
    with evaluating(model):
        output: Tensor = model(probe)
    return output


def _sizes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Filters and input channels of every convolution and linear layer."""
    sizes = {}
    for name, module in model.named_modules():
        if isinstance(module, _ConvNd):
            sizes[name] = (module.out_channels, module.in_channels)
        elif isinstance(module, nn.Linear):
            sizes[name] = (module.out_features, module.in_features)
    return sizes
