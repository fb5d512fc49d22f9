"""BatchNorm statistics estimated afresh: what a thinned network needs before it is judged.

Depends on: torch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stillhouse_compression.modes import evaluating


@torch.no_grad()
def recalibrate_batchnorm(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace running mean and variance by their averages over whole batches.

    Every batch counts the same (cumulative average), so the result depends on the data alone and
    not on where training left the statistics. Weights do not change. Everything but BatchNorm
    runs as in evaluation (no dropout).

    Args:
        model: Changed in place: buffers of BatchNorm modules that track statistics.
        batches: Normalised images (n, C, H, W), where the network is; n >= 2.

    Returns:
        Number of batches seen; at 0 the old statistics stay.
    """
    modules = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    if not modules:
        return 0
    momenta = [module.momentum for module in modules]
    n_batches = 0
    with evaluating(model):
        for batch in batches:
            if n_batches == 0:
                for module in modules:
                    module.reset_running_stats()
                    module.momentum = None  # cumulative average
                    module.train()
            model(batch)
            n_batches += 1
    for module, momentum in zip(modules, momenta, strict=True):
        module.momentum = momentum
    return n_batches
