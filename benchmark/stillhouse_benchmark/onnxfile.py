"""What an ONNX file says of itself: nodes, opset, input shapes; read from the raw protobuf.

Depends on: the standard library. The host has no ``onnx`` package; this reads the few fields that
error messages need, and tells a damaged file from one the runtime cannot run.

Source: onnx/onnx.proto (field numbers) and the protobuf encoding specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from stillhouse_benchmark.errors import JobFailed

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MODEL_GRAPH, MODEL_OPSET = 7, 8
OPSET_DOMAIN, OPSET_VERSION = 1, 2
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP_TYPE = 1, 2, 3, 4
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR, TENSOR_TYPE_SHAPE, SHAPE_DIM, DIM_VALUE = 1, 2, 1, 1
TENSOR_NAME = 8


@dataclass(frozen=True)
class Node:
    """One node of the graph."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class OnnxFile:
    """The outline of an ONNX file.

    Attributes:
        opset: Of the default domain.
        nodes: In the file's order.
        inputs: Name -> shape without the initialisers; a dimension that is not fixed is 0.
        outputs: Names.
        initializers: Names.
    """

    opset: int
    nodes: tuple[Node, ...]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    initializers: tuple[str, ...]


def read_onnx(path: Path) -> OnnxFile:
    """Read the outline.

    Raises:
        JobFailed: class ``bad-artifact``: not ONNX, cut short, or without a graph.
    """
    try:
        return _model(memoryview(path.read_bytes()))
    except (ValueError, IndexError) as error:
        raise JobFailed(
            "bad-artifact", "check", f"{path.name} is not a whole ONNX file: {error}"
        ) from error


def _model(data: memoryview) -> OnnxFile:
    graph: memoryview | None = None
    opset = 0
    for number, value in _fields(data):
        if number == MODEL_GRAPH:
            graph = _bytes(value)
        elif number == MODEL_OPSET:
            fields = dict(_fields(_bytes(value)))
            if not bytes(_bytes(fields.get(OPSET_DOMAIN, memoryview(b"")))):
                opset = _int(fields.get(OPSET_VERSION, 0))
    if graph is None:
        raise ValueError("no graph in it")
    nodes, initializers, inputs, outputs = [], [], {}, []
    for number, value in _fields(graph):
        if number == GRAPH_NODE:
            nodes.append(_node(_bytes(value)))
        elif number == GRAPH_INITIALIZER:
            initializers += [_text(v) for n, v in _fields(_bytes(value)) if n == TENSOR_NAME]
        elif number == GRAPH_INPUT:
            name, shape = _value_info(_bytes(value))
            inputs[name] = shape
        elif number == GRAPH_OUTPUT:
            outputs.append(_value_info(_bytes(value))[0])
    if not nodes or not outputs:
        raise ValueError("its graph has no nodes or no outputs")
    known = set(initializers)
    return OnnxFile(
        opset=opset,
        nodes=tuple(nodes),
        inputs={name: shape for name, shape in inputs.items() if name not in known},
        outputs=tuple(outputs),
        initializers=tuple(initializers),
    )


def _node(data: memoryview) -> Node:
    texts: dict[int, list[str]] = {NODE_INPUT: [], NODE_OUTPUT: [], NODE_NAME: [], NODE_OP_TYPE: []}
    for number, value in _fields(data):
        if number in texts:
            texts[number].append(_text(value))
    return Node(
        name="".join(texts[NODE_NAME][-1:]),
        op_type="".join(texts[NODE_OP_TYPE][-1:]),
        inputs=tuple(texts[NODE_INPUT]),
        outputs=tuple(texts[NODE_OUTPUT]),
    )


def _value_info(data: memoryview) -> tuple[str, tuple[int, ...]]:
    name, shape = "", []
    for number, value in _fields(data):
        if number == VALUE_NAME:
            name = _text(value)
        elif number == VALUE_TYPE:
            for dim in _inside(_bytes(value), (TYPE_TENSOR, TENSOR_TYPE_SHAPE, SHAPE_DIM)):
                shape.append(_int(dict(_fields(dim)).get(DIM_VALUE, 0)))
    return name, tuple(shape)


def _inside(data: memoryview, path: tuple[int, ...]) -> Iterator[memoryview]:
    """Messages at a path of field numbers."""
    if not path:
        yield data
        return
    for number, value in _fields(data):
        if number == path[0]:
            yield from _inside(_bytes(value), path[1:])


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Field number and value of one protobuf message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError(f"field number 0 at byte {at}")
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"cut short: {size} bytes announced, {len(data) - at} left")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("cut short within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than ten bytes at byte {at}")


def _bytes(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message was wanted")
    return value


def _int(value: memoryview | int) -> int:
    if not isinstance(value, int):
        raise ValueError("a message where a number was wanted")
    return value


def _text(value: memoryview | int) -> str:
    return bytes(_bytes(value)).decode("utf-8")
