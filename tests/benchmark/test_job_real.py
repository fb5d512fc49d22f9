"""A job in this process on the real OpenVINO CPU."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import pytest

from stillhouse_benchmark.backends import load_backend
from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.job import Bench, run_job
from stillhouse_benchmark.protocol import Job, Result

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


def run(tmp_path: Path, make_job: MakeJob, **changes: Any) -> Result:
    shelf = Shelf(tmp_path)
    job = make_job(shelf, **changes)
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    for old in work.iterdir():
        old.unlink()
    bench = Bench(load_backend("openvino"), shelf.paths, work, tmp_path / "ranks", tmp_path)
    return run_job(Job.from_json(job), bench, lambda stage, fraction: None)


def test_a_slimmer_network_is_measured_as_faster(tmp_path: Path, make_job: MakeJob) -> None:
    # 48 -> 8 filters: 9 M -> 0.36 M multiplications. Even a busy machine shows that.
    result = run(tmp_path, make_job, settings={"n_compilations": 3})
    assert result.latency_ratio < 0.8
    assert result.latency_ratio_low <= result.latency_ratio <= result.latency_ratio_high
    assert result.candidate.p25_ms <= result.candidate.p50_ms <= result.candidate.p99_ms
    assert result.host.runtime == "openvino"


def test_counts_are_numpys_counts(
    tmp_path: Path, make_job: MakeJob, digits: Any, wide_net: Any, slim_net: Any
) -> None:
    result = run(tmp_path, make_job)
    images = digits.normalised()
    ours = slim_net.answer(images).argmax(axis=1) == digits.labels
    theirs = wide_net.answer(images).argmax(axis=1) == digits.labels
    best = np.argsort(-wide_net.answer(images), axis=1)[:, :5]
    accuracy = result.accuracy
    assert accuracy.candidate.top1_correct == ours.sum()
    assert accuracy.baseline.top1_correct == theirs.sum()
    assert accuracy.baseline.top5_correct == (best == digits.labels[:, None]).any(axis=1).sum()
    assert accuracy.n_disagree_candidate_only == (ours & ~theirs).sum()
    assert accuracy.n_disagree_baseline_only == (theirs & ~ours).sum()


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
