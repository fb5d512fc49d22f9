"""A device job as the host gets it, put together from rows.

Depends on: stillhouse_benchmark.protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_benchmark.protocol import CheckJob, File, Job, JobSettings, Probe
from stillhouse_service import dry_runs, known_latency, probes
from stillhouse_service.errors import ArtifactCorrupt
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import ArtifactRow, DeviceRow, StageRow


def job_of(
    work: UnitOfWork,
    stage: StageRow,
    device: DeviceRow,
    known: Mapping[str, ArtifactRow] | None = None,
) -> Job | CheckJob:
    """Name every file and setting that `device` needs for `stage`.

    Args:
        work: The transaction.
        stage: What is to be done.
        device: Who does it.
        known: Artifacts by hash, where they have been read already.

    Raises:
        ArtifactCorrupt: A file that the job names is not registered.
    """
    if stage.kind == "compile":
        return dry_runs.job_of(work, stage)

    assert stage.study_id is not None  # every device job belongs to a study
    study = work.studies.named(stage.study_id)
    baseline = work.baselines.of(study).artifacts
    candidate = work.trials.named(stage.trial_id).artifacts if stage.trial_id else baseline
    if stage.kind == probes.PROBE:
        candidate = probes.files_of(candidate)
    wanted = {*baseline.values(), *candidate.values()}
    files = work.log.artifacts(wanted) if known is None else known

    def file(artifacts: Mapping[str, Any], name: str) -> File:
        artifact = files.get(artifacts.get(name, ""))
        if artifact is None:
            raise ArtifactCorrupt(f"job {stage.id}: no {name!r} among its artifacts")
        return File(artifact.sha256, artifact.n_bytes)

    split = stage.order["split"]
    precision = (device.info.get("precisions") or ["f32"])[0]
    source = known_latency.source_of(work, stage, device, precision)
    job = Job(
        id=stage.id,
        kind="benchmark",
        device=device.name,
        precision=precision,
        candidate=file(candidate, "onnx"),
        baseline=file(baseline, "onnx"),
        probe=Probe(
            inputs=file(baseline, "probe_inputs"),
            candidate_outputs=file(candidate, "probe_outputs"),
            baseline_outputs=file(baseline, "probe_outputs"),
        ),
        # A trial of a low rung is judged on images of its own, the baseline beside it.
        data=file(candidate if f"data_{split}" in candidate else baseline, f"data_{split}"),
        split=split,
        settings=JobSettings.from_json(
            {name: value for name, value in stage.order["settings"].items() if value is not None}
        ),
        timing=None if source is None else known_latency.timing_of(source),
        is_judged=stage.kind != probes.PROBE,
    )
    # Written down with the handing-out: the answer is held against it.
    stage.order = {
        **stage.order,
        known_latency.PRECISION: precision,
        known_latency.FROM: None if source is None else source.id,
    }
    return job
