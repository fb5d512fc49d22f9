"""What a server loads when it is first needed, and then keeps out of the garbage collector's way.

Depends on: the standard library.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

BOUNDS = "stillhouse_optimizer.bounds"  # loads scipy
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


# Who looks at classes of another library in `sys.modules`, whenever that is there.
_LOOKS_AT = {"scipy": "torch", "sklearn": "pandas", "plotly": "pandas"}


class _InOrder(MetaPathFinder):
    """Has whoever imports a library of `_LOOKS_AT` import what it looks at before."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find such a library, as Python would."""
        if name not in _LOOKS_AT:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _After(_LOOKS_AT[name], spec.loader)
        return spec


class _After(Loader):
    """A loader that waits for another module; a finder must not, it holds up every import."""

    def __init__(self, other: str, loader: Loader) -> None:
        self._other, self._loader = other, loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module, as its own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code when the other is whole."""
        with suppress(ModuleNotFoundError):
            importlib.import_module(self._other)
        self._loader.exec_module(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def load_in_order() -> None:
    """Keep threads apart that load a library and use one that looks at it, in this process.

    scipy looks at `sys.modules["torch"]` for torch's classes whenever it checks an array, and
    raises an AttributeError while another thread's `import torch` is under way: that takes two
    seconds. Torch that is whole before scipy begins cannot be half at any later time. So it is with
    scikit-learn, plotly and pandas.
    """
    if not any(isinstance(finder, _InOrder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _InOrder())
