"""The HTTP contract of importance, as docs/reports.md explains it.

Depends on: pydantic.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse_service.schemas.parts import Out, Scalar

Value = Scalar | None
Spans = list[tuple[int, int]]


class LeftOut(Out):
    """Trials that had no say."""

    why: str
    n_trials: int
    trials: Spans = Field(description="numbers, as [first, last] of each unbroken stretch")


class MarginalCurve(Out):
    """A metric over one parameter, all others averaged out where it is active."""

    x: list[Value] = Field(description="values on the parameter's own scale")
    mean: list[float]
    sd: list[float] = Field(description="between the forest's trees")


class ParameterImportance(Out):
    """One parameter's share of a metric's variance."""

    name: str
    importance: float = Field(description="share of the variance that it explains alone, 0..1")
    importance_low: float = Field(description="lower end of the 90 % bootstrap interval")
    importance_high: float
    direction: Literal["up", "down", "peaked", "valley", "none"]
    strength: float = Field(description="how plainly it goes that way, 0..1")
    recommendation: str
    recommended: list[Value] = Field(
        description="least and largest value to use; empty where no trial meets the limits"
    )
    recommended_by: int = Field(description="trials within the limits that it stands on")
    rank_correlation: float | None = Field(description="Spearman's; null for a choice")
    active_share: float = Field(description="share of the trials in which it is active")
    active_importance: float | None = Field(
        description="share of the variance where it is active; null where it always is"
    )
    curve: MarginalCurve


class PairImportance(Out):
    """What two parameters do only together."""

    names: tuple[str, str]
    importance: float


class GroupImportance(Out):
    """What several parameters explain: alone and with one another."""

    kind: str = Field(description="`part`, `algorithm`, `stage` or `layer`")
    name: str
    parameters: list[str]
    importance: float
    importance_low: float
    importance_high: float


class LocalImportance(Out):
    """What one parameter does when it alone is turned, from the best trial on."""

    name: str
    value: Value = Field(description="in the best trial")
    importance: float = Field(description="share of the variance that all such turns make")
    low: float = Field(description="least expected value of the metric on its range")
    high: float
    at_low: Value
    at_high: Value


class MetricImportance(Out):
    """Which parameters explain one metric."""

    n_trials: int
    n_left_out: int
    trials: Spans = Field(description="numbers of the trials it stands on")
    left_out: list[LeftOut]
    r2_oob: float | None = Field(description="fit of the forest on trials it has not seen")
    verdict: Literal["enough", "care", "not_enough"]
    explanation: str
    parameters: list[ParameterImportance] = Field(
        description="most important first; empty when the verdict is `not_enough`"
    )
    pairs: list[PairImportance]
    groups: list[GroupImportance]
    local: list[LocalImportance] = Field(description="around the best trial")


class Change(Out):
    """One parameter's change."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    name: str
    before: Value = Field(alias="from")
    after: Value = Field(alias="to")


class AblationStep(Out):
    """One step from the default to the best trial."""

    changes: list[Change]
    metrics: dict[str, float] = Field(description="what the forests expect after it")


class Ablation(Out):
    """The way from the default to the best trial, the change that helps most first."""

    start: dict[str, float] = Field(description="what the forests expect of the default")
    steps: list[AblationStep]


class Importance(Out):
    """Which parameters mattered, metric by metric, and what made the best trial good."""

    study_id: str
    n_trials: int = Field(description="trials that have ended by themselves")
    metrics: dict[str, MetricImportance]
    incumbent: int | None = Field(description="number of the best trial")
    ablation: Ablation | None
    ablation_note: str | None = Field(description="why there is none")
