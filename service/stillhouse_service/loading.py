"""What a server loads when it is first needed, and then keeps out of the garbage collector's way.

Depends on: the standard library.
"""

from __future__ import annotations

import gc
import importlib
from functools import cache

PROPOSALS = "stillhouse_optimizer.propose"  # loads SMAC
BUILT_NETWORKS = "stillhouse_service.built_network"  # loads torch


@cache
def load(*modules: str) -> None:
    """Import modules for good: seconds, once.

    What a module makes when it is imported lives as long as the process. With SMAC and torch that
    is 400,000 objects; a full garbage collection that walks them stops every thread of a server
    for a quarter of a second, so they are taken out of its sight.
    """
    for module in modules:
        importlib.import_module(module)
    gc.collect()  # else what is garbage now would be kept as well
    gc.freeze()
