"""What a page draws of a study, and what compute and devices do now.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from stillhouse_service.schemas.devices import DeviceInfo
from stillhouse_service.schemas.parts import Out, Scalar
from stillhouse_service.states import TrialState

Number = int | float | None


class Limit(Out):
    """A limit as numbers."""

    metric: str
    op: str
    bound: float | None = Field(description="null: relative, and the baseline is not measured yet")


class Point(Out):
    """A trial as a plot shows it."""

    id: str
    number: int
    state: TrialState
    is_feasible: bool | None
    is_certain: bool = Field(
        description="whether it keeps the limits at the unfavourable ends of its intervals too"
    )
    value: Number = Field(description="of the objective")
    low: Number
    high: Number
    limited: Number = Field(description="of the first limited metric, else `top1_drop`")


class Line(Out):
    """A trial as parallel coordinates show it."""

    id: str
    number: int
    is_feasible: bool | None
    value: float
    config: dict[str, Scalar]


class Cause(Out):
    """Trials that failed for one cause."""

    stage: str
    failure_class: str
    n: int
    trial_id: str = Field(description="the last of them")
    number: int
    reason: str
    advice: str


class OpenTrial(Out):
    """A trial under way."""

    id: str
    number: int
    state: TrialState
    progress: dict[str, Any]
    started_at: datetime | None


class StudyView(Out):
    """A study as its page draws it: bounded, however many trials there are."""

    objective: str
    limited: str | None = Field(description="metric of each point's `limited`")
    limits: list[Limit]
    last_event: int = Field(description="number of its last event: a stream goes on from there")
    n_trials: int
    stride: int = Field(
        description="1: every trial is among the points; else every so manieth, the last hundred "
        "and each that was the best"
    )
    points: list[Point]
    best: list[str] = Field(description="ids of those that were the best, the first one first")
    lines: list[Line]
    n_failed: int
    n_failures_read: int = Field(description="so many of the last failures the causes stand on")
    causes: list[Cause] = Field(description="commonest first")
    open: list[OpenTrial]


class SpecProblem(Out):
    """One thing wrong with a spec, and where."""

    path: str
    message: str


class SpecCheck(Out):
    """What is wrong with a study's spec; what it would search, when nothing is."""

    problems: list[SpecProblem]
    parameters: list[dict[str, Any]]
    n_forbidden: int


class WorkNow(Out):
    """Something that is being done."""

    kind: str = Field(description="of the stage: `train`, `compress`, `benchmark`, ...")
    study_id: str | None
    trial_id: str | None
    number: int | None = Field(description="of the trial")
    baseline_id: str | None
    progress: dict[str, Any]
    started_at: datetime


class DeviceWork(DeviceInfo):
    """A device and what it does."""

    now: WorkNow | None
    n_waiting: int = Field(description="jobs that wait and that it may take")
    temperature_c: float | None = Field(description="at the end of its last measurement, if told")
    measured_at: datetime | None
    n_failed_in_a_row: int = Field(
        description="jobs that failed by the device's own fault since its last result"
    )
    last_failure: str | None
    is_suspect: bool = Field(
        description="it failed so often in a row, and has not asked for work since: its host keeps "
        "it in quarantine until it passes a test, or is gone"
    )


class Host(Out):
    """A device host."""

    id: str
    name: str
    version: str
    last_seen_at: datetime
    is_live: bool
    devices: list[DeviceWork]


class Compute(Out):
    """What compresses."""

    mode: Literal["embedded", "none", "cluster"]
    n_waiting: int
    now: list[WorkNow]


class Waiting(Out):
    """Device jobs that wait."""

    device: str = Field(description="kind, name or id that they ask for")
    n: int


class WorkOverview(Out):
    """What compute and the device hosts do now."""

    compute: Compute
    hosts: list[Host]
    waiting: list[Waiting]
