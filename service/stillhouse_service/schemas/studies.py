"""Studies.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from stillhouse_service.schemas.parts import Out
from stillhouse_service.schemas.specs import StudySpec
from stillhouse_service.states import StudyState


class Incumbent(Out):
    """The best feasible trial so far."""

    model_config = ConfigDict(extra="allow", frozen=True)  # and every metric of the trial

    trial_id: str
    number: int
    is_certain: bool = Field(
        description="whether the limits hold at the unfavourable ends of its intervals too"
    )
    is_confirmed: bool = Field(description="whether its latency was measured again")


class Saved(Out):
    """What a study has not had to compute."""

    n_twins: int = Field(description="trials with the result of another that came to the same")
    n_not_trained: int = Field(description="trials whose untrained network was too slow to win")
    n_ended_early: int = Field(description="trainings that could not reach the limit any more")
    compute_s: float = Field(description="seconds of compute that all of these would have taken")


class Study(Out):
    """A study and where it stands."""

    id: str
    name: str
    state: StudyState
    reason: str | None = Field(description="why it ended, or why it does not move")
    spec: StudySpec
    parameters: list[dict[str, Any]]
    counts: dict[str, int] = Field(
        description="trials by state, `feasible` ones, and `brought`: imported, foreign, or a "
        "twin's"
    )
    baseline_measurement: dict[str, int | float] | None = Field(
        description="on the device, validation split: `p50_ms`, `p95_ms`, `validation_top1`, ..."
    )
    priority: int = Field(description="its work goes before that of studies with a lower one")
    experiment_id: str | None = Field(
        description="whose listed cases its trials are; null: an optimizer proposes them"
    )
    saved: Saved
    incumbent: Incumbent | None
    final: dict[str, Any] | None = Field(description="the incumbent measured on the test split")
    finalized: dict[str, Any] | None = Field(
        description="the incumbent trained anew at full length, then measured on the test split; "
        "null: nobody has asked for it"
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    eta_s: float | None = Field(description="rough time left, from the trials so far")


class Studies(Out):
    """A page of studies, newest first."""

    items: list[Study]
    next_page_token: str | None = None
