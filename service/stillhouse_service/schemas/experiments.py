"""Experiments as the HTTP contract has them: what comes in and what goes out.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from stillhouse_service.schemas.parts import MAX_TEXT, In, Out
from stillhouse_service.schemas.specs import TimingIn

Stage = Literal["verify", "baseline", "sweep", "combine", "finalize"]


class EntryIn(In):
    """One line of a sweep's plan: an algorithm, on which layers, how strongly."""

    algorithm: str = Field(examples=["filters_l1"])
    layers: list[str] = Field(
        default=["all", "stage"],
        min_length=1,
        description="`all`, `stage` and `layer` (each of them in turn), or names of single ones",
    )
    levels: list[float] | None = Field(
        default=None, min_length=1, description="of its parameter; null: the preselected ones"
    )


class CaseIn(In):
    """A trial of the user's own in a sweep."""

    name: str = Field(min_length=1, max_length=200)
    schedule: str = Field(max_length=MAX_TEXT, description="plain schedule, YAML text")
    training: dict[str, Any] = Field(default_factory=dict)
    domain: str = Field(default="mixed", max_length=50)
    level: float | None = None


class ExperimentIn(In):
    """One stage of the research plan, on every baseline and device that it names."""

    stage: Literal["verify", "baseline", "sweep", "combine"]
    name: str = Field(min_length=1, max_length=200)
    baselines: list[str] = Field(
        default_factory=list, max_length=64, description="ids; a combination takes its sweep's"
    )
    devices: list[str] = Field(
        default_factory=list,
        max_length=64,
        description="kinds or ids; a combination takes its sweep's",
    )
    grid: list[EntryIn] | None = Field(
        default=None, max_length=200, description="a sweep's plan; null: every algorithm"
    )
    cases: list[CaseIn] = Field(default_factory=list, max_length=1000)
    sweep: str | None = Field(default=None, description="id of the sweep that is combined")
    training: dict[str, Any] | None = Field(
        default=None, description="plain fine-tuning settings of every trial"
    )
    constraints: list[str] = Field(default_factory=list, examples=[["top1_drop <= 0.02"]])
    parallel: int = Field(default=1, ge=1, le=64, description="trials of a study under way at once")
    seed: int = Field(default=0, ge=0, lt=2**31)
    timing: TimingIn = TimingIn()


class FinalizeIn(In):
    """How a study's winner is trained at full length; what is left out is the server's choice."""

    training: dict[str, Any] = Field(default_factory=dict)
    seed: int | None = Field(
        default=None, ge=0, lt=2**31, description="null: another than any of the study's"
    )
    trial: str | None = Field(
        default=None,
        max_length=200,
        description="id of a trial that keeps the limits, such as one of the front; null: the "
        "study's incumbent",
    )


class ExperimentStudy(Out):
    """What an experiment runs on one baseline and one device."""

    id: str
    baseline: str
    model: str
    dataset: str
    device: str
    state: str
    reason: str | None
    counts: dict[str, int]


class Experiment(Out):
    """An experiment and where it stands."""

    id: str
    stage: Stage
    name: str
    state: Literal["running", "paused", "finished", "cancelled", "failed"] = Field(
        description="`failed`: a study of it was rejected or failed; the others have gone on"
    )
    subject: str | None = Field(description="the sweep combined, or the study finalised")
    spec: dict[str, Any]
    notes: list[str] = Field(description="what was decided while it was laid out")
    n_trials: int
    counts: dict[str, int] = Field(description="trials by state, over all its studies")
    studies: list[ExperimentStudy]
    created_at: datetime
    eta_s: float | None = Field(description="rough time left")


class Experiments(Out):
    """A page of experiments, newest first."""

    items: list[Experiment]
    next_page_token: str | None = None


class PlannedTrial(Out):
    """A trial as it would be."""

    baseline: str
    device: str
    case: str
    algorithm: str
    domain: str
    layers: str
    level: float | None
    estimate_s: float


class Plan(Out):
    """What an experiment would do."""

    n_trials: int
    estimate_s: float = Field(
        description="all trials one after another: training by the baseline's own, timing by the "
        "device's last jobs or the settings"
    )
    notes: list[str]
    trials: list[PlannedTrial]
