"""Earlier studies that a new one learns from: which may be, what they say, how much they count.

Depends on: the store, stillhouse_optimizer. Unlike a warm start nothing of them is copied: an ended
study does not change, so that its trials are read anew for every proposal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.parameter import Parameter
from stillhouse_optimizer.sources import Source, check_source, rows_of, shared
from stillhouse_optimizer.space import Space
from stillhouse_optimizer.spec import Problem as SearchProblem
from stillhouse_optimizer.spec import Proposal
from stillhouse_service.checks import search_problem
from stillhouse_service.errors import Conflict, Problem, SpecRejected
from stillhouse_service.incumbents import observed, problem_of
from stillhouse_service.schemas import StudySpec
from stillhouse_service.states import is_final
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import StudyRow, TrialRow

# In a trial's details: how much each source counted, and how well it ranked the trials before.
KEPT, AGREED = "transfer", "transfer_agreement"


def check(view: UnitOfWork, spec: StudySpec, search: Mapping[str, Any]) -> None:
    """Make sure that the studies to learn from have ended and have something to say.

    Args:
        view: Where they stand.
        spec: The study that would learn, checked by itself.
        search: Its search space.

    Raises:
        SpecRejected: One does not, with the reason.
    """
    named = spec.transfer or []
    if not named:
        return
    here = SearchProblem.from_mapping(search_problem(spec.model_dump(), search))
    problems = []
    for i, study_id in enumerate(named):
        path = f"transfer[{i}]"
        study = view.studies.find(study_id)
        if study is None:
            problems.append(Problem(path, f"no study {study_id!r}"))
        elif study_id in named[:i]:
            problems.append(Problem(path, f"{study_id} stands twice"))
        elif study_id in (spec.warm_start or ()):
            message = f"{study_id} is a `warm_start` already: its trials would count twice"
            problems.append(Problem(path, message))
        elif not is_final(study.state):
            message = f"{study_id} is {study.state}: only a study that has ended changes no more"
            problems.append(Problem(path, message))
        else:
            try:
                check_source(here, _source(view, study))
            except ProblemError as error:
                problems.append(Problem(path, str(error)))
    if problems:
        raise SpecRejected(problems)


def sources_of(view: UnitOfWork, study: StudyRow) -> Sequence[Source]:
    """Read what a study learns from, as the optimizer takes it."""
    return [_source(view, view.studies.named(one)) for one in study.spec.get("transfer") or ()]


def proposed(trial: TrialRow, proposal: Proposal) -> None:
    """Write down what a trial's proposal expected, and how much each source counted in it."""
    trial.prediction = dict(proposal.prediction)
    if proposal.weights:
        weights = {name: dict(of_metric) for name, of_metric in proposal.weights.items()}
        agreed = {name: dict(of_metric) for name, of_metric in proposal.agreements.items()}
        trial.details = {**trial.details, KEPT: weights, AGREED: agreed}


def shown(view: UnitOfWork, study: StudyRow) -> dict[str, Any]:
    """Show what each source shares with a study, and how much it counts.

    Raises:
        Conflict: The study learns from no other.
    """
    named = study.spec.get("transfer") or []
    if not named:
        raise Conflict(f"study {study.id} learns from no other: it was made without `transfer`")
    history = view.trials.details_of(study.id, KEPT)
    agreed = dict(view.trials.details_of(study.id, AGREED))
    now = history[-1][1] if history else {}
    agreed_now = agreed.get(history[-1][0], {}) if history else {}
    space = Space(problem_of(study)) if _is_known(study) else None
    found = []
    for one in named:
        earlier = view.studies.named(one)
        source = _source(view, earlier)
        here = _parameters(study)
        names = shared(here, source.parameters)
        found.append(
            {
                "study_id": one,
                "name": earlier.name,
                "n_trials": len(source.history),
                "n_within": None if space is None else len(rows_of(space, source)[1]),
                "shared": list(names),
                "only_here": [p.name for p in here if p.name not in names],
                "weights": dict(now.get(one, {})),
                "agreement": dict(agreed_now.get(one, {})),
            }
        )
    return {
        "study_id": study.id,
        "sources": found,
        "history": [
            {"number": number, "weights": weights, "agreement": agreed.get(number, {})}
            for number, weights in history
        ],
    }


def _is_known(study: StudyRow) -> bool:
    """Whether relative limits can be held against the baseline already."""
    return study.baseline_id is None or study.baseline_measurement is not None


def _source(view: UnitOfWork, study: StudyRow) -> Source:
    history = [observed(trial) for trial in view.trials.own_of(study.id)]
    return Source(study.id, _parameters(study), history)


def _parameters(study: StudyRow) -> tuple[Parameter, ...]:
    return tuple(Parameter.from_mapping(one) for one in study.problem["parameters"])
