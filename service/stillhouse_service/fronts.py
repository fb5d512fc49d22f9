"""The front of a study with several objectives: its trials as they stand against one another.

Depends on: the store, stillhouse_optimizer. Reads, never writes.
"""

from __future__ import annotations

from typing import Any

from stillhouse_optimizer.front import front
from stillhouse_service.errors import Conflict
from stillhouse_service.incumbents import observed, problem_of
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import StudyRow


def front_of(view: UnitOfWork, study: StudyRow) -> dict[str, Any]:
    """Show which trials of a study are on its front, and what it has come to trial by trial.

    Only the study's own trials count, those brought from elsewhere do not.

    Raises:
        Conflict: It has one objective; its device has not measured the baseline yet.
    """
    if len(study.spec["objectives"]) == 1:
        raise Conflict(
            f"study {study.id} has one objective, so its best trial is its incumbent; a front "
            "needs two or three objectives"
        )
    if study.baseline_id is not None and study.baseline_measurement is None:
        raise Conflict(
            f"study {study.id} has no front yet: its device has not measured the baseline, which "
            "the front is held against"
        )
    trials = view.trials.own_of(study.id)
    problem = problem_of(study)
    found = front(problem, [observed(trial) for trial in trials])
    on_front = {one.index: rank for rank, one in enumerate(found.points)}
    points = [
        {
            "trial_id": trials[one.index].id,
            "number": trials[one.index].number,
            "values": dict(zip(found.objectives, one.values, strict=True)),
            "is_feasible": one.is_feasible,
            "is_certain": one.is_certain,
            "is_dominated": one.is_dominated,
        }
        for one in sorted(found.trials, key=lambda one: on_front.get(one.index, len(on_front)))
    ]
    return {
        "study_id": study.id,
        "objectives": list(found.objectives),
        "reference": dict(zip(found.objectives, found.reference, strict=True)),
        "n_on_front": len(on_front),
        "points": points,
        "hypervolume": [
            {"number": trial.number, "hypervolume": volume}
            for trial, volume in zip(trials, found.hypervolume, strict=True)
        ],
        "constant": list(found.constant),
    }
