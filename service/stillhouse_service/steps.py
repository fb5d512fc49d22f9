"""One study's next step: why it waits, the next trials, the pause, the end.

Depends on: the store, stillhouse_optimizer, stillhouse_compression.template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from stillhouse_benchmark.protocol import COMPILES
from stillhouse_compression.template import Template, parse_template
from stillhouse_compression.template.errors import TemplateErrors
from stillhouse_optimizer.errors import SpaceExhausted
from stillhouse_optimizer.propose import propose
from stillhouse_optimizer.spec import Observation, Problem, Proposal
from stillhouse_service import incumbents, outcomes
from stillhouse_service.built_network import built_network
from stillhouse_service.catalog import parameter_shapes
from stillhouse_service.checks import search_problem
from stillhouse_service.failures import Failure
from stillhouse_service.ids import new_id, trial_seed
from stillhouse_service.incumbents import observed
from stillhouse_service.settings import Settings
from stillhouse_service.states import StageState, StudyState, TrialState
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tables import StudyRow, TrialRow

DRIVER = "driver"
_NO_WORKER = "no live worker offers "  # how the watchdog's reasons begin
_NO_COMPUTE = "nothing can be compressed: "


@dataclass(frozen=True)
class _Standing:
    """A study as read in one transaction."""

    state: StudyState
    spec: Mapping[str, Any]
    network: tuple[str, str]  # model and data set
    search: Mapping[str, Any]
    n_trials: int
    n_open: int
    is_ending: bool  # its incumbent is being measured again, or on the test split
    history: Sequence[Observation]
    pending: Sequence[Mapping[str, Any]]

    @property
    def n_wanted(self) -> int:
        """How many trials may be started now."""
        if self.is_ending:
            return 0
        n_left = int(self.spec["budget"]["trials"]) - self.n_trials
        return max(0, min(int(self.spec["parallel"]) - self.n_open, n_left))


class Steps:
    """Takes one study one step further, as often as it is asked to."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def advance(self, study_id: str, compute_problem: str | None = None) -> None:
        """Do whatever the study needs next, if anything.

        Args:
            study_id: A study that has not ended.
            compute_problem: Why nothing can be compressed now; none: it can.
        """
        self._say_why_it_waits(study_id, compute_problem)
        standing = self._read(study_id)
        if standing.state != StudyState.RUNNING or self._pause_if_failing(study_id):
            return
        if standing.n_wanted:
            try:
                self._propose(study_id, standing)
            except SpaceExhausted as end:
                if standing.n_open == 0:
                    self._finish(study_id, f"all {end.n_configs} configs of the space were tried")
        elif standing.n_open == 0:
            self._finish(study_id, f"all {standing.spec['budget']['trials']} trials are finished")

    def _read(self, study_id: str) -> _Standing:
        with self._store.read() as view:
            study = view.studies.named(study_id)
            running = view.trials.open_of(study_id)
            n_trials = view.trials.n_of(study_id)
            n_left = int(study.spec["budget"]["trials"]) - n_trials
            is_ending = bool(view.stages.of_study(study_id, incumbents.CONFIRM))
            is_asking = study.state == StudyState.RUNNING and n_left > 0 and not is_ending
            # The whole history is read only when a proposal will be made from it.
            is_asking = is_asking and len(running) < int(study.spec["parallel"])
            told = view.trials.told_of(study_id) if is_asking else []
            baseline = view.baselines.named(study.baseline_id)
            return _Standing(
                state=study.state,
                spec=study.spec,
                network=(baseline.model, baseline.dataset),
                search=study.problem,
                n_trials=n_trials,
                n_open=len(running),
                is_ending=is_ending,
                history=[observed(trial) for trial in told],
                pending=[trial.config for trial in running],
            )

    def _propose(self, study_id: str, standing: _Standing) -> None:
        """Ask the optimizer, outside of any transaction, and start what it proposes."""
        texts = standing.spec["template"], standing.spec["training"]
        proposals = propose(
            Problem.from_mapping(search_problem(standing.spec, standing.search)),
            standing.history,
            standing.pending,
            seed=int(standing.spec["seed"]),
            n=standing.n_wanted,
            cheap_features=built_network(*texts, *standing.network),
        )
        template = _template(*texts)
        with self._store.begin() as work:
            study = work.studies.named(study_id)
            is_as_read = work.trials.n_of(study_id) == standing.n_trials
            if study.state != StudyState.RUNNING or not is_as_read:
                return  # cancelled or paused while the optimizer thought
            for i, proposal in enumerate(proposals):
                _start_trial(work, study, standing.n_trials + i, proposal, template)

    def _pause_if_failing(self, study_id: str) -> bool:
        """Pause a study whose last trials all came to nothing."""
        n = self._settings.n_failures_to_pause
        with self._store.read() as view:
            study = view.studies.named(study_id)
            last = view.trials.last_told(study_id, study.failures_from, n)
        if len(last) < n or any(trial.state == TrialState.COMPLETE for trial in last):
            return False
        causes = Counter(str((trial.failure or {}).get("class", "unknown")) for trial in last)
        cause, n_times = causes.most_common(1)[0]
        example = next(t for t in last if (t.failure or {}).get("class", "unknown") == cause)
        reason = (
            f"the last {n} trials all failed, {n_times} of them as {cause!r} (trial "
            f"{example.number}: {(example.failure or {}).get('reason')}): mend the cause, then "
            "resume the study, or cancel it"
        )
        with self._store.begin() as work:
            study = work.studies.named(study_id)
            if study.state == StudyState.RUNNING:
                study.reason = reason
                work.move(study, StudyState.PAUSED, DRIVER, reason)
        return True

    def _finish(self, study_id: str, reason: str) -> None:
        """End a study whose trials are all told, one step at a time.

        Its incumbent's latency is measured again, which may bring another one up; the last one is
        measured on the test split.
        """
        with self._store.read() as view:
            if view.stages.open_of_study(study_id):
                return  # under way; its result leads on
        with self._store.begin() as work:
            study = work.studies.named(study_id)
            if study.state != StudyState.RUNNING:
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
                work.move(study, StudyState.FINISHED, DRIVER, study.reason)
            else:
                trial = work.trials.named(study.incumbent_id)
                order = {"split": "test", **order}
                outcomes.new_stage(work, "final", order=order, trial=trial, device=device)

    def _say_why_it_waits(self, study_id: str, compute_problem: str | None) -> None:
        """Keep the study's reason true to whether its waiting stages can be done at all."""
        with self._store.read() as view:
            study = view.studies.named(study_id)
            device = str(study.spec["device"])
            waiting = {
                stage.lane: stage.device
                for stage in view.stages.open_of_study(study_id)
                if stage.state == StageState.WAITING
            }
            device = waiting.get("device") or device
            reason = None
            if "device" in waiting:
                reason = self._missing(device, view.devices.last_seen(device), view.now)
            if reason is None and "compute" in waiting and compute_problem is not None:
                reason = f"{_NO_COMPUTE}{compute_problem}"
            is_ours = study.reason is None or study.reason.startswith((_NO_WORKER, _NO_COMPUTE))
            if not is_ours or study.reason == reason:
                return
        with self._store.begin() as work:
            work.studies.named(study_id).reason = reason

    def _missing(self, device: str, seen: datetime | None, now: datetime) -> str | None:
        """Say that no live host offers a device; none: one does."""
        if seen is None:
            return (
                f"{_NO_WORKER}{device}, and none ever has: start one with "
                f"`stillhouse-worker --server URL --device {_host_of(device)}`"
            )
        if now - seen < timedelta(seconds=self._settings.device_ttl_s):
            return None
        return f"{_NO_WORKER}{device} since {seen:%Y-%m-%dT%H:%M:%SZ}"


def _host_of(device: str) -> str:
    """Say what a worker has to serve to offer this; the stick's compiler comes with its runtime."""
    if device.startswith(COMPILES):
        return "CPU` with OpenVINO 2021.4.2 (docs/devices.md), or with `--device MYRIAD"
    return device


@lru_cache(maxsize=64)
def _template(template_yaml: str, training_yaml: str) -> Template:
    """Read a stored template; it was checked when the study was made."""
    return parse_template(template_yaml, training_yaml)


def _start_trial(
    work: UnitOfWork, study: StudyRow, number: int, proposal: Proposal, template: Template
) -> None:
    """Add a trial and its first stage."""
    trial = TrialRow(
        id=new_id("trl"),
        study_id=study.id,
        number=number,
        state=TrialState.QUEUED,
        config=dict(proposal.config),
        origin=proposal.origin,
        prediction=dict(proposal.prediction),
        seed=trial_seed(int(study.spec["seed"]), number),
        metrics=None,
        is_feasible=None,
        violations={},
        failure=None,
        progress={},
        artifacts={},
        details={},
        created_at=work.now,
        started_at=None,
        finished_at=None,
    )
    work.trials.add(trial)
    work.created(trial, DRIVER, reason=proposal.origin)
    baseline = work.baselines.named(study.baseline_id)
    try:
        # Patterns of names are written out: the schedule that is kept says what it did.
        rendered = template.render(
            proposal.config, parameter_shapes(baseline.model, baseline.dataset)
        )
    except TemplateErrors as error:
        failure = Failure("render", "internal", str(error))
        trial.failure = failure.to_json()
        work.move(trial, TrialState.FAILED, DRIVER, failure.reason)
        return
    order = {
        "model": baseline.model,
        "dataset": baseline.dataset,
        "weights": baseline.artifacts["weights"],
        "schedule": rendered.schedule,
        "training": rendered.training,
        "seed": trial.seed,
        "engine": study.spec["engine"],
    }
    outcomes.new_stage(work, "compress", order=order, trial=trial)
