"""Which BatchNorms normalise a convolution's output.

Depends on: torch.fx. Where a forward pass cannot be traced, the order in which modules are
declared stands in for it, as it does in every common network.
"""

from __future__ import annotations

from torch import fx, nn

from stillhouse_compression.schedule.names import PREFIX

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def following_batchnorms(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The BatchNorms that read a convolution's output directly.

    Args:
        model: The network; it is not changed.

    Returns:
        Convolution's module name -> names of its BatchNorms, () when it has none; names as
        in ``model.named_modules()``.
    """
    inner, prefix = model, ""
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner, prefix = model.module, PREFIX
    modules = dict(inner.named_modules())
    convolutions = [name for name, module in modules.items() if isinstance(module, CONVOLUTIONS)]
    try:
        graph = fx.Tracer().trace(inner)
    except Exception:  # whatever a forward pass may raise on symbolic values
        found = {name: _declared_next(name, modules) for name in convolutions}
    else:
        found = {name: _traced(name, graph, modules) for name in convolutions}
    return {prefix + name: tuple(prefix + bn for bn in bns) for name, bns in found.items()}


def _traced(name: str, graph: fx.Graph, modules: dict[str, nn.Module]) -> tuple[str, ...]:
    users = (
        str(user.target)
        for node in graph.nodes
        if node.op == "call_module" and node.target == name
        for user in node.users
        if user.op == "call_module"
    )
    return tuple(dict.fromkeys(user for user in users if isinstance(modules[user], BATCHNORMS)))


def _declared_next(name: str, modules: dict[str, nn.Module]) -> tuple[str, ...]:
    """The next module with parameters, if it is a BatchNorm of the right width."""
    names = list(modules)
    for candidate in names[names.index(name) + 1 :]:
        module = modules[candidate]
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        width = getattr(modules[name], "out_channels", None)
        is_next = isinstance(module, BATCHNORMS) and module.num_features == width
        return (candidate,) if is_next else ()
    return ()
