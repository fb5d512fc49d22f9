"""The research plan from the first stage to the last, on a server: each stage is started once.

Depends on: the client. What an interrupted run has started is found again by its name and gone on
with: the server holds every finished trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from stillhouse import Baseline, Client, Experiment, ProblemError, Study
from stillhouse_service.baseline_choice import choose_baseline
from stillhouse_service.errors import ServiceError
from stillhouse_service.experiment_watch import watch_experiment
from stillhouse_service.report import wording
from stillhouse_service.research_file import ResearchPlan
from stillhouse_service.schemas import StudySpec
from stillhouse_service.schemas.experiments import ExperimentIn
from stillhouse_service.training_line import TrainingLine
from stillhouse_service.watch import watch_study


class ResearchFailed(ServiceError):
    """A stage could not come to its end."""


@dataclass(frozen=True)
class Research:
    """What the stages have left on the server.

    Attributes:
        baseline: The trained network.
        stages: Stage -> experiment; `combine` and `finalize` may be missing.
        study: The search; none where the sweep found nothing to search.
        remarks: Stages that were left out, and why.
    """

    baseline: Baseline
    stages: Mapping[str, Experiment]
    study: Study | None
    remarks: list[str]


def run_research(
    client: Client,
    plan: ResearchPlan,
    console: Console,
    on_poll: Callable[[], None] = lambda: None,
    poll_s: float = 1.0,
) -> Research:
    """Run every stage, or go on with them.

    Args:
        client: The server; a device host offers it the plan's device.
        plan: What is to be found out.
        console: Where to tell.
        on_poll: Called at each look at a running stage; what it raises ends the run.
        poll_s: Seconds between two looks.

    Raises:
        ResearchFailed: A stage failed or was cancelled.
        ProblemError: The plan cannot work.
    """
    return _Run(client, plan, console, on_poll, poll_s).all()


class _Run:
    def __init__(
        self,
        client: Client,
        plan: ResearchPlan,
        console: Console,
        on_poll: Callable[[], None],
        poll_s: float,
    ) -> None:
        self._client, self._plan, self._console = client, plan, console
        self._on_poll, self._poll_s = on_poll, poll_s
        self._stages: dict[str, Experiment] = {}
        self._remarks: list[str] = []

    def all(self) -> Research:
        baseline = self._baseline()
        of = {"baselines": [baseline.id], "devices": [self._plan.device]}
        self._stage("verify", of)
        self._stage("baseline", of)
        own = {"training": dict(self._plan.training), "cases": self._plan.cases}
        sweep = self._stage("sweep", {**of, **own, "grid": self._plan.grid})
        study = None
        if sweep is not None:
            training = {"training": dict(self._plan.training)}
            self._stage("combine", {"sweep": sweep.id, **training}, may_be_refused=True)
            study = self._study(baseline, sweep)
        if study is not None:
            study = self._finalize(study)
        return Research(baseline, self._stages, study, self._remarks)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _baseline(self) -> Baseline:
        line = TrainingLine(self._console)

        def on_change(baseline: Baseline) -> None:
            self._on_poll()
            line.tell(baseline)

        baseline = choose_baseline(self._client, self._plan.baseline, on_change)
        line.tell(baseline)
        return baseline

    def _stage(
        self, stage: str, spec: Mapping[str, Any], may_be_refused: bool = False
    ) -> Experiment | None:
        wanted = {"stage": stage, "name": self._plan.name, **self._plan.shared, **spec}
        if stage in ("verify", "baseline"):
            wanted["constraints"] = []  # nothing is chosen there
        found = self._found(wanted)
        if found is None:
            try:
                planned = self._client.experiments.plan(wanted)
                self._say(
                    f"\n{stage}: {planned['n_trials']} trials, about "
                    f"{wording.duration(planned['estimate_s'])} one after another"
                )
                found = self._client.experiments.create(wanted)
            except ProblemError as error:
                if not may_be_refused:
                    raise
                self._remarks.append(f"{stage}: left out: {error}")
                self._say(self._remarks[-1])
                return None
        else:
            self._say(f"\n{stage}: going on with {found.id}, {found.n_ended} trials have ended")
        for note in found.notes:
            self._say(f"  {note}")
        ended = self._watched(stage, found)
        self._stages[stage] = ended
        return ended

    def _found(self, wanted: Mapping[str, Any]) -> Experiment | None:
        """Give what an earlier run has started of just this and not been denied."""
        spec = ExperimentIn.model_validate(wanted).model_dump()
        # A combination's are its sweep's: the server writes them in.
        same = {key: one for key, one in spec.items() if one or key not in ("baselines", "devices")}
        return next(
            (
                one
                for one in self._client.experiments.list()
                if one.stage == spec["stage"]
                and one.state not in ("cancelled", "failed")
                and all(one.spec.get(key) == value for key, value in same.items())
            ),
            None,
        )

    def _watched(self, stage: str, found: Experiment) -> Experiment:
        if found.state == "paused":
            found = self._client.experiments.resume(found.id)
        ended = watch_experiment(self._client, found.id, self._console, self._poll_s, self._on_poll)
        if ended.state != "finished":
            reasons = "; ".join(str(one["reason"]) for one in ended.studies if one["reason"])
            raise ResearchFailed(
                f"{stage} {ended.id} is {ended.state}: {reasons or 'no reason was kept'}; run "
                "again to go on"
            )
        return ended

    def _study(self, baseline: Baseline, sweep: Experiment) -> Study | None:
        try:
            written = self._client.experiments.template(sweep.id)
        except ProblemError as error:
            self._remarks.append(f"study: left out: {error}")
            self._say(self._remarks[-1])
            return None
        spec = {
            "name": self._plan.name,
            "baseline": baseline.id,
            "device": self._plan.device,
            "template": written["template"],
            "training": written["training"],
            **self._plan.shared,
            **self._plan.study,
        }
        same = StudySpec.model_validate(spec).model_dump()
        found = next(
            (
                one
                for one in self._client.studies.list()
                if one.state not in ("cancelled", "rejected", "failed")
                and StudySpec.model_validate(one.spec).model_dump() == same
            ),
            None,
        )
        if found is None:
            found = self._client.studies.create(spec)
        elif found.state == "paused":
            found = self._client.studies.resume(found.id)
        self._say(f"\nstudy {found.id}: {found.spec['budget']['trials']} trials")
        ended = watch_study(self._client, found.id, self._console, self._poll_s, self._on_poll)
        if ended.state != "finished":
            raise ResearchFailed(f"study {ended.id} is {ended.state}: {ended.reason}")
        return ended

    def _finalize(self, study: Study) -> Study:
        if study.incumbent is None:
            self._remarks.append("finalize: left out: no trial of the study kept its limits")
            self._say(self._remarks[-1])
            return study
        known = study.json["finalized"]
        if known is None or known["state"] in ("cancelled", "rejected", "failed"):
            made = self._client.studies.finalize(study.id, self._plan.finalize)
        else:
            made = self._client.experiments.get(known["experiment_id"])
        self._say("\nfinalize: the winner at full length, on the test split")
        self._stages["finalize"] = self._watched("finalize", made)
        return self._client.studies.get(study.id)
