"""A study for the stick: its extremes go to the compiler before anything is trained."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from stillhouse_compression import models
from stillhouse_compression.export import export_onnx
from stillhouse_compression.weights import weights_to_bytes
from stillhouse_service import attempts, dry_runs, outcomes

ROOT = Path(__file__).parents[2]

COMPILER = "compile:MYRIAD"


def _compiler(server: Any, connect: Any) -> Any:
    """A host without a stick that has its compiler."""
    host = connect(server, "edge-2021")
    host.device["capabilities"] = ["benchmark", COMPILER]
    host.register()
    return host


def _make(server: Any, **changes: Any) -> list[dict[str, Any]]:
    """Play compute: every extreme keeps half of the multiply-accumulates, or what is said here."""
    with server.store.begin() as work:
        (stage,) = work.stages.waiting("compute", work.now, 10)
        assert stage.kind == "dry-run"
        networks = stage.order["networks"]
        attempts.succeed(work, attempts.start(work, stage, "scripted compute", None))
        found = []
        artifacts = {}
        for one in networks:
            about = {"name": one["name"], "config": one["config"]}
            if "reason" not in changes:
                stored = server.artifacts.put(f"network {one['name']}".encode())
                artifacts[one["name"]] = {
                    "sha256": stored.sha256,
                    "n_bytes": stored.n_bytes,
                    "media_type": "application/octet-stream",
                }
            macs = {"macs": 50, "dense_macs": 100, "is_decided": True}
            found.append({**about, **macs, **changes})
        dry_runs.made(work, stage, {"artifacts": artifacts, "details": {"networks": found}})
    return list(networks)


def _said(**changes: Any) -> dict[str, Any]:
    supported = {
        "device": "MYRIAD",
        "runtime": "openvino2021",
        "is_supported": True,
        "failure_class": None,
        "reason": "",
        "layers": [],
        "blob_bytes": 1000,
        "stages": {"conv1": 2},
        "missing_layers": [],
    }
    return {**supported, **changes}


def _answer(host: Any, lease: Any, **odd: Any) -> Any:
    """Let every network of a check compile but those said here."""
    networks = {one["name"]: _said() for one in lease["job"]["networks"]} | odd
    check = {"networks": networks, "runtime_version": "2021.4.2", "duration_s": 6.0}
    return host.tell(lease, "check", check=check)


def test_the_extremes_are_rendered_and_each_network_comes_once(server: Any) -> None:
    server.study(device="MYRIAD")
    networks = _make(server)
    # Two ranges: the sparsity makes networks, the learning rate does not.
    sparsities = [one["config"]["pruners.filters.final_sparsity"] for one in networks]
    assert sparsities == [0.3, 0.1, 0.8]
    made = [one["schedule"]["pruners"]["filters"]["final_sparsity"] for one in networks]
    assert made == sparsities


def test_the_compiler_gets_the_baseline_and_every_extreme(server: Any, connect: Any) -> None:
    study = server.study(device="MYRIAD")
    networks = _make(server)
    host = _compiler(server, connect)
    job = host.lease()["job"]
    assert (job["kind"], job["device"]) == ("check", "MYRIAD")
    names = [one["name"] for one in job["networks"]]
    assert names == ["the baseline", *(one["name"] for one in networks)]
    for one in job["networks"]:
        content = host.http.get(f"/v1/artifacts/{one['file']['sha256']}").content
        assert len(content) == one["file"]["bytes"]
    assert server.get(f"/v1/studies/{study}")["state"] == "checking"


def test_a_host_without_the_compiler_is_not_asked(server: Any, connect: Any) -> None:
    server.study(device="MYRIAD")
    _make(server)
    assert connect(server, kind="CPU").ask().status_code == 204
    assert _compiler(server, connect).ask().status_code == 200


def test_what_compiles_goes_on_to_the_stick(server: Any, connect: Any) -> None:
    study = server.study(device="MYRIAD")
    _make(server)
    compiler = _compiler(server, connect)
    lease = compiler.lease()
    assert _answer(compiler, lease).status_code == 204
    assert _answer(compiler, lease).status_code == 204  # told again: harmless
    stick = connect(server, "edge-stick", kind="MYRIAD")
    job = stick.lease()
    assert job["job"]["candidate"] == job["job"]["baseline"]
    assert stick.measure(job).status_code == 204
    assert server.get(f"/v1/studies/{study}")["state"] == "running"
    events = server.get(f"/v1/studies/{study}/events")["items"]
    assert "4 networks compile for MYRIAD, to blobs of 1000 to 1000 bytes" in [
        event["reason"] for event in events
    ]


def test_an_unsupported_layer_rejects_the_study_by_name(server: Any, connect: Any) -> None:
    study = server.study(device="MYRIAD")
    networks = _make(server)
    compiler = _compiler(server, connect)
    refused = _said(
        is_supported=False,
        failure_class="unsupported",
        reason="unsupported layer type",
        layers=["layer1.0.act"],
        blob_bytes=None,
        stages=None,
    )
    answer = _answer(compiler, compiler.lease(), **{networks[2]["name"]: refused})
    assert answer.status_code == 204
    found = server.get(f"/v1/studies/{study}")
    assert found["state"] == "rejected"
    assert "layer1.0.act: unsupported layer type" in found["reason"]
    assert "final_sparsity=0.8" in found["reason"]


@pytest.mark.parametrize(
    ("made", "objective", "state"),
    [
        ({"macs": 100}, "latency_ratio", "rejected"),
        ({"macs": 100}, "model_bytes", "checking"),  # zeros may well make the file smaller
        ({"macs": 100, "is_decided": False}, "latency_ratio", "checking"),
        ({"reason": "no layer of that name"}, "latency_ratio", "rejected"),
    ],
)
def test_a_template_that_cannot_help_is_refused_before_any_training(
    server: Any, made: dict[str, Any], objective: str, state: str
) -> None:
    study = server.study(device="MYRIAD", objectives=[objective])
    _make(server, **made)
    found = server.get(f"/v1/studies/{study}")
    assert found["state"] == state
    wanted = {"macs": "multiply-accumulates", "reason": "no layer of that name"}
    assert state == "checking" or wanted[next(iter(made))] in found["reason"]


def test_a_compiler_that_cannot_be_asked_is_tried_again(serve: Any, connect: Any) -> None:
    server = serve(max_attempts=2)
    study = server.study(device="MYRIAD")
    _make(server)
    compiler = _compiler(server, connect)
    compiler.fail(compiler.lease(), "device-fault")
    assert server.get(f"/v1/studies/{study}")["state"] == "checking"
    compiler.fail(compiler.lease(), "device-fault")
    found = server.get(f"/v1/studies/{study}")
    assert found["state"] == "failed" and "given up after 2 attempts" in found["reason"]


def test_a_study_waiting_for_the_compiler_says_so(server: Any, connect: Any) -> None:
    study = server.study(device="MYRIAD")
    _make(server)
    wanted = "no live worker offers compile:MYRIAD, and none ever has"
    _until(lambda: wanted in str(server.get(f"/v1/studies/{study}")["reason"]))
    _compiler(server, connect)
    _until(lambda: server.get(f"/v1/studies/{study}")["reason"] is None)


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow  # real compute, and four real compilations of six seconds
@pytest.mark.timeout(600)
def test_the_real_compiler_lets_a_real_template_pass(serve: Any, tmp_path: Path) -> None:
    found = sorted(ROOT.glob("build/openvino2021-*/bin/python"))
    if not found:
        pytest.skip("NO DRY RUN BY THE REAL COMPILER: tests/benchmark makes its environment")
    planner = serve()
    baseline = planner.baseline()
    network = models.build("resnet20_cifar", 10).eval()
    files = {
        "weights": weights_to_bytes(network),
        "onnx": export_onnx(network, (3, 32, 32)),
    }
    stored = {name: planner.artifacts.put(content) for name, content in files.items()}
    with planner.store.begin() as work:
        row = work.baselines.named(baseline)
        row.artifacts = row.artifacts | outcomes.register(
            work, {name: asdict(one) for name, one in stored.items()}
        )
    study = planner.study(device="MYRIAD", baseline=baseline)
    server = serve(compute="embedded")
    command = [str(found[-1]), "-m", "stillhouse_benchmark", "--server", server.url]
    command += ["--device", "CPU", "--cache-dir", str(tmp_path / "cache")]
    command += ["--lock-dir", str(tmp_path / "locks")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmark")}
    worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        wanted = "4 networks compile for MYRIAD, to blobs of"
        deadline = time.monotonic() + 500.0
        while not any(
            wanted in str(event["reason"])
            for event in server.get(f"/v1/studies/{study}/events")["items"]
        ):
            found_now = server.get(f"/v1/studies/{study}")
            assert found_now["state"] == "checking", found_now["reason"]
            assert time.monotonic() < deadline, found_now["reason"]
            time.sleep(1.0)
    finally:
        worker.terminate()
        worker.wait(timeout=30)
