"""A config of the user's own as a study's next trial.

Depends on: the store, stillhouse_optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.space import Space
from stillhouse_service import twins
from stillhouse_service.errors import Conflict, Problem, SpecRejected
from stillhouse_service.incumbents import problem_of
from stillhouse_service.schemas import Scalar
from stillhouse_service.states import StudyState
from stillhouse_service.steps import start_trial
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import TrialRow


def enqueue(work: UnitOfWork, study_id: str, config: Mapping[str, Scalar]) -> TrialRow:
    """Start a trial of this config, whether or not the optimizer would have.

    One that comes to the same as a complete trial has its result at once, and costs nothing.

    Raises:
        NotFound: No such study.
        Conflict: It takes no more trials: not begun, over, or its budget is spent.
        SpecRejected: The config is none of its space.
    """
    study = work.studies.named(study_id)
    if study.experiment_id is not None:
        raise Conflict(
            f"study {study_id} runs the cases of experiment {study.experiment_id} and no others"
        )
    if study.state not in (StudyState.RUNNING, StudyState.PAUSED):
        raise Conflict(f"study {study_id} is {study.state}; wanted one that runs or is paused")
    if work.stages.of_study(study_id, "confirm") or work.stages.of_study(study_id, "final"):
        raise Conflict(f"study {study_id} is measuring its winner; clone it to go on")
    number, n_started = work.trials.n_begun_of(study_id)
    limit = study.spec["budget"].get("trials")
    is_spent = limit is not None and n_started >= int(limit)
    try:
        legal = legal_config(Space(problem_of(study)), config, "config")
    except ProblemError as error:
        if is_spent:
            raise _spent(study_id, limit) from error
        raise SpecRejected([Problem(error.field, str(error))]) from error
    if (twin := twins.find(work, study, legal)) is not None:
        return twins.adopt(work, study, number, legal, twin)
    if is_spent:
        raise _spent(study_id, limit)
    return start_trial(work, study, number, legal, "enqueued", work.user)


def _spent(study_id: str, limit: object) -> Conflict:
    return Conflict(
        f"study {study_id} has all the {limit} trials of its budget; clone it with a larger one"
    )


def legal_config(space: Space, config: Mapping[str, Scalar], where: str) -> dict[str, Any]:
    """Give a config as its space writes it.

    Raises:
        ProblemError: It is none of the space, or a forbidden one.
    """
    row = space.encode(config, where)
    if not space.is_legal(row[None, :])[0]:
        raise ProblemError(where, "is a forbidden combination")
    return space.decode(row)
