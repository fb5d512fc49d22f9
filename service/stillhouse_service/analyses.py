"""What a study has taught: importance of its parameters, and its report.

Depends on: explanations, the report. Read outside of transactions; worked out once for what is
known of a study, with many trials in a process of its own, so that the server stays quick.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import OrderedDict
from typing import Any

from stillhouse_service import contradictions, report, transfers, views
from stillhouse_service.checks import search_problem
from stillhouse_service.errors import Conflict
from stillhouse_service.fronts import front_of
from stillhouse_service.parameter_groups import groups_of
from stillhouse_service.repositories.trials import FOREIGN
from stillhouse_service.schemas.fronts import Front
from stillhouse_service.schemas.transfers import Transfer
from stillhouse_service.states import TrialState, is_final
from stillhouse_service.store import Store
from stillhouse_service.tables import StudyRow

_N_KEPT = 32
_N_QUICK = 100  # up to so many trials take less than a process needs to start
_TOLD = (TrialState.COMPLETE, TrialState.FAILED, TrialState.UNSUPPORTED)

Json = dict[str, Any]
_Known = tuple[str, int, int]  # study, told trials, measurements


class AnalysisFailed(Exception):
    """The process that worked out an analysis ended without an answer."""


class Analyses:
    """Analyses of studies, each worked out once for what is known of its study."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = threading.Lock()  # one at a time: each wants a core
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Known, Json] = OrderedDict()
        self._child: subprocess.Popen[str] | None = None
        self._is_closed = False

    def close(self) -> None:
        """End what is being worked out."""
        with self._lock:
            self._is_closed = True
            child = self._child
        if child is not None:
            child.kill()

    def is_long(self, study_id: str, n_trials_large: int) -> _Known | None:
        """Say what an analysis would stand on, where it takes long.

        None: it does not, or has been worked out already.

        Raises:
            NotFound: No such study.
        """
        known = self._known(study_id)
        with self._lock:
            return None if known[1] <= n_trials_large or known in self._kept else known

    def importance(self, study_id: str) -> Json:
        """Say which parameters matter for the objective and each limit, as docs/reports.md has it.

        Raises:
            NotFound: No such study.
            AnalysisFailed: It could not be worked out.
        """
        known = self._known(study_id)
        with self._turn:
            with self._lock:
                if known in self._kept:
                    self._kept.move_to_end(known)
                    return self._kept[known]
            found = self._work_out(study_id)
            with self._lock:
                self._kept[known] = found
                while len(self._kept) > _N_KEPT:
                    self._kept.popitem(last=False)
            return found

    def _known(self, study_id: str) -> _Known:
        with self._store.read() as view:
            view.studies.named(study_id)
            n_told, n_measured = (
                view.trials.n_told_of(study_id),
                view.trials.n_measured_of(study_id),
            )
        return study_id, n_told, n_measured

    def _work_out(self, study_id: str) -> Json:
        with self._store.read() as view:
            study = view.studies.named(study_id)
            trials = view.trials.values_of(study_id)
        told = [trial for trial in trials if trial[2] in _TOLD]
        if study.experiment_id is not None:  # its one parameter names the cases
            return {
                "study_id": study_id,
                "n_trials": len(told),
                "metrics": {},
                "incumbent": None,
                "ablation": None,
                "ablation_note": "An experiment tries given cases: there is nothing to rank.",
            }
        # On use: they load scikit-learn.
        from stillhouse_optimizer.basis import spans
        from stillhouse_service.explanations import explained

        best = next((number for number, id, *_ in told if id == study.incumbent_id), None)
        order = {
            # Before the device checks, relative limits stay so: no trial is held against them.
            "problem": search_problem(study.spec, study.problem, study.baseline_measurement),
            "history": [
                (number, state.value, config, metrics if state == TrialState.COMPLETE else None)
                for number, _, state, config, metrics in told
            ],
            "seed": int(study.spec["seed"]),
            "groups": groups_of(study.spec["template"] or "", study.spec["training"] or ""),
            "best": best,
        }
        found = explained(order) if len(told) <= _N_QUICK else self._in_child(order)
        unfinished = {
            "still under way": [n for n, _, state, *_ in trials if not is_final(state)],
            "cancelled": [n for n, _, state, *_ in trials if state == TrialState.CANCELLED],
        }
        for of_metric in found["metrics"].values():
            of_metric["left_out"] += [
                {"why": why, "n_trials": len(numbers), "trials": spans(numbers)}
                for why, numbers in unfinished.items()
                if numbers
            ]
        return {"study_id": study_id, "n_trials": len(told), **found}

    def _in_child(self, order: Json) -> Json:
        command = [sys.executable, "-m", "stillhouse_service.explanations"]
        with self._lock:
            if self._is_closed:
                raise AnalysisFailed("the server is stopping")
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        said, _ = self._child.communicate(json.dumps(order))
        with self._lock:
            status, self._child = self._child.returncode, None
        if status != 0:
            raise AnalysisFailed(f"the analysis ended with status {status}")
        answer: Json = json.loads(said)
        return answer

    def report(self, study_id: str, form: report.Form) -> str:
        """Give the report.

        Args:
            study_id: The study.
            form: `html` (one self-contained page), `md` or `json`.

        Raises:
            NotFound: No such study.
            Conflict: It has no network, so that there is nothing to compare.
            AnalysisFailed: Its importance could not be worked out.
        """
        with self._store.read() as view:
            _check_network(view.studies.named(study_id))
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
            has_front = len(study.spec["objectives"]) > 1 and study.baseline_measurement is not None
            front = Front.model_validate(front_of(view, study)) if has_front else None
            is_learning = bool(study.spec.get("transfer"))
            learned = transfers.shown(view, study) if is_learning else None
            contradicted = contradictions.told(view, study_id)
        return report.render(
            form,
            shown.model_dump(mode="json", by_alias=True),
            [trial.model_dump(mode="json", by_alias=True) for trial in trials],
            baseline.model_dump(mode="json", by_alias=True),
            found,
            report.describe_environment(),
            None if front is None else front.model_dump(mode="json"),
            None if learned is None else Transfer.model_validate(learned).model_dump(mode="json"),
            contradicted,
        )

    def importance_page(self, study_id: str) -> str:
        """Give the importance as a page like the report's.

        Raises:
            NotFound: No such study.
            Conflict: It has no network.
            AnalysisFailed: It could not be worked out.
        """
        with self._store.read() as view:
            _check_network(view.studies.named(study_id))
        found = self.importance(study_id)
        with self._store.read() as view:
            study = view.studies.named(study_id)
            baseline = views.baseline(view.baselines.of(study))
            shown = views.study(view, study)
        return report.render_importance_html(
            shown.model_dump(mode="json", by_alias=True),
            baseline.model_dump(mode="json", by_alias=True),
            found,
        )


def _check_network(study: StudyRow) -> None:
    if study.baseline_id is None:
        raise Conflict(
            f"study {study.id} has no network to report on; its trials and its importance are there"
        )
