"""`stillhouse verify` as a command on this machine's real runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCHEDULE = """\
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: 0.5
    weights: [layer3.2.conv1.weight]
  elements:
    class: AutomatedGradualPruner
    initial_sparsity: 0.05
    final_sparsity: 0.75
    weights: [layer1.0.conv1.weight]
policies:
  - {pruner: {instance_name: filters}, starting_epoch: 0, ending_epoch: 2, frequency: 1}
  - {pruner: {instance_name: elements}, starting_epoch: 0, ending_epoch: 2, frequency: 1}
"""


def test_a_pruned_network_arrives_whole_and_every_stage_is_told(run: Any, tmp_path: Path) -> None:
    schedule = tmp_path / "schedule.yaml"
    schedule.write_text(SCHEDULE)
    status, out, err = run("verify", "resnet20_cifar", str(schedule), "--json")
    assert status == 0, err
    report = json.loads(out)
    assert report["problem"] is None
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert list(stages) == ["torch", "onnx", "onnx in torch", "ir f32", "ir f16", "device"]
    for name in ("torch", "onnx", "onnx in torch", "ir f32"):
        rows = {row["layer"]: row for row in stages[name]["layers"]}
        assert len(rows) == 22
        # Half of 64 filters are cut; a quarter of 16 * 16 * 3 * 3 weights are left.
        assert rows["layer3.2.conv1"]["shape"] == [32, 64, 3, 3]
        assert rows["layer1.0.conv1"]["n_nonzero"] == 576
    for name in ("onnx in torch", "ir f32", "device"):
        assert stages[name]["agreement"]["max_rel"] < 1e-4
        assert stages[name]["agreement"]["top1_agreement"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["resnet21"], "resnet21"),
        (["resnet20_cifar", "/no/such/file.yaml"], "cannot read /no/such/file.yaml"),
        (["resnet20_cifar", "--device", "TOASTER"], "no device 'TOASTER'"),
    ],
)
def test_what_cannot_be_followed_is_said_in_a_sentence(
    run: Any, arguments: list[str], told: str
) -> None:
    status, _, err = run("verify", *arguments)
    assert status != 0
    assert told in err
    assert "Traceback" not in err


@pytest.mark.slow  # installs NNCF and onnxruntime: half a minute
@pytest.mark.timeout(600)
def test_an_int8_network_is_made_and_the_runtime_says_whether_it_takes_it(tmp_path: Path) -> None:
    constraints = Path(__file__).resolve().parents[2] / "constraints.txt"
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(tmp_path)]
    command += ["-c", str(constraints), "nncf", "onnxruntime"]
    subprocess.run(command, check=True, capture_output=True, timeout=400)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "stillhouse_service.cli", "verify", "resnet20_cifar"]
    done = subprocess.run(
        [*command, "--quantised", "--json"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["quantised"]
    assert (found["runtime"], found["is_supported"]) == ("openvino", True)
    # 272,000 weights: one byte each, not four, and what the scales need.
    assert 272_000 < found["bytes"] < 2 * 272_000
