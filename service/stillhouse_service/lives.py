"""What users do with baselines and studies: create, cancel, pause, resume.

Depends on: the store. Each is one transaction; creating a study checks it first, outside of any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stillhouse_service import attempts, catalog, dry_runs, outcomes, transfers, warm_start
from stillhouse_service.checks import check_study
from stillhouse_service.errors import Conflict, IllegalTransition, Problem, SpecRejected
from stillhouse_service.ids import new_id
from stillhouse_service.once import Once
from stillhouse_service.outside_checks import check_outside
from stillhouse_service.schemas import BaselineIn, StudyChanges, StudySpec
from stillhouse_service.states import BaselineState, StudyState, TrialState, is_final
from stillhouse_service.store import USER, Store, UnitOfWork
from stillhouse_service.tables import BaselineRow, StudyRow


def create_baseline(work: UnitOfWork, wanted: BaselineIn) -> BaselineRow:
    """Queue the training of a baseline.

    Raises:
        SpecRejected: It cannot be trained, with every reason.
    """
    catalog.check_baseline(wanted.model, wanted.dataset, wanted.recipe)
    row = BaselineRow(
        id=new_id("bsl"),
        model=wanted.model,
        dataset=wanted.dataset,
        recipe=wanted.recipe,
        seed=wanted.seed,
        state=BaselineState.QUEUED,
        progress={},
        metrics={},
        error=None,
        artifacts={},
        details={},
        created_at=work.now,
        started_at=None,
        finished_at=None,
    )
    work.baselines.add(row)
    work.created(row, work.user)
    order = {
        "model": row.model,
        "dataset": row.dataset,
        "recipe": row.recipe,
        "seed": row.seed,
        "resources": wanted.resources,
    }
    outcomes.new_stage(work, "train", order=order, baseline=row)
    return row


def create_study(
    store: Store,
    spec: StudySpec,
    computes_here: bool = True,
    user: str = USER,
    once: Once | None = None,
) -> str:
    """Check a study and start it with the check of its baseline on its device.

    Args:
        store: Where it will stand.
        spec: The study as sent.
        computes_here: Whether trials are compressed by this installation.
        user: Who asked for it, for the log.
        once: The request's key; none: it came without.

    Returns:
        The study's id.

    Raises:
        SpecRejected: It cannot work, with every reason.
    """
    search = check_spec(store, spec, computes_here)
    with store.begin(user) as work:
        return (once or Once()).do(work, lambda: begin_study(work, spec, search).id)


def check_spec(store: Store, spec: StudySpec, computes_here: bool = True) -> dict[str, Any]:
    """Check a study without starting it.

    Returns:
        Its search space as JSON: `parameters`, `forbidden`.

    Raises:
        SpecRejected: It cannot work, with every reason.
    """
    with store.read() as view:
        baseline = None if spec.baseline is None else view.baselines.find(spec.baseline)
        known = view.devices.kinds() | {device.id for device, _ in view.devices.all_with_hosts()}
    if spec.runner == "outside":
        search = check_outside(spec)
    else:
        search = check_study(spec, baseline, known, computes_here)
    with store.read() as view:
        warm_start.check(view, spec.warm_start or (), search)
        transfers.check(view, spec, search)
    return search


def begin_study(
    work: UnitOfWork,
    spec: StudySpec,
    search: Mapping[str, Any],
    experiment_id: str | None = None,
) -> StudyRow:
    """Add a checked study, and its dry run or the job that checks its baseline on its device.

    One whose trials are run outside has nothing to be checked, and begins at once.
    """
    row = StudyRow(
        id=new_id("std"),
        name=spec.name,
        state=StudyState.CHECKING,
        reason=None,
        baseline_id=spec.baseline,
        spec=spec.model_dump(),
        problem=dict(search),
        baseline_measurement=None,
        incumbent_id=None,
        final=None,
        failures_from=0,
        priority=0,
        experiment_id=experiment_id,
        created_at=work.now,
        started_at=None,
        finished_at=None,
    )
    work.studies.add(row)
    work.created(row, work.user)
    for earlier in spec.warm_start or ():
        warm_start.bring(work, row, earlier)
    if spec.device is None:
        row.started_at = work.now
        work.move(row, StudyState.RUNNING, work.user)
    elif experiment_id is None and dry_runs.is_wanted(work, spec.device):
        # It tries a template's extremes, and an experiment has none.
        dry_runs.begin(work, row)
    else:
        outcomes.check_baseline(work, row)
    return row


def changed(study: StudyRow, changes: StudyChanges) -> StudySpec:
    """Give a study's spec with some members replaced.

    Raises:
        Conflict: Its trials are an experiment's.
        SpecRejected: What comes out is no spec.
    """
    if study.experiment_id is not None:
        raise Conflict(
            f"study {study.id} runs the cases of experiment {study.experiment_id}; start another "
            "experiment instead"
        )
    spec = {**study.spec, "name": f"{study.name} again"[:200], **changes.to_spec()}
    try:
        return StudySpec.model_validate(spec)
    except ValidationError as error:
        raise SpecRejected(
            [Problem(".".join(map(str, e["loc"])), str(e["msg"])) for e in error.errors()]
        ) from error


def set_priority(work: UnitOfWork, study_id: str, priority: int) -> StudyRow:
    """Let a study's work go before that of studies with a lower priority.

    Raises:
        NotFound: No such study.
        IllegalTransition: It has ended.
    """
    study = work.studies.named(study_id)
    if is_final(study.state):
        raise IllegalTransition(f"study {study_id} is {study.state}; it has no more work")
    if study.priority != priority:
        work.note(
            study,
            work.user,
            kind="priority",
            before=str(study.priority),
            after=str(priority),
        )
        study.priority = priority
        for stage in work.stages.open_of_study(study_id):
            stage.priority = priority
    return study


def cancel_study(work: UnitOfWork, study_id: str) -> StudyRow:
    """End a study and everything of it that is under way; cancelling again changes nothing.

    Raises:
        NotFound: No such study.
        IllegalTransition: It has ended in another way.
    """
    study = work.studies.named(study_id)
    if study.state == StudyState.CANCELLED:
        return study
    reason = "the study was cancelled"
    study.reason = None
    work.move(study, StudyState.CANCELLED, work.user)
    for stage in work.stages.open_of_study(study_id):
        attempts.cancel(work, stage, work.user, reason)
    for trial in work.trials.open_of(study_id):
        work.move(trial, TrialState.CANCELLED, work.user, reason)
    return study


def pause_study(work: UnitOfWork, study_id: str) -> StudyRow:
    """Propose no more trials; those on their way go on. Pausing again changes nothing.

    Raises:
        NotFound: No such study.
        IllegalTransition: It is not running.
    """
    study = work.studies.named(study_id)
    if study.state != StudyState.PAUSED:
        study.reason = "paused by its user"
        work.move(study, StudyState.PAUSED, work.user, study.reason)
    return study


def resume_study(work: UnitOfWork, study_id: str) -> StudyRow:
    """Go on with a paused study; failures before now no longer count against it.

    Raises:
        NotFound: No such study.
        IllegalTransition: It is not paused.
    """
    study = work.studies.named(study_id)
    if study.state not in (StudyState.PAUSED, StudyState.RUNNING):
        raise IllegalTransition(f"study {study_id} is {study.state}; only a paused one resumes")
    if study.state == StudyState.PAUSED:
        study.reason = None
        study.failures_from = work.trials.n_of(study_id)
        work.move(study, StudyState.RUNNING, work.user)
    return study
