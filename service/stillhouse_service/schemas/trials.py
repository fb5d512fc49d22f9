"""Trials.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from stillhouse_service.schemas.log import Event, Measurement
from stillhouse_service.schemas.parts import In, Out, Scalar
from stillhouse_service.states import TrialState


class TrialIn(In):
    """A trial of the user's own."""

    config: dict[str, Scalar] = Field(description="value of every active parameter")


class TrialFailure(Out):
    """Why a trial has no result."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    stage: str
    failure_class: str = Field(alias="class")
    reason: str
    log: list[str] = Field(default_factory=list, description="the last lines the stage said")


class Trial(Out):
    """One evaluation of one config."""

    id: str
    number: int
    study_id: str
    state: TrialState
    config: dict[str, Scalar]
    origin: str = Field(
        description="`initial`, `model`, `random`, `enqueued` or `listed` by an experiment; "
        "`imported` from a file, "
        "`foreign`: of an earlier study, for the optimizer to learn from, no incumbent ever; "
        "`twin`: it has the result of `twin_of`; "
        "`promoted` from the rung below"
    )
    rung: int | None = Field(description="how far it was trained, from 0; null: there are no rungs")
    promoted_from: str | None = Field(description="id of its config's trial at the rung below")
    twin_of: str | None = Field(
        description="id of the trial whose result it has, as both build the same network and train "
        "it in the same way; null: it was run itself"
    )
    prediction: dict[str, int | float | None]
    seed: int
    metrics: dict[str, int | float | None] | None = Field(
        description="as measured; null: a number that is none was reported"
    )
    is_feasible: bool | None
    violations: dict[str, float | None] = Field(
        description="metric -> by how much it misses its bound; null: it was not measured"
    )
    failure: TrialFailure | None
    progress: dict[str, Any]
    artifacts: dict[str, str] = Field(description="`schedule`, `onnx`, `weights`: sha256")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Trials(Out):
    """A page of trials, in `number` order."""

    items: list[Trial]
    next_page_token: str | None = None


class TrialDetail(Trial):
    """A trial with its layers, events and measurements."""

    why_proposed: str = Field(description="why it was tried, and what the model expected of it")
    layers: list[dict[str, Any]] = Field(
        description="`layer`, `type`, `candidate_ms`, `baseline_ms` of the last measurement"
    )
    sparsity: list[dict[str, Any]] = Field(description="of each layer, from compression")
    survival: list[dict[str, Any]] = Field(
        description="what is left of its weights and answers in each form from torch to the "
        "device: `Stage` of docs/protocol.md"
    )
    latency_from: int | None = Field(
        description="number of the trial that was timed for it, as it built the same network; "
        "null: it was timed itself, or not yet"
    )
    n_images: int | None = Field(
        description="validation images that the device has counted its accuracy on; a low rung may "
        "have fewer than the split. null: none yet"
    )
    probe: dict[str, Any] | None = Field(
        description="what the device measured of the untrained network: `metrics`, and "
        "`contradiction` where the later measurement said another thing; null: it was not probed"
    )
    ended_early: str | None = Field(description="why a `stopped` trial was ended; else null")
    schedule: dict[str, Any] | None = Field(description="the plain schedule that was run")
    training: dict[str, Any] | None = Field(description="the plain fine-tuning settings")
    history: list[dict[str, Any]] = Field(description="epoch by epoch, from compression")
    thinning: list[dict[str, Any]] = Field(description="what was cut out, from compression")
    warnings: list[str]
    transfer: dict[str, dict[str, float]] = Field(
        description="study learned from -> metric -> its share when the trial was proposed"
    )
    log: list[str] = Field(
        description="the last lines its compression said; all of them are the artifact `log`"
    )
    events: list[Event]
    measurements: list[Measurement]
