"""What users do with experiments: plan, create, cancel; how they stand.

Depends on: the store, layouts. An experiment is laid out first, outside of any transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from stillhouse_compression.training import Recipe, TrainingSettings
from stillhouse_service import lives, views
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.ids import new_id
from stillhouse_service.once import Once
from stillhouse_service.schemas import StudySpec
from stillhouse_service.schemas import experiments as shapes
from stillhouse_service.schemas.experiments import ExperimentIn
from stillhouse_service.states import StudyState, is_final
from stillhouse_service.store import USER, Store, UnitOfWork
from stillhouse_service.tables import BaselineRow, ExperimentRow, StudyRow

if TYPE_CHECKING:
    from stillhouse_service.layouts import Layout

_N_JOBS = 20  # device jobs that an estimate looks back on
_OVERHEAD_S = 3.0  # of a trial: network built, exported, its graph checked
_JOB_S = 6.0  # of a device job, beside the timing itself: transfer, compilation, accuracy
_TIMING_S = 10.0  # the device host's own choice


def create(
    store: Store,
    artifacts: ArtifactStore,
    wanted: ExperimentIn,
    user: str = USER,
    once: Once | None = None,
) -> str:
    """Lay an experiment out and start its studies.

    Returns:
        Its id.

    Raises:
        SpecRejected: It cannot work, with every reason.
    """
    from stillhouse_service.layouts import lay_out  # on use: it loads torch

    with store.read() as view:
        layout = lay_out(view, artifacts, wanted)
    with store.begin(user) as work:
        return (once or Once()).do(work, lambda: begin(work, wanted, layout).id)


def begin(
    work: UnitOfWork,
    wanted: ExperimentIn,
    layout: Layout,
    stage: str | None = None,
    subject_id: str | None = None,
) -> ExperimentRow:
    """Add an experiment that is laid out, and a study for each baseline and device.

    Args:
        work: The transaction.
        wanted: As sent.
        layout: What it consists of.
        stage: Instead of the wanted one.
        subject_id: What it follows from; none: the wanted sweep.
    """
    spec = wanted.model_dump() | {
        "baselines": [row.id for row in layout.baselines],
        "devices": list(layout.devices),
    }
    row = ExperimentRow(
        id=new_id("exp"),
        stage=stage or wanted.stage,
        name=wanted.name,
        subject_id=subject_id or wanted.sweep,
        spec=spec,
        cases=dict(layout.cases),
        notes=list(layout.notes),
        created_at=work.now,
    )
    work.experiments.add(row)
    work.audit(row.id, "experiment", after=row.stage, reason=row.name)
    for baseline in layout.baselines:
        cases = layout.cases[baseline.id]
        for device in layout.devices:
            study = StudySpec.model_validate(
                {
                    "name": f"{wanted.name}: {baseline.model} on {device}"[:200],
                    "baseline": baseline.id,
                    "device": device,
                    "template": "version: 1\n",
                    "constraints": wanted.constraints,
                    "budget": {"trials": len(cases)},
                    "parallel": wanted.parallel,
                    "seed": wanted.seed,
                    "timing": wanted.timing.model_dump(),
                }
            )
            names = [case["name"] for case in cases]
            parameter = {
                "name": "case",
                "kind": "choice",
                "choices": names,
                "default": names[0],
                "condition": None,
            }
            search = {"parameters": [parameter], "forbidden": []}
            lives.begin_study(work, study, search, row.id)
    return row


def cancel(work: UnitOfWork, experiment_id: str) -> ExperimentRow:
    """End an experiment's studies that have not ended; finished trials stay.

    Raises:
        NotFound: No such experiment.
    """
    row = work.experiments.named(experiment_id)
    for study in work.experiments.studies_of(row.id):
        if not is_final(study.state):
            lives.cancel_study(work, study.id)
    return row


def resume(work: UnitOfWork, experiment_id: str) -> ExperimentRow:
    """Go on with an experiment's studies that paused themselves, or were paused.

    Raises:
        NotFound: No such experiment.
    """
    row = work.experiments.named(experiment_id)
    for study in work.experiments.studies_of(row.id):
        if study.state == StudyState.PAUSED:
            lives.resume_study(work, study.id)
    return row


def show(view: UnitOfWork, row: ExperimentRow) -> shapes.Experiment:
    """Show an experiment with its studies."""
    studies = view.experiments.studies_of(row.id)
    counts: Counter[str] = Counter()
    shown, left_s = [], []
    for study in studies:
        baseline = view.baselines.of(study)
        of_study = views.study(view, study)
        counts.update(of_study.counts)
        if of_study.eta_s is not None:
            left_s.append(of_study.eta_s)
        shown.append(
            shapes.ExperimentStudy(
                id=study.id,
                baseline=baseline.id,
                model=baseline.model,
                dataset=baseline.dataset,
                device=study.spec["device"],
                state=study.state,
                reason=study.reason,
                counts=of_study.counts,
            )
        )
    return shapes.Experiment.model_validate(
        {
            "id": row.id,
            "stage": row.stage,
            "name": row.name,
            "state": state_of(studies),
            "subject": row.subject_id,
            "spec": row.spec,
            "notes": row.notes,
            "n_trials": sum(int(study.spec["budget"]["trials"]) for study in studies),
            "counts": dict(counts),
            "studies": [one.model_dump() for one in shown],
            "created_at": row.created_at,
            "eta_s": sum(left_s) if left_s else None,
        }
    )


def state_of(studies: Sequence[StudyRow]) -> str:
    """Say where an experiment stands by where its studies do."""
    states = {study.state for study in studies}
    if StudyState.PAUSED in states:
        return "paused"
    if any(not is_final(state) for state in states):
        return "running"
    if states == {StudyState.FINISHED}:
        return "finished"
    return "cancelled" if StudyState.CANCELLED in states else "failed"


def plan(view: UnitOfWork, artifacts: ArtifactStore, wanted: ExperimentIn) -> shapes.Plan:
    """Say what an experiment would do and how long it would take.

    Raises:
        SpecRejected: It cannot work, with every reason.
    """
    from stillhouse_service.layouts import lay_out  # on use: it loads torch

    layout = lay_out(view, artifacts, wanted)
    trials = []
    for baseline in layout.baselines:
        epoch_s = _epoch_s(baseline)
        for device in layout.devices:
            job_s = _job_s(view, device, wanted.timing.time_limit_s)
            for case in layout.cases[baseline.id]:
                estimate_s = _training_s(case["training"], epoch_s) + _OVERHEAD_S + job_s
                trials.append(
                    shapes.PlannedTrial(
                        baseline=baseline.id,
                        device=device,
                        case=case["name"],
                        algorithm=case["algorithm"],
                        domain=case["domain"],
                        layers=case["layers"],
                        level=case["level"],
                        estimate_s=estimate_s,
                    )
                )
    return shapes.Plan(
        n_trials=len(trials),
        estimate_s=sum(trial.estimate_s for trial in trials),
        notes=layout.notes,
        trials=trials,
    )


def _epoch_s(baseline: BaselineRow) -> float:
    """How long an epoch of this network on all of its images took while it was trained."""
    recipe = Recipe.from_mapping(baseline.recipe, "recipe")
    if baseline.started_at is None or baseline.finished_at is None:
        return 0.0
    took_s = (baseline.finished_at - baseline.started_at).total_seconds()
    return took_s / max(1.0, recipe.epochs * recipe.effective_train_size)


def _training_s(training: Mapping[str, Any], epoch_s: float) -> float:
    settings = TrainingSettings.from_mapping(training)
    return settings.total_epochs * settings.effective_train_size * epoch_s


def _job_s(view: UnitOfWork, device: str, time_limit_s: float | None) -> float:
    """How long a job on a device takes: its last ones, or what the settings allow."""
    ids = [
        row.id for row, _ in view.devices.all_with_hosts() if device in (row.id, row.kind, row.name)
    ]
    last = view.experiments.last_on(ids, _N_JOBS) if ids else []
    known = [float(one.result["duration_s"]) for one in last]
    if known and time_limit_s is None:
        return fmean(known)
    return _JOB_S + (time_limit_s or _TIMING_S)
