"""Stage 1d: the best pair of each domain of a sweep, put together.

Depends on: the store, stillhouse_compression.sweep.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_compression.sweep.composition import RULE, Member, compose
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.states import TrialState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import ExperimentRow, TrialRow

Found = tuple[dict[str, Any], TrialRow]


def combine(
    view: UnitOfWork, sweep: ExperimentRow, baseline_id: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Compose the best pairs of algorithm and level of a sweep, one of each domain.

    Args:
        view: The store.
        sweep: Its trials have ended, or enough of them.
        baseline_id: On which of its baselines.

    Returns:
        A case for every two or more domains, and what was decided: whom each domain sends, and
        each conflict.

    Raises:
        SpecRejected: Fewer than two domains have a trial that keeps the limits.
    """
    best = _best_of_domains(view, sweep, baseline_id)
    if len(best) < 2:
        have = ", ".join(best) or "none"
        message = (
            f"experiment {sweep.id} has trials that keep the limits of fewer than two domains "
            f"({have}); sweep more algorithms, milder levels, or loosen the limits"
        )
        raise SpecRejected([Problem("sweep", message)])
    notes = [
        f"{domain}: {case['name']}, ratio {_ratio(trial):.3f}, the fastest of its domain that "
        "keeps the limits"
        for domain, (case, trial) in best.items()
    ]
    ranked = sorted(best, key=lambda domain: _ratio(best[domain][1]))
    cases = []
    for size in range(2, len(ranked) + 1):
        for domains in itertools.combinations(ranked, size):
            case, said = _composed({domain: best[domain] for domain in domains})
            cases.append(case)
            notes += said
    if any("not by" in note for note in notes):
        notes.append(f"rule: {RULE}")
    return cases, notes


def _best_of_domains(view: UnitOfWork, sweep: ExperimentRow, baseline_id: str) -> dict[str, Found]:
    """The fastest trial of each domain that keeps the limits, on the sweep's first device."""
    studies = [s for s in view.experiments.studies_of(sweep.id) if s.baseline_id == baseline_id]
    first = sweep.spec["devices"][0]
    study_ids = [study.id for study in studies if study.spec["device"] == first]
    cases: Sequence[Mapping[str, Any]] = sweep.cases[baseline_id]
    best: dict[str, Found] = {}
    for trial in view.experiments.trials_of(study_ids):
        case = dict(cases[trial.number])
        if trial.state != TrialState.COMPLETE or not trial.is_feasible or case["is_control"]:
            continue
        known = best.get(case["domain"])
        if known is None or _ratio(trial) < _ratio(known[1]):
            best[case["domain"]] = (case, trial)
    return best


def _composed(best: Mapping[str, Found]) -> tuple[dict[str, Any], list[str]]:
    members = [Member(domain, case["schedule"]) for domain, (case, _) in best.items()]
    schedule, conflicts = compose(members)
    name = "+".join(best)
    weights = dict.fromkeys(w for case, _ in best.values() for w in case["weights"])
    case = {
        "name": name,
        "algorithm": "+".join(case["algorithm"] for case, _ in best.values()),
        "domain": name,
        "scope": "all",
        "layers": "+".join(case["layers"] for case, _ in best.values()),
        "weights": list(weights),
        "level": None,
        "is_control": False,
        "schedule": schedule,
        "training": {},
        "members": [case["name"] for case, _ in best.values()],
    }
    between: dict[tuple[str, str], list[str]] = {}
    for one in conflicts:
        between.setdefault((one.kept_by, one.lost_by), []).append(one.tensor)
    said = [
        f"{name}: pruned by {kept}, not by {lost}: {', '.join(tensors)}"
        for (kept, lost), tensors in between.items()
    ]
    return case, said


def _ratio(trial: TrialRow) -> float:
    return float((trial.metrics or {})["latency_ratio"])
