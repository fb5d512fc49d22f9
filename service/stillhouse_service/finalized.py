"""A study's winner as its last finalisation found it.

Depends on: the store, stillhouse_optimizer. Reads, never writes.
"""

from __future__ import annotations

from typing import Any

from stillhouse_optimizer.feasibility import is_feasible
from stillhouse_service import listed
from stillhouse_service.objectives import constraints_of
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import StudyRow


def finalized(view: UnitOfWork, study: StudyRow) -> dict[str, Any] | None:
    """Show how far a study's last finalisation is, and its figures once they are there.

    Returns:
        `experiment_id`, `study_id`, `state`, `seed`, `training`; and when it has finished the
        figures of the test split as in the study's `final`, with the network's `params`, `macs`
        and `model_bytes`, held against the study's own limits. None: there was none.
    """
    for experiment in view.experiments.following(study.id, listed.FINALIZE):
        own = view.experiments.studies_of(experiment.id)[0]
        found = {
            "experiment_id": experiment.id,
            "study_id": own.id,
            "state": own.state.value,
            "seed": experiment.spec["seed"],
            "training": experiment.spec["training"],
        }
        if own.final is None or own.final.get("latency_ratio") is None:
            return found
        trial = view.trials.named(own.final["trial_id"])
        sizes = {
            name: (trial.metrics or {}).get(name) for name in ("params", "macs", "model_bytes")
        }
        metrics = {**sizes, **own.final}
        limits = constraints_of(study.spec, study.baseline_measurement)
        known = {k: v for k, v in metrics.items() if isinstance(v, int | float)}
        holds, violations = is_feasible(known, limits)
        return found | metrics | {"is_feasible": holds, "violations": dict(violations)}
    return None
