"""What the fate of a stage means for its baseline, study or trial.

Depends on: the store. Called inside the transaction that decides the stage's fate, so that a
stage's end and what follows from it are one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_optimizer.feasibility import is_feasible
from stillhouse_service import (
    contradictions,
    fidelity,
    incumbents,
    known_latency,
    measurements,
    survival,
)
from stillhouse_service.failures import Failure, policy_of
from stillhouse_service.ids import new_id
from stillhouse_service.objectives import constraints_of
from stillhouse_service.states import BaselineState, StageState, StudyState, TrialState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import (
    ArtifactRow,
    AttemptRow,
    BaselineRow,
    MeasurementRow,
    StageRow,
    StudyRow,
    TrialRow,
)

SERVER = "server"


def new_stage(
    work: UnitOfWork,
    kind: str,
    *,
    order: Mapping[str, Any],
    baseline: BaselineRow | None = None,
    study: StudyRow | None = None,
    trial: TrialRow | None = None,
    device: str | None = None,
    is_outside: bool = False,
) -> StageRow:
    """Add a stage that waits to be handed out.

    It is on a device when `device` names one, else on compute, or for whoever asks.
    """
    study_id = study.id if study else trial.study_id if trial else None
    stage = StageRow(
        id=new_id("job"),
        kind=kind,
        lane="outside" if is_outside else "compute" if device is None else "device",
        state=StageState.WAITING,
        baseline_id=baseline.id if baseline else None,
        study_id=study_id,
        trial_id=trial.id if trial else None,
        device=device,
        order=dict(order),
        n_spent=0,
        priority=work.studies.named(study_id).priority if study_id else 0,
        failure=None,
        available_at=work.now,
        created_at=work.now,
        finished_at=None,
    )
    work.stages.add(stage)
    work.created(stage, who=SERVER, reason=kind)
    return stage


def check_baseline(work: UnitOfWork, study: StudyRow) -> StageRow:
    """Have the study's device measure the baseline against itself."""
    order = {"split": "validation", "settings": study.spec["timing"]}
    return new_stage(work, "check", order=order, study=study, device=study.spec["device"])


def begun(work: UnitOfWork, stage: StageRow, who: str) -> None:
    """A stage has been handed out."""
    match stage.kind:
        case "train":
            baseline = work.baselines.named(_known(stage.baseline_id))
            baseline.started_at = baseline.started_at or work.now
            work.move(baseline, BaselineState.TRAINING, who=who)
        case "compress" | "benchmark":
            trial = work.trials.named(_known(stage.trial_id))
            trial.started_at = trial.started_at or work.now
            is_compressing = stage.kind == "compress"
            after = TrialState.COMPRESSING if is_compressing else TrialState.BENCHMARKING
            trial.progress = {"stage": after.value}
            work.move(trial, after, who=who)
        case "sketch" | "probe":
            # Nothing of the trial itself is done yet: it goes on waiting.
            trial = work.trials.named(_known(stage.trial_id))
            trial.started_at = trial.started_at or work.now
            trial.progress = {"stage": "probing"}
        case "asked":
            trial = work.trials.named(_known(stage.trial_id))
            trial.started_at = trial.started_at or work.now
            work.move(trial, TrialState.ASKED, who=who)


def taken_back(work: UnitOfWork, stage: StageRow, reason: str) -> None:
    """A stage waits again."""
    match stage.kind:
        case "train":
            baseline = work.baselines.named(_known(stage.baseline_id))
            work.move(baseline, BaselineState.QUEUED, who=SERVER, reason=reason)
        case "compress" | "benchmark":
            trial = work.trials.named(_known(stage.trial_id))
            is_compressing = stage.kind == "compress"
            after = TrialState.QUEUED if is_compressing else TrialState.COMPRESSED
            work.move(trial, after, who=SERVER, reason=reason)
        case "asked":
            trial = work.trials.named(_known(stage.trial_id))
            work.move(trial, TrialState.QUEUED, who=SERVER, reason=reason)


def failed(work: UnitOfWork, stage: StageRow, failure: Failure) -> None:
    """A stage has been given up."""
    policy = policy_of(stage.lane, failure.failure_class)
    match stage.kind:
        case "train":
            baseline = work.baselines.named(_known(stage.baseline_id))
            baseline.error = failure.reason
            work.move(baseline, BaselineState.FAILED, who=SERVER, reason=failure.reason)
        case "compress" | "benchmark" | "asked":
            trial = work.trials.named(_known(stage.trial_id))
            trial.failure = failure.to_json()
            work.move(trial, policy.trial_state, who=SERVER, reason=failure.reason)
        case "sketch" | "probe":
            _unprobed(work, stage, failure, policy.trial_state)
        case "check":
            study = work.studies.named(_known(stage.study_id))
            study.reason = f"the baseline on {stage.device}: {failure.reason}"
            after = StudyState.REJECTED if policy.is_study_rejected else StudyState.FAILED
            work.move(study, after, who=SERVER, reason=study.reason)
        case "dry-run" | "compile":
            study = work.studies.named(_known(stage.study_id))
            study.reason = f"dry run: {failure.reason}"
            after = StudyState.REJECTED if policy.is_study_rejected else StudyState.FAILED
            work.move(study, after, who=SERVER, reason=study.reason)
        case incumbents.CONFIRM:
            study = work.studies.named(_known(stage.study_id))
            trial = work.trials.named(_known(stage.trial_id))
            reason = f"trial {trial.number} could not be measured again: {failure.reason}"
            work.note(study, SERVER, kind="incumbent", reason=reason)
        case "final":
            study = work.studies.named(_known(stage.study_id))
            study.reason = f"the measurement on the test split failed: {failure.reason}"
            work.move(study, StudyState.FINISHED, who=SERVER, reason=study.reason)


def _unprobed(work: UnitOfWork, stage: StageRow, failure: Failure, after: TrialState) -> None:
    """A probe failed: what the device cannot run is not trained, all else is."""
    trial = work.trials.named(_known(stage.trial_id))
    if after == TrialState.UNSUPPORTED:
        trial.failure = failure.to_json()
        trial.progress = {}
        work.move(trial, after, who=SERVER, reason=failure.reason)
        return
    reason = f"not probed, and trained: {failure.reason}"
    work.note(trial, SERVER, kind="probe", reason=reason)
    new_stage(work, "compress", order=stage.order.get("training_order", stage.order), trial=trial)


def trained(work: UnitOfWork, stage: StageRow, outcome: Mapping[str, Any]) -> None:
    """A baseline has been trained."""
    baseline = work.baselines.named(_known(stage.baseline_id))
    baseline.artifacts = register(work, outcome["artifacts"])
    baseline.metrics = dict(outcome["metrics"])
    baseline.details = dict(outcome["details"])
    baseline.progress = {}
    work.move(baseline, BaselineState.COMPLETE, who=SERVER)


def compressed(work: UnitOfWork, stage: StageRow, outcome: Mapping[str, Any]) -> None:
    """A trial's network is there: it is offered to the device."""
    trial = work.trials.named(_known(stage.trial_id))
    study = work.studies.named(trial.study_id)
    trial.artifacts = register(work, outcome["artifacts"])
    trial.metrics = dict(outcome["metrics"])
    trial.details = {**trial.details, **outcome["details"]}
    trial.built = outcome.get("built")
    trial.progress = {"stage": TrialState.COMPRESSED.value}
    work.move(trial, TrialState.COMPRESSED, who=SERVER)
    settings = dict(study.spec.get("timing", {}))
    if settings.get("max_output_error") is None:
        settings["max_output_error"] = survival.of_device(study.baseline_measurement)
    order = {"split": "validation", "settings": settings}
    new_stage(work, "benchmark", order=order, trial=trial, device=study.spec["device"])


def measured(
    work: UnitOfWork, stage: StageRow, attempt: AttemptRow, result: Mapping[str, Any]
) -> None:
    """A device has measured: a row is added, and what follows from it is decided."""
    study = work.studies.named(_known(stage.study_id))
    if stage.kind == "benchmark" and _is_another(work, study, _known(stage.trial_id), result):
        return  # a wrong network gets no number
    result = known_latency.marked(work, stage, result)
    device_metrics = measurements.metrics_of(result)
    work.log.add(
        MeasurementRow(
            stage_id=stage.id,
            attempt_id=attempt.id,
            study_id=study.id,
            trial_id=stage.trial_id,
            device_id=attempt.holder,
            purpose="trial" if stage.kind == "benchmark" else stage.kind,
            split=stage.order["split"],
            at=work.now,
            metrics=device_metrics,
            result=dict(result),
        )
    )
    match stage.kind:
        case "check":
            _checked(work, study, result)
        case "benchmark":
            _benchmarked(work, study, _known(stage.trial_id), device_metrics, result)
        case incumbents.CONFIRM:
            _confirmed(work, study, _known(stage.trial_id), device_metrics)
        case "final":
            _finalised(work, study, stage, result, device_metrics)


def _checked(work: UnitOfWork, study: StudyRow, result: Mapping[str, Any]) -> None:
    """The device runs the baseline: the study begins, unless no trial could ever be feasible."""
    baseline = work.baselines.of(study)
    found = measurements.of_baseline(result)
    for ours, theirs in (("params", "params"), ("macs", "macs"), ("model_bytes", "onnx_bytes")):
        if theirs in baseline.metrics:
            found[ours] = baseline.metrics[theirs]
    stages = result.get("survival", ())
    loss = survival.first_loss(stages, {})
    if loss is not None:
        study.reason = f"the baseline on {study.spec['device']}: stage {loss.stage}: {loss.reason}"
        work.move(study, StudyState.REJECTED, who=SERVER, reason=study.reason)
        return
    found |= survival.tolerances(stages)
    study.baseline_measurement = found
    top1 = found["validation_top1"]
    for constraint in constraints_of(study.spec, found):
        is_lower = constraint.metric == "top1" and not constraint.is_upper
        if is_lower and not constraint.is_met(top1):
            study.reason = (
                f"constraint `{constraint}`: the baseline itself reaches a top1 of only "
                f"{top1:.4f} on the device"
            )
            work.move(study, StudyState.REJECTED, who=SERVER, reason=study.reason)
            return
    study.reason = None
    study.started_at = work.now
    work.move(study, StudyState.RUNNING, who=SERVER)


def _benchmarked(
    work: UnitOfWork,
    study: StudyRow,
    trial_id: str,
    device_metrics: Mapping[str, float],
    result: Mapping[str, Any],
) -> None:
    """A trial is complete: judge it, and compare it with the incumbent."""
    trial = work.trials.named(trial_id)
    trial.metrics = {**(trial.metrics or {}), **device_metrics}
    if (low := fidelity.low_end(study.spec, trial.rung)) is not None:
        trial.progress = low
        work.move(trial, TrialState.STOPPED, who=SERVER, reason=low["reason"])
        return
    incumbents.judge(study, trial)
    trial.progress = {}
    work.move(trial, TrialState.COMPLETE, who=SERVER, reason=known_latency.told(result))
    contradictions.look(work, trial)
    incumbents.compare(work, study, trial, SERVER)


def _confirmed(
    work: UnitOfWork, study: StudyRow, trial_id: str, device_metrics: Mapping[str, float]
) -> None:
    """The incumbent was measured again: its luckier figures give way to the new ones."""
    trial = work.trials.named(trial_id)
    objective = study.spec["objectives"][0]
    before: dict[str, Any] = trial.metrics or {}
    n = int(before.get(incumbents.N_MEASUREMENTS, 1)) + 1
    trial.metrics = {**before, **device_metrics, incumbents.N_MEASUREMENTS: n}
    incumbents.judge(study, trial)
    known_latency.share(work, study, trial, before)
    contradictions.look(work, trial)
    reason = (
        f"trial {trial.number} measured again: {objective} {trial.metrics[objective]:g} "
        f"after {before[objective]:g}"
    )
    work.note(study, SERVER, kind="incumbent", before=trial.id, after=trial.id, reason=reason)


def told(work: UnitOfWork, stage: StageRow, metrics: Mapping[str, float], who: str) -> None:
    """Somebody has run a trial: judge it, and compare it with the incumbent."""
    trial = work.trials.named(_known(stage.trial_id))
    study = work.studies.named(trial.study_id)
    trial.metrics = dict(metrics)
    incumbents.judge(study, trial)
    trial.progress = {}
    work.move(trial, TrialState.COMPLETE, who=who)
    incumbents.compare(work, study, trial, who)


def _is_another(
    work: UnitOfWork, study: StudyRow, trial_id: str, result: Mapping[str, Any]
) -> bool:
    """Fail a trial whose network on the device is not the one that was compressed."""
    trial = work.trials.detailed(trial_id)
    stages = [*trial.details.get("survival", ()), *result.get("survival", ())]
    stages = list({stage["name"]: stage for stage in stages}.values())  # measured again: anew
    trial.details = {**trial.details, "survival": stages}
    loss = survival.first_loss(stages, study.baseline_measurement or {})
    if loss is None:
        return False
    reason = f"stage {loss.stage}: {loss.reason}"
    layers = () if loss.layer is None else (loss.layer,)
    trial.failure = Failure("survival", "mismatch", reason, layers).to_json()
    trial.progress = {}
    work.move(trial, TrialState.FAILED, who=SERVER, reason=reason)
    return True


def _finalised(
    work: UnitOfWork,
    study: StudyRow,
    stage: StageRow,
    result: Mapping[str, Any],
    device_metrics: Mapping[str, float],
) -> None:
    """The incumbent has been measured on the test split, which has the last word."""
    trial = work.trials.named(_known(stage.trial_id))
    metrics = {**(trial.metrics or {}), **device_metrics}
    holds, violations = is_feasible(metrics, constraints_of(study.spec, study.baseline_measurement))
    baseline = measurements.of_baseline(result)
    study.final = {
        "split": "test",
        "trial_id": trial.id,
        "number": trial.number,
        **device_metrics,
        "is_feasible": holds,
        "violations": violations,
        "n_images": result["accuracy"]["candidate"]["n_images"],
        "baseline_top1": baseline["validation_top1"],
        "baseline_top5": baseline["validation_top5"],
        "baseline_p50_ms": baseline["p50_ms"],
        "baseline_p95_ms": baseline["p95_ms"],
    }
    study.reason = stage.order.get("reason")
    if not holds:
        broken = ", ".join(violations)
        study.reason = f"trial {trial.number} breaks the limit of {broken} on the test split"
    work.move(study, StudyState.FINISHED, who=SERVER, reason=study.reason)


def register(work: UnitOfWork, stored: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write down the artifacts a task has stored; give name -> hash."""
    rows = [
        ArtifactRow(
            sha256=artifact["sha256"],
            n_bytes=artifact["n_bytes"],
            media_type=artifact["media_type"],
            created_at=work.now,
        )
        for artifact in stored.values()
    ]
    work.log.add_artifacts(rows)
    return {name: artifact["sha256"] for name, artifact in stored.items()}


def _known(row_id: str | None) -> str:
    """A stage of this kind always names its subject."""
    assert row_id is not None
    return row_id
