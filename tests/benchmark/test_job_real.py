"""A job in this process on the real OpenVINO CPU."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import pytest

from stillhouse_benchmark.backends import load_backend
from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.job import Bench, run_job
from stillhouse_benchmark.layers import coverage, layer_times
from stillhouse_benchmark.onnxfile import read_onnx
from stillhouse_benchmark.protocol import Job, KnownTiming, Result

MakeJob = Callable[..., Dict[str, Any]]


class Shelf:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: dict[str, Path] = {}

    def put(self, data: bytes) -> dict[str, Any]:
        sha = hashlib.sha256(data).hexdigest()
        path = self.folder / sha
        path.write_bytes(data)
        self.paths[sha] = path
        return {"sha256": sha, "bytes": len(data)}


def run(
    tmp_path: Path, make_job: MakeJob, stages: list[str] | None = None, **changes: Any
) -> Result:
    shelf = Shelf(tmp_path)
    job = make_job(shelf, **changes)
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    for old in work.iterdir():
        old.unlink()
    bench = Bench(load_backend("openvino"), shelf.paths, work, tmp_path / "ranks", tmp_path)
    told = [] if stages is None else stages
    return run_job(Job.from_json(job), bench, lambda stage, fraction: told.append(stage))


def test_a_slimmer_network_is_measured_as_faster(tmp_path: Path, make_job: MakeJob) -> None:
    # 48 -> 8 filters: 9 M -> 0.36 M multiplications. Even a busy machine shows that.
    result = run(tmp_path, make_job, settings={"n_compilations": 3})
    assert result.latency_ratio < 0.8
    assert result.latency_ratio_low <= result.latency_ratio <= result.latency_ratio_high
    assert result.candidate.p25_ms <= result.candidate.p50_ms <= result.candidate.p99_ms
    assert result.host.runtime == "openvino"


def test_the_result_tells_what_is_left_in_every_form(
    tmp_path: Path, make_job: MakeJob, slim_net: Any
) -> None:
    weights = slim_net.weights
    weights["conv2.weight"][3:5] = 0.0  # two of eight filters
    weights["conv2.weight"][0, 0] = 1e-9  # half precision knows no such number
    try:
        stages = {stage.name: stage for stage in run(tmp_path, make_job).survival}
    finally:
        slim_net.__post_init__()
    assert list(stages) == ["ir f32", "ir f16", "device"]
    for name, n_nonzero in (("ir f32", 6 * 8 * 9), ("ir f16", 6 * 8 * 9 - 9)):
        rows = {row.layer: row for row in stages[name].layers}
        assert set(rows) == {"conv1", "conv2", "fc"}
        assert rows["conv2"].shape == (8, 8, 3, 3)
        assert rows["conv2"].n_nonzero == n_nonzero
        assert rows["conv2"].filter_sparsity == pytest.approx(2 / 8)
    assert stages["ir f32"].agreement is not None and stages["ir f16"].agreement is not None
    assert stages["ir f32"].agreement.max_rel < 1e-5
    # Weights of 11 significant bits: off by more than f32, by less than a hundredth.
    assert 1e-6 < stages["ir f16"].agreement.max_rel < 1e-2
    assert stages["device"].layers == ()


def test_counts_are_numpys_counts(
    tmp_path: Path, make_job: MakeJob, digits: Any, wide_net: Any, slim_net: Any
) -> None:
    result = run(tmp_path, make_job)
    images = digits.normalised()
    ours = slim_net.answer(images).argmax(axis=1) == digits.labels
    theirs = wide_net.answer(images).argmax(axis=1) == digits.labels
    best = np.argsort(-wide_net.answer(images), axis=1)[:, :5]
    accuracy = result.accuracy
    assert accuracy is not None
    assert accuracy.candidate.top1_correct == ours.sum()
    assert accuracy.baseline.top1_correct == theirs.sum()
    assert accuracy.baseline.top5_correct == (best == digits.labels[:, None]).any(axis=1).sum()
    assert accuracy.n_disagree_candidate_only == (ours & ~theirs).sum()
    assert accuracy.n_disagree_baseline_only == (theirs & ~ours).sum()


def test_classes_are_counted_one_by_one(
    tmp_path: Path, make_job: MakeJob, digits: Any, slim_net: Any
) -> None:
    accuracy = run(tmp_path, make_job).accuracy
    assert accuracy is not None
    counts = accuracy.candidate
    right = slim_net.answer(digits.normalised()).argmax(axis=1) == digits.labels
    for label in range(10):
        is_of_class = digits.labels == label
        assert counts.class_images[label] == is_of_class.sum()
        assert counts.class_correct[label] == (right & is_of_class).sum()


def test_every_single_time_is_there_to_judge_anew(tmp_path: Path, make_job: MakeJob) -> None:
    result = run(tmp_path, make_job)
    times = np.load(io.BytesIO(base64.b64decode(result.raw_times)))
    wall = times["candidate_wall_ms"]
    told = wall[np.isfinite(wall)]
    assert len(told) == result.candidate.n_runs
    assert np.sort(told)[int(np.ceil(0.5 * len(told))) - 1] == pytest.approx(
        result.candidate.p50_ms, rel=1e-5
    )
    both = [times[f"{name}_wall_ms"] for name in ("baseline", "baseline_again")]
    assert sum(np.isfinite(one).sum() for one in both) == result.baseline.n_runs


def test_outputs_unlike_torchs_are_a_mismatch(
    tmp_path: Path, make_job: MakeJob, digits: Any, slim_net: Any
) -> None:
    wrong = slim_net.answer(digits.normalised()[:4])
    wrong[2, 3] += 0.05 * np.abs(wrong).max()
    with pytest.raises(JobFailed, match="candidate's outputs differ") as caught:
        run(tmp_path, make_job, candidate_outputs=wrong)
    assert caught.value.failure_class == "mismatch"


def test_layers_carry_torch_names_and_the_rest_is_the_runtime(
    tmp_path: Path, make_job: MakeJob
) -> None:
    rows = run(tmp_path, make_job).layers
    names = [row.layer for row in rows]
    assert names[-1] == "(runtime)"
    assert {"conv1", "conv2", "fc"} <= set(names)
    assert all(row.type == "Convolution" for row in rows if row.layer.startswith("conv"))
    heaviest = max(rows[:-1], key=lambda row: row.baseline_ms)
    assert heaviest.layer == "conv2"  # 48x48 filters against 3x48


def test_an_open_batch_dimension_is_unsupported(
    tmp_path: Path, make_job: MakeJob, slim_net: Any
) -> None:
    with pytest.raises(JobFailed, match="open shape") as caught:
        run(tmp_path, make_job, candidate=slim_net.onnx(batch="n"))
    assert caught.value.failure_class == "unsupported"


def test_a_file_cut_short_is_a_bad_artifact(
    tmp_path: Path, make_job: MakeJob, slim_net: Any
) -> None:
    with pytest.raises(JobFailed, match="not a whole ONNX file") as caught:
        run(tmp_path, make_job, candidate=slim_net.onnx()[:-100])
    assert caught.value.failure_class == "bad-artifact"


def test_a_manifest_of_another_split_is_refused(
    tmp_path: Path, make_job: MakeJob, digits: Any
) -> None:
    shelf = Shelf(tmp_path)
    with pytest.raises(JobFailed, match="split 'validation'"):
        run(tmp_path, make_job, manifest=digits.manifest(shelf, split="test"))


def test_the_layers_alone_cover_nine_tenths_of_a_real_networks_time(tmp_path: Path) -> None:
    export = pytest.importorskip("stillhouse_compression.export")
    from stillhouse_compression.models import build

    path = tmp_path / "net.onnx"
    path.write_bytes(export.export_onnx(build("resnet20_cifar").eval(), (3, 32, 32)))
    image = np.zeros((1, 3, 32, 32), dtype=np.float32)
    profile = load_backend("openvino").profile(path, "CPU", "f32", 1, image, 20)
    assert coverage(profile) >= 0.9
    rows = {row.layer for row in layer_times(profile, profile)}
    wanted = {node.name for node in read_onnx(path).nodes if node.op_type in ("Conv", "Gemm")}
    assert len(wanted) == 22
    assert wanted <= rows
    assert profile.wall_ms > 0.0


def test_times_that_are_known_are_given_back_and_only_accuracy_is_counted(
    tmp_path: Path, make_job: MakeJob
) -> None:
    timed = run(tmp_path, make_job, settings={"n_compilations": 1, "max_aa_deviation": 10.0})
    known = KnownTiming.of(timed)
    told: list[str] = []
    result = run(tmp_path, make_job, stages=told, timing=known.to_json())
    assert KnownTiming.of(result) == known
    assert result.accuracy == timed.accuracy
    assert result.agreement.keys() == {"candidate", "baseline"}  # outputs are verified as ever
    assert result.raw_times == ""
    assert "timing" not in told and "accuracy" in told


def test_a_probe_is_timed_and_not_judged(tmp_path: Path, make_job: MakeJob) -> None:
    told: list[str] = []
    settings = {"n_compilations": 1, "max_aa_deviation": 10.0}
    result = run(tmp_path, make_job, stages=told, is_judged=False, settings=settings)
    assert result.accuracy is None
    assert result.candidate.n_runs > 0
    assert "timing" in told and "accuracy" not in told
    assert Result.from_json(result.to_json()) == result
