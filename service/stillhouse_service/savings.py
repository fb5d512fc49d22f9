"""What a study has not had to compute: trials of known results, trainings not begun or ended early.

Depends on: the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_service.repositories.trials import TWIN
from stillhouse_service.states import TrialState
from stillhouse_service.store import UnitOfWork


def of_study(work: UnitOfWork, study_id: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """Add up what was spared, by why.

    Args:
        work: A transaction.
        study_id: The study.
        counts: Its `counts`; nothing is looked up where they say that there is nothing.

    Returns:
        `n_twins`, `n_not_trained` (the probe was too slow), `n_ended_early` (the limit was out of
        reach), and `compute_s`: seconds of compute that they would have taken, at the pace of the
        study's other trials.
    """
    spared = {"n_twins": 0, "n_not_trained": 0, "n_ended_early": 0, "compute_s": 0.0}
    if not counts.get(TrialState.STOPPED, 0) and not counts.get("brought", 0):
        return spared
    seconds = 0.0
    for origin, progress in work.trials.spared_of(study_id):
        seconds += float(progress.get("saved_s", 0.0))
        if origin == TWIN:
            spared["n_twins"] += 1
        elif progress.get("by") == "probe":
            spared["n_not_trained"] += 1
        elif progress.get("by") == "early_stop":
            spared["n_ended_early"] += 1
    return spared | {"compute_s": round(seconds, 3)}
