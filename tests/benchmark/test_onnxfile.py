"""The outline of ONNX files agrees with onnx's own; damaged ones are told as such."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import onnx
import pytest

from stillhouse_benchmark.backends.blame import blamed_layers, unsupported_reason
from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.onnxfile import Node, read_onnx


def test_the_outline_is_onnxs_own(tmp_path: Path, slim_net: Any) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(slim_net.onnx())
    ours, theirs = read_onnx(path), onnx.load(str(path))
    assert [node.name for node in ours.nodes] == [node.name for node in theirs.graph.node]
    assert [node.op_type for node in ours.nodes] == [node.op_type for node in theirs.graph.node]
    assert ours.initializers == tuple(item.name for item in theirs.graph.initializer)
    assert ours.inputs == {"input": (1, 3, 16, 16)}
    assert ours.outputs == ("fc",)
    assert ours.opset == 13


def test_an_open_dimension_reads_as_zero(tmp_path: Path, slim_net: Any) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(slim_net.onnx(batch="n"))
    assert read_onnx(path).inputs == {"input": (0, 3, 16, 16)}


@pytest.mark.parametrize("data", [b"", b"no network", b"\x08\x07", b"\x00" * 50, b"\xff" * 50])
def test_garbage_is_a_bad_artifact(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(JobFailed, match="not a whole ONNX file") as caught:
        read_onnx(path)
    assert caught.value.failure_class == "bad-artifact"


def test_any_damage_is_read_or_refused(tmp_path: Path, slim_net: Any) -> None:
    rng = random.Random(1)
    whole = slim_net.onnx()
    path = tmp_path / "net.onnx"
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(data[: rng.randint(1, len(data))]))
        try:
            read_onnx(path)
        except JobFailed as failed:
            assert failed.failure_class == "bad-artifact"


NODES = (
    Node("features.0", "Conv", ("x",), ("features.0",)),
    Node("features.3", "Erf", ("features.0",), ("features.3",)),
)


def test_a_layer_is_blamed_by_its_name_or_by_its_operation() -> None:
    assert blamed_layers('Failed to compile layer "features.0": no', NODES) == ("features.0",)
    assert blamed_layers("unsupported operation of type: Erf opset6", NODES) == ("features.3",)
    assert blamed_layers("something else", NODES) == ()


def test_memory_and_device_errors_have_classes_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    assert unsupported_reason(path, "compile", "std::bad_alloc").failure_class == "out-of-memory"
    fault = unsupported_reason(path, "compile", "Can not init Myriad device: NC_ERROR")
    assert fault.failure_class == "device-fault"
