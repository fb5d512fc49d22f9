"""The same worker on OpenVINO 2021.4.2 under Python 3.9 or 3.8, installed for real.

Skipped, and said so, where no such Python is to be had or the packages cannot be fetched; a failure
there in CI, which sets STILLHOUSE_REQUIRE.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path
from typing import Any, Callable, NoReturn

import numpy as np
import pytest
from onnx import helper

from stillhouse_benchmark.protocol import CheckResult, Result
from stillhouse_benchmark.supervise import InferenceChild

ROOT = Path(__file__).resolve().parents[2]
MakeJob = Callable[..., Any]
pytestmark = pytest.mark.timeout(600)  # the first run installs the environment


def old_python() -> str | None:
    """A Python 3.9 or 3.8 that starts."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    found = [str(path) for root in roots for path in sorted(root.glob("3.[98].*/bin/python3"))]
    found = found[::-1] + [path for path in map(shutil.which, ("python3.9", "python3.8")) if path]
    for path in found:
        code = "import sys; sys.exit(sys.version_info[:2] not in ((3, 8), (3, 9)))"
        if subprocess.run([path, "-c", code], capture_output=True, check=False).returncode == 0:
            return path
    return None


@pytest.fixture(scope="session")
def old_runtime() -> str:
    """The interpreter of an environment with `pip install "./benchmark[openvino2021]"`."""
    return environment("openvino2021")


@pytest.fixture(scope="session")
def model_optimizer_runtime() -> str:
    """The same with the stick's own Model Optimizer, extra `mo`."""
    return environment("openvino2021,mo")


def environment(extras: str) -> str:
    """Install the worker with extras, once for each state of its pyproject."""
    python = old_python()
    if python is None:
        not_tested("no Python 3.9 or 3.8 on this machine")
    stamp = hashlib.sha256((ROOT / "benchmark" / "pyproject.toml").read_bytes()).hexdigest()[:12]
    folder = ROOT / "build" / f"{extras.replace(',', '-')}-{stamp}"
    interpreter = folder / "bin" / "python"
    folder.parent.mkdir(exist_ok=True)
    with open(folder.parent / f"{folder.name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        return _installed(python, folder, interpreter, extras)


def _installed(python: str, folder: Path, interpreter: Path, extras: str) -> str:
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True, capture_output=True)
        # Editable, so that the tests see the code as it is.
        wanted = f"{ROOT / 'benchmark'}[{extras}]"
        command = [str(interpreter), "-m", "pip", "install", "-q", "-e", wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            not_tested(f"pip: {done.stderr.strip()[-300:]}")
        (folder / "installed").touch()
    return str(interpreter)


def not_tested(why: str) -> NoReturn:
    """Skip loudly; fail where STILLHOUSE_REQUIRE names `py39`, as CI does."""
    message = f"RUNTIME openvino2021 NOT TESTED: {why}"
    if "py39" in os.environ.get("STILLHOUSE_REQUIRE", "").split(","):
        pytest.fail(message)
    pytest.skip(message)


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(interpreter: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [interpreter, "-m", "stillhouse_benchmark", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=clean_environment(),
    )


def test_the_old_runtime_does_a_job_with_numpys_counts_and_torchs_layer_names(
    server: Any,
    worker: Any,
    make_job: MakeJob,
    old_runtime: str,
    digits: Any,
    wide_net: Any,
    slim_net: Any,
) -> None:
    worker.command = [old_runtime, "-m", "stillhouse_benchmark"]
    server.add(make_job(server.shelf))
    worker.start(server.url, "--once")
    result = Result.from_json(server.wait("result"))
    images = digits.normalised()
    assert result.accuracy is not None
    for counts, net in (
        (result.accuracy.candidate, slim_net),
        (result.accuracy.baseline, wide_net),
    ):
        right = net.answer(images).argmax(axis=1) == digits.labels
        assert counts.top1_correct == right.sum()
    assert result.agreement["candidate"].max_rel < 1e-5
    assert (result.host.runtime, result.host.runtime_version) == ("openvino2021", "2021.4.2")
    rows = {row.layer: row for row in result.layers}
    assert {"conv1", "conv2", "fc", "(runtime)"} <= set(rows)
    assert max(result.layers[:-1], key=lambda row: row.baseline_ms).layer == "conv2"
    assert worker.process.wait(timeout=30) == 0


def test_one_file_is_a_whole_worker(
    server: Any, worker: Any, make_job: MakeJob, old_runtime: str, tmp_path: Path
) -> None:
    folder = tmp_path / "source"
    shutil.copytree(ROOT / "benchmark" / "stillhouse_benchmark", folder / "stillhouse_benchmark")
    target = tmp_path / "worker.pyz"
    zipapp.create_archive(folder, target, main="stillhouse_benchmark.worker:main")
    server.add(make_job(server.shelf))
    worker.command = [old_runtime, str(target)]
    worker.start(server.url, "--once")
    assert Result.from_json(server.wait("result")).host.runtime == "openvino2021"
    assert worker.process.wait(timeout=30) == 0


def test_the_sticks_compiler_runs_without_a_stick_and_knows_every_layer(
    old_runtime: str, tmp_path: Path, wide_net: Any
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(wide_net.onnx())
    found = json.loads(run(old_runtime, "check", str(path), "--device", "MYRIAD").stdout)
    assert found["is_supported"] is True
    assert found["missing_layers"] == []
    # FP16: two bytes a weight, 48 * (3 + 48) * 9 + 480 of them; the blob holds at least those.
    assert found["blob_bytes"] > 2 * (48 * 51 * 9 + 480)
    assert {"conv1", "conv2", "fc"} <= set(found["stages"])


def test_the_sticks_compiler_names_the_layer_it_cannot_do(
    old_runtime: str, tmp_path: Path, slim_net: Any, model: Any
) -> None:
    weights = {name: slim_net.weights[name] for name in ("conv1.weight", "conv1.bias")}
    nodes = [
        helper.make_node(
            "Conv", ["input", *weights], ["conv1"], name="conv1", kernel_shape=[3, 3], pads=[1] * 4
        ),
        helper.make_node("Selu", ["conv1"], ["features.3"], name="features.3"),
        helper.make_node("GlobalAveragePool", ["features.3"], ["pool"], name="pool"),
    ]
    path = tmp_path / "net.onnx"
    path.write_bytes(model(nodes, weights, [1, 3, 16, 16], "pool", [1, 8, 1, 1]))
    answer = run(old_runtime, "check", str(path), "--device", "MYRIAD")
    found = json.loads(answer.stdout)
    assert answer.returncode == 2
    assert found["layers"] == ["features.3"]
    assert "unsupported layer type" in found["reason"]


def test_a_check_job_asks_the_sticks_compiler_over_the_network(
    server: Any, worker: Any, old_runtime: str, slim_net: Any, model: Any
) -> None:
    nodes = [helper.make_node("Selu", ["input"], ["features.3"], name="features.3")]
    selu = model(nodes, {}, [1, 3, 16, 16], "features.3", [1, 3, 16, 16])
    networks = [
        {"name": name, "file": server.shelf.put(content)}
        for name, content in (("good", slim_net.onnx()), ("bad", selu))
    ]
    server.add({"id": "job_1", "kind": "check", "device": "MYRIAD", "networks": networks})
    worker.command = [old_runtime, "-m", "stillhouse_benchmark"]
    worker.start(server.url, "--once")
    said = CheckResult.from_json(server.wait("check"))
    assert server.workers["wrk_1"]["devices"][0]["capabilities"] == [
        "benchmark",
        "compile:CPU",
        "compile:MYRIAD",
    ]
    assert said.runtime_version == "2021.4.2"
    good, bad = said.networks["good"], said.networks["bad"]
    assert good.is_supported and good.missing_layers == ()
    assert good.blob_bytes is not None and good.stages is not None
    assert (bad.failure_class, bad.layers) == ("unsupported", ("features.3",))
    assert worker.process.wait(timeout=30) == 0


@pytest.mark.slow  # a dry run and a compilation of each: half a minute
@pytest.mark.parametrize("name", ["resnet20_cifar", "vgg16_bn_cifar", "mobilenet_v2_cifar"])
def test_networks_compressed_by_our_schedules_pass_the_sticks_compiler(
    old_runtime: str, tmp_path: Path, name: str
) -> None:
    compress = pytest.importorskip("stillhouse_compression.compress")
    from stillhouse_compression.dry_run import dry_run
    from stillhouse_compression.models import build
    from stillhouse_compression.template import parse_template
    from stillhouse_compression.template.writer import write_template, write_training
    from stillhouse_compression.weights import weights_to_bytes

    template = parse_template(write_template(name), write_training())
    network = build(name, 10)
    rendered = template.render(template.extremes()[2], network)  # all high: the narrowest
    weights = weights_to_bytes(network)
    made = dry_run(
        compress.CompressionTask(name, "digits", weights, rendered.schedule, rendered.training)
    )
    assert made.macs < 0.5 * made.dense_macs
    path = tmp_path / "net.onnx"
    path.write_bytes(made.onnx)
    found = json.loads(run(old_runtime, "check", str(path), "--device", "MYRIAD").stdout)
    assert found["is_supported"] is True, found["reason"]
    assert found["missing_layers"] == []


@pytest.mark.slow  # torch's import and a whole ResNet-20
def test_named_layers_cover_nine_tenths_of_what_the_old_runtime_executes(
    old_runtime: str, tmp_path: Path
) -> None:
    export = pytest.importorskip("stillhouse_compression.export")
    from stillhouse_compression.models import build

    path = tmp_path / "net.onnx"
    path.write_bytes(export.export_onnx(build("resnet20_cifar").eval(), (3, 32, 32)))
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from stillhouse_benchmark.backends import load_backend\n"
        "from stillhouse_benchmark.layers import coverage\n"
        "image = np.zeros((1, 3, 32, 32), dtype=np.float32)\n"
        "backend = load_backend('openvino2021')\n"
        "profile = backend.profile(Path(sys.argv[1]), 'CPU', 'f32', 1, image, 20)\n"
        "print(coverage(profile), len({node.name for node in profile.nodes}))\n"
    )
    done = subprocess.run(
        [old_runtime, "-c", code, str(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environment(),
    )
    share, n_nodes = done.stdout.split()
    assert float(share) >= 0.9
    assert int(n_nodes) >= 20  # 19 convolutions and a linear layer at least


@pytest.mark.slow  # installs the Model Optimizer: a minute
def test_the_model_optimizers_network_agrees_with_the_one_loaded_directly(
    model_optimizer_runtime: str, tmp_path: Path, wide_net: Any, digits: Any
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(wide_net.onnx())
    images = digits.normalised()[:4]
    np.save(tmp_path / "inputs.npy", images)
    np.save(tmp_path / "outputs.npy", wide_net.answer(images))
    child = InferenceChild("openvino2021", python=model_optimizer_runtime)
    try:
        given = (tmp_path / "inputs.npy", tmp_path / "outputs.npy")
        stages = child.survey(path, "MYRIAD", given, tmp_path, 300.0)
    finally:
        child.kill()
    stage = {stage["name"]: stage for stage in stages}["mo f16"]
    assert stage["made_by"] == "openvino-dev 2021.4.2"
    assert stage["agreement"]["top1_agreement"] == 1.0
    rows = {row["layer"]: row for row in stage["layers"]}
    for layer in ("conv1", "conv2", "fc"):
        weight = wide_net.weights[f"{layer}.weight"]
        assert rows[layer]["shape"] == list(weight.shape)
        assert rows[layer]["n_nonzero"] == np.count_nonzero(weight.astype(np.float16))


def test_the_doctor_of_the_old_runtime_looks_for_the_stick(old_runtime: str) -> None:
    answer = run(old_runtime, "doctor")
    assert "openvino2021 2021.4.2" in answer.stdout
    assert "libusb" in answer.stdout and "udev rule" in answer.stdout
    assert "compiles for MYRIAD as well" in answer.stdout


def test_both_runtimes_answer_alike(
    old_runtime: str, tmp_path: Path, wide_net: Any, digits: Any
) -> None:
    path, images = tmp_path / "net.onnx", tmp_path / "images.npy"
    path.write_bytes(wide_net.onnx())
    np.save(images, digits.normalised())
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from stillhouse_benchmark.backends import load_backend\n"
        "net = load_backend('auto').compile(Path(sys.argv[1]), 'CPU', 'f32', 1)\n"
        "out = []\n"
        "for image in np.load(sys.argv[2]):\n"
        "    net.write(image[None]); net.infer(); out.append(net.read())\n"
        "np.save(sys.argv[3], np.stack(out))\n"
    )
    answers = []
    for name, python in (("old", old_runtime), ("new", sys.executable)):
        target = tmp_path / f"{name}.npy"
        command = [python, "-c", code, str(path), str(images), str(target)]
        subprocess.run(command, check=True, timeout=120, env=clean_environment())
        answers.append(np.load(target))
    assert np.allclose(answers[0], answers[1], atol=1e-5)
    assert (answers[0].argmax(axis=1) == answers[1].argmax(axis=1)).all()


@pytest.mark.slow  # two acceptance runs, each with a timing
def test_the_acceptance_run_reports_every_claim_whether_it_holds_or_not(
    old_runtime: str, tmp_path: Path, wide_net: Any
) -> None:
    path, cpu, stick = tmp_path / "net.onnx", tmp_path / "cpu.json", tmp_path / "stick.json"
    path.write_bytes(wide_net.onnx())
    run(old_runtime, "accept-ncs2", "--device", "CPU", "--onnx", str(path), "--json", str(cpu))
    claims = {item["claim"]: item for item in json.loads(cpu.read_text())["claims"]}
    held = [claim for claim, item in claims.items() if item["is_met"]]
    assert "it computes the self-test's answers" in held
    assert "its outputs agree with the CPU's within the precision" in held
    assert "its counters name the network's layers" in held
    assert claims["it tells its temperature"]["found"] == "none"  # a CPU has none here
    answer = run(old_runtime, "accept-ncs2", "--json", str(stick))
    told = json.loads(stick.read_text())["claims"]
    if "no device 'MYRIAD'" in told[0]["found"]:  # no stick on the testing machine
        assert answer.returncode == 2
        assert not any(item["is_met"] for item in told)
