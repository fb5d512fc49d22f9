"""Names of an ONNX graph's nodes, tensors and weights, made to follow torch's modules.

Depends on: onnx, torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from torch import nn

from stillhouse_compression.errors import ExportError

_COMPUTING_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def name_canonically(
    exported: onnx.ModelProto, model: nn.Module, calls: Sequence[str], input_name: str
) -> None:
    """Rename everything in place.

    Args:
        exported: A graph of the legacy exporter, in topological order.
        model: Where it came from.
        calls: Module paths of convolution and linear layers, in the order in which they run.
        input_name: Name of the graph's input, kept.

    Raises:
        ExportError: The graph does not have exactly one weighted node a call, or a weight's shape
            is not its module's.
    """
    graph = exported.graph
    _separate_shared_weights(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    computing = [
        node
        for node in graph.node
        if node.op_type in _COMPUTING_OPS and any(name in weights for name in node.input[1:2])
    ]
    if len(computing) != len(calls):
        raise ExportError(
            f"the graph has {len(computing)} convolution and linear nodes, "
            f"the network ran {len(calls)} such layers; they cannot be told apart"
        )
    names = _Names({input_name})
    renamed: dict[str, str] = {input_name: input_name}
    paths: dict[int, str] = {}
    for node, path in zip(computing, calls, strict=True):
        paths[id(node)] = names.take(path)
        _name_weights(node, path, model.get_submodule(path), weights, renamed)
    modules = {name for name, _ in model.named_modules()}
    for node in graph.node:
        path = paths.get(id(node)) or names.take(_scope_name(node, modules))
        node.name = path
        for k, output in enumerate(node.output):
            renamed[output] = path if k == 0 else f"{path}:{k}"
    _apply(graph, renamed)


def _separate_shared_weights(graph: onnx.GraphProto) -> None:
    """Give every layer its own copy of a weight.

    The exporter stores equal weights (two biases of zeros) once and hands them on by Identity
    nodes; then nobody could tell whose they are.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    copying = [
        node for node in graph.node if node.op_type == "Identity" and node.input[0] in weights
    ]
    for node in copying:
        copy = graph.initializer.add()
        copy.CopyFrom(weights[node.input[0]])
        copy.name = node.output[0]
        weights[copy.name] = copy
        graph.node.remove(node)


class _Names:
    """Names given out so far; each only once."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def take(self, wanted: str) -> str:
        """``wanted``, or ``wanted@2``, ``wanted@3``, ... where it is in use already."""
        name, n = wanted, 1
        while name in self._taken:
            n += 1
            name = f"{wanted}@{n}"
        self._taken.add(name)
        return name


def _name_weights(
    node: onnx.NodeProto,
    path: str,
    module: nn.Module,
    weights: dict[str, onnx.TensorProto],
    renamed: dict[str, str],
) -> None:
    """Note the new names of one node's weight and bias, after checking their shapes."""
    wanted = tuple(module.weight.shape)  # type: ignore[arg-type]  # weight is a Tensor
    for name, part in zip(node.input[1:3], ("weight", "bias"), strict=False):
        if name not in weights:
            continue
        found = tuple(weights[name].dims)
        if part == "bias":
            is_right = found in ((wanted[0],), (wanted[1],))
        elif node.op_type == "MatMul":
            is_right = found == wanted[::-1]
        else:
            is_right = found == wanted
        if not is_right:
            raise ExportError(
                f"the {part} of node {node.name or node.op_type} has shape {found}, "
                f"module {path} has weights of shape {wanted}"
            )
        renamed.setdefault(name, f"{path}.{part}")


def _scope_name(node: onnx.NodeProto, modules: set[str]) -> str:
    """Read a module path off the exporter's node name, e.g. ``/layer1/layer1.0/relu1/Relu``.

    A node that is not a module's own (an addition in a block's forward) gets the innermost
    module's path and its operator: ``layer1.0.add``.
    """
    path: list[str] = []
    *scopes, _ = node.name.strip("/").split("/")
    for scope in scopes:
        # A container's children repeat its name: /layer1/layer1.0 is layer1.0.
        ancestors = (path[:k] for k in range(len(path), -1, -1))
        candidates = (".".join([*ancestor, scope]) for ancestor in ancestors)
        path = next((name.split(".") for name in candidates if name in modules), path)
    module = ".".join(path)
    if module and _is_leaf(module, modules) and node.op_type != "Constant":
        return module
    return f"{module}.{node.op_type.lower()}" if module else node.op_type.lower()


def _is_leaf(path: str, modules: set[str]) -> bool:
    return not any(name.startswith(f"{path}.") for name in modules)


def _apply(graph: onnx.GraphProto, renamed: dict[str, str]) -> None:
    """Put the new names everywhere a tensor is named."""
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = renamed.get(value.name, value.name)
