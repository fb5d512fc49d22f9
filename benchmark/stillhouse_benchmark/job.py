"""One job from files on disk to a result: verify, judge, time, profile.

Depends on: numpy. The runtime comes in as a ``Backend``; this runs in the inference child.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping

import numpy as np

from stillhouse_benchmark.accuracy import Images, RankCache, compare, open_images, rank_labels
from stillhouse_benchmark.backends import Backend, Network
from stillhouse_benchmark.cooling import cool_down
from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.hostinfo import host_state
from stillhouse_benchmark.interval import AGAIN, BASELINE, CANDIDATE
from stillhouse_benchmark.layers import Profile, layer_times
from stillhouse_benchmark.lock import quiet_host
from stillhouse_benchmark.preflight import check_outline, preflight
from stillhouse_benchmark.protocol import (
    Accuracy,
    Agreement,
    Job,
    KnownTiming,
    Result,
    Stage,
)
from stillhouse_benchmark.rawtimes import pack_times
from stillhouse_benchmark.survey import device_stage, survey
from stillhouse_benchmark.timing import Clocks, Infer, Measurement, measure
from stillhouse_benchmark.verify import verify

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

PROFILE_S = 0.2
MIN_PROFILE_RUNS, MAX_PROFILE_RUNS = 5, 50
Report = Callable[[str, float], None]  # stage, fraction done


@dataclass(frozen=True)
class Bench:
    """Where a job runs.

    Attributes:
        backend: The runtime.
        files: Content hash -> path.
        work_folder: For names of our own; a runtime tells ONNX by its file's ending.
        rank_folder: Keeps the baselines' accuracy.
        lock_folder: Of the host lock.
        clocks: Injected for tests.
    """

    backend: Backend
    files: Mapping[str, Path]
    work_folder: Path
    rank_folder: Path
    lock_folder: Path
    clocks: Clocks = field(default_factory=Clocks)

    def path(self, sha256: str) -> Path:
        """A file of the job."""
        if sha256 not in self.files:
            raise JobFailed("internal", "files", f"file {sha256} was not fetched")
        return self.files[sha256]


def run_job(job: Job, bench: Bench, report: Report) -> Result:
    """Do a job.

    Args:
        job: What to do.
        bench: Where.
        report: Told the stage and the fraction of it that is done.

    Raises:
        JobFailed: with the class and the stage.
    """
    started_s = bench.clocks.wall()
    report("check", 0.0)
    paths = {name: _named(bench, name, sha) for name, sha in _models(job)}
    for path in paths.values():
        check_outline(path)
    probe = _Probe.load(job, bench)
    images = open_images(bench.path(job.data.sha256), bench.path, job.split)

    report("compile", 0.0)
    networks = {
        name: bench.backend.compile(path, job.device, job.precision, job.settings.n_threads)
        for name, path in paths.items()
    }
    for name, network in networks.items():
        _check_shape(name, network, probe.inputs, images)
    report("verify", 0.0)
    agreement = {
        name: verify(
            name,
            _runner(network),
            probe.inputs,
            probe.outputs[name],
            job.precision,
            job.settings.max_output_error,
        )
        for name, network in networks.items()
    }
    survival = _survey(job, bench, paths[CANDIDATE], probe, agreement[CANDIDATE])
    accuracy = _judge(job, bench, networks, images, report) if job.is_judged else None
    networks.clear()  # timing compiles its own; two sets at once would double the memory
    del network
    if job.timing is not None:
        return _result(job, bench, job.timing, accuracy, agreement, survival, "", started_s)

    report("timing", 0.0)
    start_c, is_hot = cool_down(lambda: bench.backend.temperature_c(job.device), bench.clocks.sleep)
    measurement = _time(job, bench, paths, probe.inputs[:1], report)
    report("layers", 0.0)
    profiles = _profile(job, bench, paths, probe.inputs[:1], measurement)
    times = _timing(measurement, profiles)
    raw_times = pack_times(measurement.rounds)
    result = _result(job, bench, times, accuracy, agreement, survival, raw_times, started_s)
    host = replace(result.host, temperature_start_c=start_c)
    flags = (*result.flags, "hot") if is_hot else result.flags
    return replace(result, host=host, flags=flags)


@dataclass(frozen=True)
class _Probe:
    inputs: Array  # (n, channels, height, width)
    outputs: Mapping[str, Array]  # each (n, classes)

    @classmethod
    def load(cls, job: Job, bench: Bench) -> _Probe:
        """Read the probe's three files."""
        files = (job.probe.inputs, job.probe.candidate_outputs, job.probe.baseline_outputs)
        arrays = []
        for file in files:
            try:
                array = np.load(str(bench.path(file.sha256)), allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise JobFailed("bad-artifact", "probe", f"no .npy file: {error}") from error
            if array.dtype != np.float32 or not len(array):
                raise JobFailed(
                    "bad-artifact", "probe", f"float32 was wanted, got {array.dtype} {array.shape}"
                )
            arrays.append(array)
        return cls(arrays[0], {CANDIDATE: arrays[1], BASELINE: arrays[2]})


def _models(job: Job) -> tuple[tuple[str, str], ...]:
    return (CANDIDATE, job.candidate.sha256), (BASELINE, job.baseline.sha256)


def _named(bench: Bench, name: str, sha256: str) -> Path:
    link = bench.work_folder / f"{name}.onnx"
    os.symlink(str(bench.path(sha256).resolve()), str(link))
    return link


def _check_shape(name: str, network: Network, inputs: Array, images: Images) -> None:
    wanted = (1, *images.manifest.shape)
    if network.input_shape != wanted or inputs.shape[1:] != wanted[1:]:
        raise JobFailed(
            "bad-artifact",
            "compile",
            f"the {name} takes {network.input_shape}, the probe has {inputs.shape}, the images "
            f"are {wanted}: they must be the same with one image at a time",
        )


def _runner(network: Network) -> Callable[[Array], Array]:
    def run(image: Array) -> Array:
        network.write(image)
        network.infer()
        return network.read()

    return run


def _survey(
    job: Job, bench: Bench, path: Path, probe: _Probe, found: Agreement
) -> tuple[Stage, ...]:
    """The candidate in the runtime's own forms, and on the device."""
    forms = survey(
        bench.backend, path, job.device, probe.inputs, probe.outputs[CANDIDATE], bench.work_folder
    )
    backend = bench.backend
    compiled = None
    if job.device.startswith("MYRIAD") and backend.name == "openvino2021":
        compiled = preflight(backend, path, job.device)
    made_by = f"{backend.name} {backend.version} on {job.device} in {job.precision}"
    return (*forms, device_stage(made_by, found, compiled))


def _judge(
    job: Job, bench: Bench, networks: Mapping[str, Network], images: Images, report: Report
) -> Accuracy:
    """Accuracy of both over the split; the baseline's is kept on disk."""
    cache = RankCache(
        bench.rank_folder,
        (
            job.baseline.sha256,
            job.data.sha256,
            job.device,
            job.precision,
            bench.backend.name,
            bench.backend.version,
        ),
    )
    baseline = cache.get(images.manifest.n_images)
    share = 1.0 if baseline is not None else 0.5
    if baseline is None:
        run = _runner(networks[BASELINE])
        baseline = rank_labels(run, images, lambda done: report("accuracy", done * share))
        cache.put(baseline)
    candidate = baseline
    if job.candidate.sha256 != job.baseline.sha256:
        run = _runner(networks[CANDIDATE])
        done_before = 1.0 - share
        candidate = rank_labels(
            run, images, lambda done: report("accuracy", done_before + done * share)
        )
    return compare(candidate, baseline, images)


def _time(
    job: Job, bench: Bench, paths: Mapping[str, Path], image: Array, report: Report
) -> Measurement:
    sources = {CANDIDATE: CANDIDATE, BASELINE: BASELINE, AGAIN: BASELINE}

    def compile_networks() -> Mapping[str, Infer]:
        infers: dict[str, Infer] = {}
        for name, source in sources.items():
            network = bench.backend.compile(
                paths[source], job.device, job.precision, job.settings.n_threads
            )
            network.write(image)
            infers[name] = network.infer
        return infers

    return measure(
        compile_networks,
        job.settings,
        bench.clocks,
        quiet=lambda: quiet_host(bench.lock_folder),
        progress=lambda fraction: report("timing", fraction),
        is_recompiled=bench.backend.is_compilation_random(job.device)
        and job.settings.n_compilations > 1,
    )


def _profile(
    job: Job, bench: Bench, paths: Mapping[str, Path], image: Array, measurement: Measurement
) -> Mapping[str, Profile]:
    """Node times of both; a pass of its own, since profiling slows the inference."""
    p50_s = measurement.baseline.p50_ms / 1000.0
    n_runs = max(MIN_PROFILE_RUNS, min(MAX_PROFILE_RUNS, int(PROFILE_S / p50_s)))
    with quiet_host(bench.lock_folder):
        return {
            name: bench.backend.profile(
                path, job.device, job.precision, job.settings.n_threads, image, n_runs
            )
            for name, path in paths.items()
        }


def _timing(measurement: Measurement, profiles: Mapping[str, Profile]) -> KnownTiming:
    """What was just measured, in the shape of what was measured before."""
    estimate = measurement.estimate
    return KnownTiming(
        candidate=measurement.candidate,
        baseline=measurement.baseline,
        latency_ratio=estimate.ratio,
        latency_ratio_low=estimate.low,
        latency_ratio_high=estimate.high,
        is_distinguishable=not estimate.low <= 1.0 <= estimate.high,
        aa_ratio=estimate.aa_ratio,
        n_attempts=measurement.n_attempts,
        layers=layer_times(profiles[CANDIDATE], profiles[BASELINE]),
        flags=measurement.flags,
    )


def _result(
    job: Job,
    bench: Bench,
    times: KnownTiming,
    accuracy: Accuracy | None,
    agreement: Mapping[str, Agreement],
    survival: tuple[Stage, ...],
    raw_times: str,
    started_s: float,
) -> Result:
    backend = bench.backend
    return Result(
        candidate=times.candidate,
        baseline=times.baseline,
        latency_ratio=times.latency_ratio,
        latency_ratio_low=times.latency_ratio_low,
        latency_ratio_high=times.latency_ratio_high,
        is_distinguishable=times.is_distinguishable,
        aa_ratio=times.aa_ratio,
        is_gate_passed=True,
        n_attempts=times.n_attempts,
        accuracy=accuracy,
        agreement=dict(agreement),
        layers=times.layers,
        host=host_state(
            backend.name,
            backend.version,
            backend.temperature_c(job.device),
            job.settings.n_threads,
        ),
        duration_s=bench.clocks.wall() - started_s,
        flags=times.flags,
        survival=survival,
        raw_times=raw_times,
    )
