"""The messages: strict reading, exact round trips, errors that name the field."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse_benchmark import protocol
from stillhouse_benchmark.errors import ProtocolError

FILE = {"sha256": "ab" * 32, "bytes": 5}
JOB = {
    "id": "job_1",
    "kind": "benchmark",
    "device": "CPU",
    "precision": "f32",
    "candidate": FILE,
    "baseline": FILE,
    "probe": {"inputs": FILE, "candidate_outputs": FILE, "baseline_outputs": FILE},
    "data": FILE,
    "split": "validation",
    "settings": {"target_interval": 0.03, "time_limit_s": 60.0, "n_compilations": 5},
}
LEASE = {"id": "lse_1", "token": "t", "expires_in_s": 30.0, "job": JOB}
TIMING = {
    **{f"p{percent}_ms": 1.0 for percent in (25, 50, 90, 95, 99)},
    **{"mean_ms": 1.0, "sd_ms": 0.0, "cpu_p50_ms": 0.9, "n_runs": 300, "throughput_per_s": 1e3},
}
COUNTS = {
    **{"n_images": 300, "top1_correct": 297, "top5_correct": 300},
    **{"class_images": [100, 200], "class_correct": [99, 198]},
}
STAGE = {
    "name": "ir f16",
    "made_by": "x",
    "layers": [
        {
            **{"layer": "fc", "shape": [10, 64], "n_weights": 640, "n_nonzero": 160},
            **{"sparsity": 0.75, "filter_sparsity": 0.0},
        }
    ],
    "agreement": {"max_abs": 1e-3, "max_rel": 1e-4, "top1_agreement": 1.0},
    "n_stages": {"fc": 2},
    "missing_layers": ["conv1"],
    "blob_bytes": 5,
}
RESULT = {
    "candidate": TIMING,
    "baseline": TIMING,
    "latency_ratio": 0.71,
    "latency_ratio_low": 0.70,
    "latency_ratio_high": 0.73,
    "is_distinguishable": True,
    "aa_ratio": 1.004,
    "is_gate_passed": True,
    "n_attempts": 1,
    "accuracy": {
        "candidate": COUNTS,
        "baseline": COUNTS,
        "n_disagree_candidate_only": 3,
        "n_disagree_baseline_only": 1,
    },
    "agreement": {"candidate": {"max_abs": 1e-5, "max_rel": 1e-4, "top1_agreement": 1.0}},
    "layers": [{"layer": "fc", "type": "MatMul", "candidate_ms": 0.1, "baseline_ms": 0.2}],
    "host": {
        "cpu_model": "x",
        "n_cpus": 2,
        "load_1m": None,
        "runtime": "openvino",
        "runtime_version": "1",
        "temperature_c": 51.5,
        "n_threads": 1,
        "temperature_start_c": 44.0,
    },
    "duration_s": 2.9,
    "flags": ["drift"],
    "survival": [STAGE],
    "raw_times": "UEs=",
}
MANIFEST = {
    "dataset": "digits",
    "split": "validation",
    "split_hash": "x",
    "n_images": 3,
    "n_classes": 10,
    "shape": [3, 32, 32],
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "shards": [{**FILE, "n_images": 2}, {**FILE, "n_images": 1}],
    "labels": FILE,
}
DEVICE = {
    "name": "CPU",
    "kind": "CPU",
    "full_name": "x",
    "runtime": "openvino",
    "runtime_version": "1",
    "precisions": ["f32"],
    "max_opset": 21,
    "host": "edge",
    "capabilities": ["benchmark"],
}
FAILURE = {"class": "unsupported", "stage": "compile", "reason": "x", "layers": ["fc"]}
CHECK = {
    "networks": {
        "default": {
            **{"device": "MYRIAD", "runtime": "openvino2021", "is_supported": False},
            **{"failure_class": "unsupported", "reason": "x", "layers": ["fc"]},
            **{"blob_bytes": None, "stages": None, "missing_layers": []},
        }
    },
    "runtime_version": "2021.4.2",
    "duration_s": 6.0,
}
CHECK_JOB = {
    **{"id": "job_2", "kind": "check", "device": "MYRIAD", "job_limit_s": 60.0},
    "networks": [{"name": "default", "file": FILE}],
}
MESSAGES = [
    (protocol.Lease, LEASE),
    (protocol.Lease, {**LEASE, "job": CHECK_JOB}),
    (protocol.CheckJob, CHECK_JOB),
    (protocol.CheckResult, CHECK),
    (protocol.Result, RESULT),
    (protocol.DataManifest, MANIFEST),
    (protocol.Device, DEVICE),
    (protocol.Failure, FAILURE),
]


@pytest.mark.parametrize(("kind", "document"), MESSAGES)
def test_a_message_survives_the_wire(kind: Any, document: Any) -> None:
    message = kind.from_json(document)
    sent = json.loads(json.dumps(message.to_json(), allow_nan=False))
    assert kind.from_json(sent) == message
    assert all(sent[key] == value for key, value in document.items() if key != "job")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda job: job.pop("candidate"), "job.candidate"),
        (lambda job: job["candidate"].update(sha256="XY"), "job.candidate.sha256"),
        (lambda job: job["candidate"].update(bytes=-1), "job.candidate.bytes"),
        (lambda job: job["candidate"].update(bytes=True), "job.candidate.bytes"),
        (lambda job: job.update(kind="dance"), "job.kind"),
        (lambda job: job.update(split="train"), "job.split"),
        (lambda job: job["probe"].pop("inputs"), "job.probe.inputs"),
        (lambda job: job["settings"].update(time_limit=3), "job.settings.time_limit"),
        (lambda job: job["settings"].update(time_limit_s=0), "job.settings.time_limit_s"),
        (lambda job: job["settings"].update(time_limit_s="1"), "job.settings.time_limit_s"),
        (lambda job: job["settings"].update(n_compilations=0), "job.settings.n_compilations"),
        (
            lambda job: job["settings"].update(target_interval=float("nan")),
            "job.settings.target_interval",
        ),
    ],
)
def test_a_broken_job_names_its_field(change: Any, field: str) -> None:
    job = copy.deepcopy(JOB)
    change(job)
    with pytest.raises(ProtocolError) as caught:
        protocol.Job.from_json(job)
    assert caught.value.field == field
    assert str(caught.value).startswith(field)


def test_settings_that_are_left_out_have_their_defaults() -> None:
    job = {key: value for key, value in JOB.items() if key != "settings"}
    assert protocol.Job.from_json(job).settings == protocol.JobSettings()


def test_a_field_of_a_newer_server_is_ignored() -> None:
    assert protocol.Lease.from_json({**LEASE, "mood": "good"}) == protocol.Lease.from_json(LEASE)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ProtocolError, match="top5_correct"):
        protocol.Counts.from_json({**COUNTS, "top1_correct": 301})


def test_a_manifest_whose_shards_hold_other_counts_is_refused() -> None:
    with pytest.raises(ProtocolError, match="hold 3 images, n_images says 4"):
        protocol.DataManifest.from_json({**MANIFEST, "n_images": 4})


def test_a_zero_deviation_is_refused() -> None:
    with pytest.raises(ProtocolError, match="std"):
        protocol.DataManifest.from_json({**MANIFEST, "std": [0.5, 0.0, 0.5]})


def test_every_failure_class_is_told_as_class() -> None:
    for name in protocol.FAILURE_CLASSES:
        assert protocol.Failure(name, "stage", "reason").to_json()["class"] == name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize(("kind", "document"), MESSAGES)
def test_any_value_anywhere_is_read_or_refused_by_name(
    kind: Any, document: Any, data: st.DataObject
) -> None:
    changed = copy.deepcopy(document)
    at = changed
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(at[key], (dict, list)) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = data.draw(JSON)
        break
    try:
        message = kind.from_json(changed)
    except ProtocolError as error:
        assert error.field
    else:
        assert kind.from_json(message.to_json()) == message
