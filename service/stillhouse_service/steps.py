"""One study's next step: the next trials, the pause, the end.

Depends on: the store, stillhouse_optimizer, stillhouse_compression.template.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stillhouse_compression.template import Template, parse_template
from stillhouse_compression.template.errors import TemplateErrors
from stillhouse_optimizer.errors import SpaceExhausted
from stillhouse_optimizer.sources import Source
from stillhouse_optimizer.spec import Observation, Problem
from stillhouse_optimizer.stopping import Budget, stop_reason
from stillhouse_service import (
    early_stops,
    fidelity,
    incumbents,
    listed,
    outcomes,
    probes,
    rungs,
    transfers,
    twins,
)
from stillhouse_service.catalog import parameter_shapes
from stillhouse_service.failures import Failure, policy_of
from stillhouse_service.instruments import PROPOSAL_S
from stillhouse_service.loading import BUILT_NETWORKS, PROPOSALS, load
from stillhouse_service.repositories.trials import BROUGHT
from stillhouse_service.settings import Settings
from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tables import StudyRow, TrialRow

DRIVER = "driver"


@dataclass(frozen=True)
class _Standing:
    """A running study as read in one transaction."""

    spec: Mapping[str, Any]
    network: tuple[str, str] | None  # model and data set; None: trials are run outside
    has_rungs: bool  # its configs are trained a little first, and the best of them further
    is_listed: bool  # its trials are the cases of an experiment
    problem: Problem | None  # None until the device has measured the baseline
    n_trials: int  # brought ones too: the next one's number
    n_started: int
    n_open: int
    is_ending: bool  # its incumbent is being measured again, or on the test split
    is_measuring: bool  # a stage waits or runs: of a trial, or of its end
    stop: str | None  # why no more trials are started
    failing: str | None  # why it should pause: too many trials failed for one cause
    history: Sequence[Observation]
    own_configs: Sequence[Mapping[str, Any]]  # of the told trials that this study has run itself
    pending: Sequence[Mapping[str, Any]]
    pending_ids: Sequence[str]
    sources: Sequence[Source]  # earlier studies to learn from

    @property
    def n_wanted(self) -> int:
        """How many trials may be started now."""
        if self.is_ending or self.stop is not None:
            return 0
        n_left = int(self.spec["budget"]["trials"]) - self.n_started
        return max(0, min(int(self.spec["parallel"]) - self.n_open, n_left))


class Steps:
    """Takes one study one step further, as often as it is asked to."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        # Study -> number of its trials and of those told, when nothing was worth proposing: asking
        # again before a trial has ended would only cost time.
        self._asked_in_vain: dict[str, tuple[int, int]] = {}

    def advance(self, study_id: str) -> None:
        """Do whatever the study needs next, if anything.

        Args:
            study_id: Which one; only a running one needs anything.
        """
        standing = self._read(study_id)
        if standing is None:
            return
        if standing.failing is not None:
            self._pause(study_id, standing.failing)
            return
        if standing.network is None:
            if standing.stop is not None and standing.n_open == 0:
                self._end_outside(study_id, standing.stop)
            return
        stop = standing.stop
        if standing.has_rungs and not standing.is_ending and self._promote(study_id, standing):
            return
        asked = standing.n_trials, len(standing.history)
        is_in_vain = standing.n_open > 0 and self._asked_in_vain.get(study_id) == asked
        if standing.n_wanted and standing.is_listed:
            self._list(study_id, standing)
        elif standing.n_wanted and not is_in_vain:
            try:
                stop = self._propose(study_id, standing)
            except SpaceExhausted as end:
                stop = f"all {end.n_configs} configs of the space were tried"
            if stop is not None:
                self._asked_in_vain[study_id] = asked
        if standing.n_open == 0 and (stop is not None or standing.is_ending):
            if (
                standing.has_rungs
                and not standing.is_ending
                and self._promote(study_id, standing, stop)
            ):
                return
            self._finish(study_id, standing, stop or "")

    def _read(self, study_id: str) -> _Standing | None:
        """Read where a study stands; none: it does not run, or can do nothing but wait."""
        with self._store.read() as view:
            study, baseline = view.studies.with_baseline(study_id)
            if study.state != StudyState.RUNNING:
                return None
            n_trials, n_started, n_open, is_ending = view.trials.standing_of(
                study_id, incumbents.CONFIRM
            )
            if n_open >= int(study.spec["parallel"]):
                return None  # its next step follows when a trial has ended
            stop = stop_reason(
                Budget.from_mapping(study.spec["budget"]),
                n_started,
                (view.now - (study.started_at or view.now)).total_seconds(),
                # Only who limits it pays for adding it up.
                view.stages.compute_s(study_id) if study.spec["budget"].get("compute_s") else 0.0,
            )
            is_over = n_open == 0 and (stop is not None or is_ending)
            is_listed = study.experiment_id is not None
            # The whole history is read only when a proposal will be made from it.
            is_asking = stop is None and not is_ending
            is_asking = is_asking and baseline is not None and not is_listed
            running, told = view.trials.begun_of(study_id) if is_asking else ([], [])
            has_failed = not is_asking or any(trial.failure is not None for trial in told)
            failing = self._failing(view, study) if has_failed else None
            problem = incumbents.problem_of(study) if is_asking else None
            network = None if baseline is None else (baseline.model, baseline.dataset)
            return _Standing(
                spec=study.spec,
                network=network,
                has_rungs=fidelity.epochs_of(study.spec) is not None,
                is_listed=is_listed,
                problem=problem,
                n_trials=n_trials,
                n_started=n_started,
                n_open=n_open,
                is_ending=is_ending,
                is_measuring=is_over and bool(view.stages.open_of_study(study_id)),
                stop=stop,
                failing=failing,
                history=rungs.history(problem, study.spec, told) if problem else [],
                own_configs=[trial.config for trial in told if trial.origin not in BROUGHT],
                # One that goes on has a result already, from the rung below.
                pending=[trial.config for trial in running if trial.promoted_from is None],
                pending_ids=[trial.id for trial in running],
                sources=transfers.sources_of(view, study) if is_asking else (),
            )

    def _list(self, study_id: str, standing: _Standing) -> None:
        """Start the next cases of an experiment, in their order."""
        with self._store.begin() as work:
            study = work.studies.named(study_id)
            is_as_read = work.trials.n_of(study_id) == standing.n_trials
            if study.state != StudyState.RUNNING or not is_as_read:
                return
            cases = listed.cases_of(work, study)
            numbers = range(standing.n_trials, standing.n_trials + standing.n_wanted)
            for number in numbers:
                listed.start_case(work, study, number, cases[number], DRIVER)

    def _promote(self, study_id: str, standing: _Standing, stop: str | None = None) -> bool:
        """Let trials of low rungs go on, as many as there is room for; tell whether any did.

        Before the study ends (`stop` says why), whoever may still be the best goes on.
        """
        n_free = int(standing.spec["parallel"]) - standing.n_open
        if n_free <= 0:
            return False
        with self._store.begin() as work:
            study = work.studies.named(study_id)
            is_as_read = work.trials.n_of(study_id) == standing.n_trials
            if study.state != StudyState.RUNNING or not is_as_read:
                return True  # looked at again
            is_last = stop is not None and not work.trials.open_of(study_id)
            return rungs.promote(work, study, n_free, is_last, DRIVER) > 0

    def _propose(self, study_id: str, standing: _Standing) -> str | None:
        """Ask the optimizer, outside of any transaction, and start what it proposes.

        Returns:
            Why no more trials should be started: the next one promises too little.
        """
        # On use: they load SMAC and torch, and a server that starts is not to wait for that.
        load(PROPOSALS, BUILT_NETWORKS)
        from stillhouse_optimizer.propose import propose
        from stillhouse_service.built_network import built_network

        assert standing.problem is not None
        assert standing.network is not None
        texts = standing.spec["template"], standing.spec["training"]
        begun_s = time.perf_counter()
        built = built_network(*texts, *standing.network)
        proposals = propose(
            standing.problem,
            standing.history,
            standing.pending,
            seed=int(standing.spec["seed"]),
            n=standing.n_wanted,
            cheap_features=built,
            sources=standing.sources,
        )
        took_s = time.perf_counter() - begun_s
        PROPOSAL_S.observe(took_s)
        own = [*standing.own_configs, *standing.pending]
        proposals = twins.new_only(standing.spec, standing.problem, own, proposals, built)
        if not proposals:
            return twins.EXHAUSTED
        promise = Budget(min_gain=standing.spec["budget"].get("min_gain"))
        if (stop := stop_reason(promise, 0, 0.0, 0.0, proposals[0])) is not None:
            return stop
        with self._store.begin() as work:
            study, _ = work.studies.with_baseline(study_id)
            is_as_read = work.trials.n_of(study_id) == standing.n_trials
            if study.state != StudyState.RUNNING or not is_as_read:
                return None  # cancelled or paused while the optimizer thought
            unknown = listed.ended_since(work, standing.pending_ids)
            work.spent.proposal_s = took_s
            for i, proposal in enumerate(proposals):
                number = standing.n_trials + i
                trial = start_trial(
                    work, study, number, proposal.config, proposal.origin, DRIVER, unknown
                )
                transfers.proposed(trial, proposal)
        return None

    def _failing(self, view: UnitOfWork, study: StudyRow) -> str | None:
        """Say that too many of a study's last trials failed for one cause, and what to do."""
        n, n_watched = self._settings.n_failures_to_pause, self._settings.n_trials_watched
        last = view.trials.last_told(study.id, study.failures_from, n_watched)
        causes = [cause for trial in last if (cause := _cause(trial)) is not None]
        cause, n_times = Counter(causes).most_common(1)[0] if causes else ("", 0)
        if n_times < n:
            return None
        example = next(trial for trial in last if _cause(trial) == cause)
        failed = view.stages.failed_of(example.id)
        advice = policy_of(failed.lane if failed else "compute", cause).advice
        return (
            f"{n_times} of the last {len(last)} trials failed as {cause!r} (trial "
            f"{example.number}: {(example.failure or {}).get('reason')}): {advice}; then resume "
            "the study, or cancel it"
        )

    def _pause(self, study_id: str, reason: str) -> None:
        """Pause a study, unless somebody has paused and resumed it meanwhile."""
        with self._store.begin() as work:
            study = work.studies.named(study_id)
            # As it is now: its failures may have been forgiven since they were read.
            if study.state == StudyState.RUNNING and self._failing(work, study) is not None:
                study.reason = reason
                work.move(study, StudyState.PAUSED, DRIVER, reason)

    def _finish(self, study_id: str, standing: _Standing, reason: str) -> None:
        """End a study whose trials are all told, one step at a time.

        Its incumbent's latency is measured again, which may bring another one up; the last one is
        measured on the test split.
        """
        if standing.is_measuring:
            return  # its result leads on
        with self._store.begin() as work:
            study = work.studies.named(study_id)
            # Somebody may have enqueued a trial since: then it has not come to its end.
            is_as_read = work.trials.n_of(study_id) == standing.n_trials
            if study.state != StudyState.RUNNING or not is_as_read:
                return
            if work.stages.open_of_study(study_id):
                return
            if not listed.has_winner(work, study):
                work.move(study, StudyState.FINISHED, DRIVER, reason)
                return
            trial = incumbents.to_confirm(work, study, DRIVER)
            earlier = work.stages.of_study(study_id, incumbents.CONFIRM)
            order = {
                "settings": study.spec["timing"],
                # Why the trials ended was known when the first of these stages was made.
                "reason": earlier[0].order["reason"] if earlier else reason,
            }
            device = study.spec["device"]
            if trial is not None:
                order = {"split": "validation", **order}
                outcomes.new_stage(
                    work, incumbents.CONFIRM, order=order, trial=trial, device=device
                )
            elif study.incumbent_id is None:
                study.reason = "no trial met the constraints"
                if standing.has_rungs and (told := rungs.all_failed(work, study)) is not None:
                    study.reason += f": {told}"
                work.move(study, StudyState.FINISHED, DRIVER, study.reason)
            else:
                trial = work.trials.named(study.incumbent_id)
                order = {"split": "test", **order}
                outcomes.new_stage(work, "final", order=order, trial=trial, device=device)

    def _end_outside(self, study_id: str, reason: str) -> None:
        """End a study whose trials were run outside: nothing here could measure its best again."""
        with self._store.begin() as work:
            study = work.studies.named(study_id)
            if study.state == StudyState.RUNNING and not work.trials.open_of(study_id):
                end_outside(work, study, reason)


def _cause(trial: TrialRow) -> str | None:
    """Name the class of a trial's failure; none: it did not fail."""
    return None if trial.failure is None else str(trial.failure.get("class", "internal"))


@lru_cache(maxsize=64)
def _template(template_yaml: str, training_yaml: str) -> Template:
    """Read a stored template; it was checked when the study was made."""
    return parse_template(template_yaml, training_yaml)


def start_trial(
    work: UnitOfWork,
    study: StudyRow,
    number: int,
    config: Mapping[str, Any],
    origin: str,
    who: str,
    unknown: str = "",
) -> TrialRow:
    """Add a trial and its first stage; it fails at once where no schedule comes of its config.

    `unknown` is what its proposal did not know yet, for the log.
    """
    trial = listed.new_trial(work, study, number, config, origin, who, unknown)
    if study.baseline_id is None:
        _offer_outside(work, study, trial)
        return trial
    baseline = work.baselines.of(study)
    try:
        # Patterns of names are written out: the schedule that is kept says what it did.
        rendered = _template(study.spec["template"], study.spec["training"]).render(
            config, parameter_shapes(baseline.model, baseline.dataset)
        )
    except TemplateErrors as error:
        failure = Failure("render", "internal", str(error))
        trial.failure = failure.to_json()
        work.move(trial, TrialState.FAILED, who, failure.reason)
        return trial
    order = listed.order_of(work, study, trial, rendered.schedule, rendered.training)
    order |= early_stops.order_of(work, study)
    probes.begin(work, study, trial, rungs.first(study, trial, order))
    return trial


def _offer_outside(work: UnitOfWork, study: StudyRow, trial: TrialRow) -> None:
    """Let a trial wait for whoever asks; a template's says what schedule it is."""
    if study.spec["template"]:
        rendered = _template(study.spec["template"], study.spec["training"]).render(trial.config)
        trial.details = {"schedule": rendered.schedule, "training": rendered.training}
    outcomes.new_stage(work, "asked", order={}, trial=trial, is_outside=True)


def end_outside(work: UnitOfWork, study: StudyRow, reason: str) -> None:
    """End a study whose trials were run outside."""
    study.reason = reason if study.incumbent_id else "no trial met the constraints"
    work.move(study, StudyState.FINISHED, DRIVER, study.reason)
