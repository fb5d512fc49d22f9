"""What a study has taught: importance of its parameters, and its report.

Depends on: stillhouse_optimizer.importance, the report. Read outside of transactions: an analysis
takes seconds, and the trials it stands on are read in one short one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from stillhouse_service import report, views
from stillhouse_service.errors import Conflict
from stillhouse_service.incumbents import observed, problem_of
from stillhouse_service.repositories.trials import FOREIGN
from stillhouse_service.store import Store

_N_KEPT = 32


class Analyses:
    """Analyses of studies, each worked out once for a number of told trials."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()  # one at a time: each wants every core
        self._kept: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()

    def is_long(self, study_id: str, n_trials_large: int) -> int | None:
        """Give the number of trials that an analysis would stand on, where it takes long.

        None: it does not, or has been worked out already.

        Raises:
            NotFound: No such study.
        """
        with self._store.read() as view:
            view.studies.named(study_id)
            n = view.trials.n_told_of(study_id)
        return None if n <= n_trials_large or (study_id, n) in self._kept else n

    def importance(self, study_id: str) -> dict[str, Any]:
        """Say which parameters matter for the objective and each limit, as docs/api.md has it.

        Raises:
            NotFound: No such study.
        """
        with self._store.read() as view:
            study = view.studies.named(study_id)
            history = [observed(trial) for trial in view.trials.own_of(study_id)]
        if study.experiment_id is not None:  # its one parameter names the cases
            return {"study_id": study_id, "n_trials": len(history), "metrics": {}}
        key = (study_id, len(history))
        from stillhouse_optimizer.importance import importances  # on use: it loads scikit-learn

        with self._lock:
            if key not in self._kept:
                problem = problem_of(study)
                found = importances(problem, history, seed=int(study.spec["seed"]))
                self._kept[key] = {
                    "study_id": study_id,
                    "n_trials": len(history),
                    "metrics": {metric: one.to_json() for metric, one in found.items()},
                }
                while len(self._kept) > _N_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def importance_csv(self, study_id: str) -> str:
        """Give the importance as a table.

        Raises:
            NotFound: No such study.
        """
        return report.importance_csv(self.importance(study_id))

    def report(self, study_id: str) -> str:
        """Give the report: one self-contained HTML page.

        Raises:
            NotFound: No such study.
            Conflict: It has no network, so that there is nothing to compare.
        """
        with self._store.read() as view:
            if view.studies.named(study_id).baseline_id is None:
                raise Conflict(
                    f"study {study_id} has no network to report on; its trials and its importance "
                    "are there"
                )
        found = self.importance(study_id)
        with self._store.read() as view:
            study = view.studies.named(study_id)
            n = view.trials.n_of(study_id)
            every = view.trials.page(study_id, limit=n, after=None)
            rows = [row for row in every if row.origin != FOREIGN]
            trials = [
                views.trial_detail(view, view.trials.detailed(row.id))
                if row.id == study.incumbent_id
                else views.trial(row)
                for row in rows
            ]
            baseline = views.baseline(view.baselines.of(study))
            shown = views.study(view, study)
        return report.render_html(
            shown.model_dump(mode="json", by_alias=True),
            [trial.model_dump(mode="json", by_alias=True) for trial in trials],
            baseline.model_dump(mode="json", by_alias=True),
            found,
            report.describe_environment(),
        )
