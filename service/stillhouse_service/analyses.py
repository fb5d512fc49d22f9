"""What a study has taught: importance of its parameters, and its report.

Depends on: explanations, the report. Worked out away from requests and transactions, once for what
is known of a study; with many trials in a process of its own, so that the server stays quick.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from stillhouse_optimizer.basis import spans
from stillhouse_service import report, views
from stillhouse_service.checks import search_problem
from stillhouse_service.explanations import explained
from stillhouse_service.parameter_groups import groups_of
from stillhouse_service.states import TrialState, is_final
from stillhouse_service.store import Store

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
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Known, Future[Json]] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, "analyses")  # one at a time: each wants a core
        self._child: subprocess.Popen[str] | None = None
        self._is_closed = False

    def close(self) -> None:
        """End what is being worked out."""
        with self._lock:
            self._is_closed = True
            child = self._child
        if child is not None:
            child.kill()
        self._worker.shutdown(cancel_futures=True)

    def importance(self, study_id: str, wait_s: float) -> Json | None:
        """Say which parameters matter for the objective and each limit, as docs/reports.md has it.

        Args:
            study_id: The study.
            wait_s: How long to wait for it.

        Returns:
            None where it is still being worked out; ask again.

        Raises:
            NotFound: No such study.
            AnalysisFailed: It could not be worked out.
        """
        with self._store.read() as view:
            view.studies.named(study_id)
            known = (study_id, *view.trials.n_known_of(study_id))
        with self._lock:
            found = self._kept.get(known)
            if found is None:
                found = self._kept[known] = self._worker.submit(self._work_out, study_id)
                while len(self._kept) > _N_KEPT:
                    self._kept.popitem(last=False)[1].cancel()
            self._kept.move_to_end(known)
        try:
            return found.result(timeout=wait_s)
        except TimeoutError:
            return None
        except Exception:
            with self._lock:
                self._kept.pop(known, None)  # the next one who asks may be luckier
            raise

    def _work_out(self, study_id: str) -> Json:
        with self._store.read() as view:
            study = view.studies.named(study_id)
            trials = view.trials.values_of(study_id)
        told = [trial for trial in trials if trial[2] in _TOLD]
        best = next((number for number, id, *_ in told if id == study.incumbent_id), None)
        order = {
            # Before the device checks, relative limits stay so: no trial is held against them.
            "problem": search_problem(study.spec, study.problem, study.baseline_measurement),
            "history": [
                (number, state.value, config, metrics if state == TrialState.COMPLETE else None)
                for number, _, state, config, metrics in told
            ],
            "seed": int(study.spec["seed"]),
            "groups": groups_of(study.spec["template"], study.spec["training"]),
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
        command = [sys.executable, "-m", explained.__module__]
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

    def report(self, study_id: str, form: report.Form, wait_s: float) -> str | None:
        """Give the report.

        Args:
            study_id: The study.
            form: `html` (one self-contained page), `md` or `json`.
            wait_s: How long to wait for the importance in it.

        Returns:
            None where that is still being worked out; ask again.

        Raises:
            NotFound: No such study.
            AnalysisFailed: It could not be worked out.
        """
        found = self.importance(study_id, wait_s)
        if found is None:
            return None
        with self._store.read() as view:
            study = view.studies.named(study_id)
            rows = view.trials.page(study_id, limit=int(study.spec["budget"]["trials"]), after=None)
            trials = [
                views.trial_detail(view, view.trials.detailed(row.id))
                if row.id == study.incumbent_id
                else views.trial(row)
                for row in rows
            ]
            baseline = views.baseline(view.baselines.named(study.baseline_id))
            shown = views.study(view, study)
        return report.render(
            form,
            shown.model_dump(mode="json", by_alias=True),
            [trial.model_dump(mode="json", by_alias=True) for trial in trials],
            baseline.model_dump(mode="json", by_alias=True),
            found,
            report.describe_environment(),
        )

    def importance_page(self, study_id: str, found: Json) -> str:
        """Give a page of an importance that `importance` gave.

        Raises:
            NotFound: No such study.
        """
        with self._store.read() as view:
            study = view.studies.named(study_id)
            baseline = views.baseline(view.baselines.named(study.baseline_id))
            shown = views.study(view, study)
        return report.render_importance_html(
            shown.model_dump(mode="json", by_alias=True),
            baseline.model_dump(mode="json", by_alias=True),
            found,
        )
