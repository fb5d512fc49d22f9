"""Trials that come to the same: the same built network, trained in the same way, is run once.

Depends on: the store, stillhouse_optimizer. `propose` avoids twins by itself; what a user enqueues
is looked up here, and the result that is there already is taken for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_optimizer.spec import Proposal
from stillhouse_service import incumbents, warm_start
from stillhouse_service.repositories.trials import FOREIGN, TWIN
from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tables import MeasurementRow, StudyRow, TrialRow

EXHAUSTED = "every network that the space builds was tried: what is left would come to the same"


def are_wanted(study: StudyRow) -> bool:
    """Tell whether a study takes a result that is there for that of a twin."""
    return bool(study.spec.get("reuse", True)) and study.experiment_id is None


def prepare(store: Store, study_id: str) -> None:
    """Work out what a study's networks look like, outside of any transaction: it loads torch."""
    with store.read() as view:
        study = view.studies.find(study_id)
        if study is None or study.baseline_id is None or not are_wanted(study):
            return
        if study.state not in (StudyState.RUNNING, StudyState.PAUSED):
            return
        baseline = view.baselines.of(study)
        of = study.spec["template"], study.spec["training"], baseline.model, baseline.dataset
    from stillhouse_service.built_network import built_network

    built_network(*of)


def find(work: UnitOfWork, study: StudyRow, config: Mapping[str, Any]) -> TrialRow | None:
    """Find a complete trial whose result is that of `config` too; none: it must be run."""
    if not are_wanted(study):
        return None
    known = [
        trial
        for trial in work.trials.told_of(study.id)
        if trial.state == TrialState.COMPLETE and trial.origin != TWIN
    ]
    own = [trial for trial in known if trial.origin != FOREIGN]
    if (found := _first(work, study, own, config)) is not None:
        return found
    foreign = [trial for trial in known if trial.origin == FOREIGN]
    found = _first(work, study, foreign, config)
    return None if found is None else _of_same_device(work, study, found)


def adopt(
    work: UnitOfWork, study: StudyRow, number: int, config: Mapping[str, Any], twin: TrialRow
) -> TrialRow:
    """Add a trial that has the result of its twin; nothing is run and no budget used."""
    of = work.trials.detailed(twin.id)
    row = warm_start.brought(work, study, number, config, of.metrics, TWIN)
    row.twin_of, row.built = of.id, of.built
    row.artifacts, row.details = dict(of.artifacts), {**of.details}
    row.details.pop("from", None)
    row.progress = {"saved_s": round(work.stages.mean_s(study.id, "compress"), 3)}
    incumbents.judge(study, row)
    work.trials.add(row)
    where = "" if of.study_id == study.id else f" of {of.study_id}"
    reason = (
        f"enqueued: it builds the network of trial {of.number}{where} and trains it in the same "
        "way, whose result it has"
    )
    work.created(row, work.user, reason=reason)
    if of.study_id != study.id:
        incumbents.compare(work, study, row, work.user)
    return row


def new_only(
    study_spec: Mapping[str, Any],
    problem: Any,
    own: Sequence[Mapping[str, Any]],
    proposals: Sequence[Proposal],
    cheap_features: Any,
) -> list[Proposal]:
    """Leave out proposals that would come to the same as one of the study's own trials."""
    if not study_spec.get("reuse", True):
        return list(proposals)
    from stillhouse_optimizer.twins import twin_indices

    found = twin_indices(problem, own, [one.config for one in proposals], cheap_features)
    return [one for one, twin in zip(proposals, found, strict=True) if twin is None]


def _first(
    work: UnitOfWork, study: StudyRow, known: Sequence[TrialRow], config: Mapping[str, Any]
) -> TrialRow | None:
    if not known:
        return None
    from stillhouse_optimizer.twins import twin_indices

    cheap_features = None
    if study.baseline_id is not None:
        from stillhouse_service.built_network import built_network

        baseline = work.baselines.of(study)
        cheap_features = built_network(
            study.spec["template"], study.spec["training"], baseline.model, baseline.dataset
        )
    problem = incumbents.problem_of(study)
    (index,) = twin_indices(problem, [one.config for one in known], [config], cheap_features)
    return None if index is None else known[index]


def _of_same_device(work: UnitOfWork, study: StudyRow, foreign: TrialRow) -> TrialRow | None:
    """Give the trial that a foreign one is of, if it was measured as this study measures."""
    source = work.trials.detailed(foreign.id).details.get("from")
    trial = None if source is None else work.trials.find(source)
    if trial is None:
        return None
    theirs = work.studies.named(trial.study_id)
    same = ("template", "training", "timing", "engine")
    if theirs.baseline_id != study.baseline_id or study.baseline_id is None:
        return None
    if any(theirs.spec.get(name) != study.spec.get(name) for name in same):
        return None
    ours = work.log.check_of(study.id)
    measured = [one for one in work.trials.measurements_of(trial.id) if one.split == "validation"]
    if ours is None or not measured or _device(ours) != _device(measured[-1]):
        return None
    return trial


def _device(measurement: MeasurementRow) -> tuple[str, Any, Any]:
    host = measurement.result.get("host") or {}
    return measurement.device_id, host.get("runtime"), host.get("runtime_version")
