"""What a server loads when it is first needed, and then keeps out of the garbage collector's way.

Depends on: the standard library.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence
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


class _TorchFirst(MetaPathFinder):
    """Has whoever imports scipy import torch before."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find scipy, as Python would."""
        spec = PathFinder.find_spec(name, path, target) if name == "scipy" else None
        if spec is not None and spec.loader is not None:
            spec.loader = _AfterTorch(spec.loader)
        return spec


class _AfterTorch(Loader):
    """A loader that waits for torch; a finder must not, it holds up every other import."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module, as its own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code when torch is whole."""
        importlib.import_module("torch")
        self._loader.exec_module(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def torch_before_scipy() -> None:
    """Keep threads that import torch and use scipy at the same time apart, in this process.

    scipy (as scikit-learn) looks at `sys.modules["torch"]` for torch's classes whenever it checks
    an array, and raises an AttributeError while another thread's `import torch` is under way: that
    takes two seconds. Torch that is whole before scipy begins cannot be half at any later time.
    """
    if not any(isinstance(finder, _TorchFirst) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TorchFirst())
