"""`stillhouse-worker check` and `doctor` as commands, on the runtime of this environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from stillhouse_benchmark.backends.blame import short_reason


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stillhouse_benchmark", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_network_the_device_can_run_is_supported(tmp_path: Path, slim_net: Any) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(slim_net.onnx())
    answer = run("check", str(path), "--device", "CPU")
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["is_supported"] is True


def test_an_operation_the_runtime_lacks_names_its_layer(
    tmp_path: Path, slim_net: Any, model: Any
) -> None:
    weights = {name: slim_net.weights[name] for name in ("conv1.weight", "conv1.bias")}
    nodes = [
        helper.make_node(
            "Conv", ["input", *weights], ["conv1"], name="conv1", kernel_shape=[3, 3], pads=[1] * 4
        ),
        helper.make_node("Det", ["conv1"], ["features.3"], name="features.3"),
    ]
    path = tmp_path / "net.onnx"
    path.write_bytes(model(nodes, weights, [1, 3, 16, 16], "features.3", [1, 8]))
    answer = run("check", str(path), "--device", "CPU")
    found = json.loads(answer.stdout)
    assert answer.returncode == 2
    assert found["failure_class"] == "unsupported"
    assert found["layers"] == ["features.3"]
    assert "Det" in found["reason"]


@pytest.mark.parametrize("data", [b"", b"not a network", np.zeros(1000, "u1").tobytes()])
def test_garbage_is_a_bad_artifact_before_any_runtime_sees_it(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    found = json.loads(run("check", str(path)).stdout)
    assert found["failure_class"] == "bad-artifact"


def test_the_stick_needs_the_old_runtime_and_is_told_so(tmp_path: Path, slim_net: Any) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(slim_net.onnx())
    answer = run("check", str(path), "--device", "MYRIAD")
    assert answer.returncode == 1
    assert "openvino2021" in answer.stderr


def test_the_doctor_sees_this_environments_runtime() -> None:
    answer = run("doctor")
    assert answer.returncode == 0, answer.stdout
    assert "openvino 20" in answer.stdout
    assert "device CPU" in answer.stdout


def test_no_runtime_is_loaded_with_its_telemetry() -> None:
    code = (
        "import sys; from stillhouse_benchmark.backends import load_backend; load_backend('auto')\n"
        "assert 'openvino' in sys.modules\n"
        "told = [name for name, m in sys.modules.items() if 'telemetry' in name and m]\n"
        "assert not [name for name in told if name.startswith('openvino_telemetry')], told\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_worker_itself_loads_neither_numpy_nor_a_runtime() -> None:
    code = (
        "import sys, stillhouse_benchmark.worker\n"
        "assert not {'numpy', 'openvino'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_runtimes_source_lines_are_left_out_of_the_reason() -> None:
    message = '[ GENERAL_ERROR ] \n/home/x/frontend.cpp:441 Failed to compile layer "fc": no'
    assert short_reason(message) == 'Failed to compile layer "fc": no'
