"""Networks like and unlike a given one, for sources to be searched on.

Depends on: numpy.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from suites.optimiser_networks import Network


def related(network: Network) -> Network:
    """The same network on another device and other data: each layer's share and tenderness moves.

    Work and sensitivities vary by about a quarter, exponents by a tenth, the best learning rate by
    a factor of 1.6; drops are 1.3 times as large.
    """
    rng = np.random.default_rng([network.channels.sum(), 41, int(1e6 * network.work[0])])
    n = len(network.work)
    work = network.work * rng.lognormal(0.0, 0.25, n)
    return replace(
        network,
        work=work / work.sum(),
        returns=network.returns * rng.uniform(0.9, 1.1, n),
        sensitivity=1.3 * network.sensitivity * rng.lognormal(0.0, 0.25, n),
        bend=network.bend * rng.uniform(0.9, 1.1, n),
        best_log_lr=network.best_log_lr + 0.2,
    )


def misleading(network: Network) -> Network:
    """One where what is dear here is cheap, and what is tender here is hardy, and the reverse.

    Layers stand in the order of the other end, the best learning rate and decay at the other end of
    their ranges.
    """
    cheap = 1.0 / network.work
    hardy = 1.0 / network.sensitivity
    return replace(
        network,
        work=cheap / cheap.sum(),
        returns=network.returns[::-1].copy(),
        sensitivity=hardy / hardy.sum() * network.sensitivity.sum(),
        bend=network.bend[::-1].copy(),
        best_log_lr=-4.6 - network.best_log_lr,
        best_decay=-7.7 - network.best_decay,
        mixed_left=1.2,
        late_left=1.3,
    )
