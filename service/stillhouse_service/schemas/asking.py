"""Ask and tell: trials that are run outside.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stillhouse_service.schemas.parts import In, Out
from stillhouse_service.schemas.trials import Trial

MetricName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
# No metric is larger; a model's squares of what is would overflow.
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e15, le=1e15)]
_LEASE = Field(
    default=3600.0,
    ge=1,
    le=30 * 86_400,
    description="seconds to tell what came of it; then the trial is given to somebody else",
)


class AskIn(In):
    """How many configs are wanted, and for how long."""

    n: int = Field(default=1, ge=1, le=64)
    lease_s: float = _LEASE


class AskedTrial(Out):
    """A trial to run."""

    trial: Trial
    token: str = Field(description="to tell with; who does not hold it cannot")
    expires_at: datetime = Field(description="then somebody else gets it")
    schedule: dict[str, Any] | None = Field(
        description="the plain schedule of its config, where the study has a template"
    )
    training: dict[str, Any] | None = Field(description="the plain fine-tuning settings, likewise")


class Asked(Out):
    """Trials to run, at most as many as were asked for."""

    items: list[AskedTrial]
    reason: str | None = Field(description="why there are no more")


class TellFailure(In):
    """Why a trial has no result."""

    failure_class: Literal["failed", "diverged", "out-of-memory", "unsupported"] = Field(
        default="failed", alias="class", description="`unsupported`: it could never run"
    )
    reason: str = Field(min_length=1, max_length=10_000)


class TellIn(In):
    """What came of a trial: metrics, or a failure."""

    token: str = Field(min_length=1, max_length=200)
    metrics: dict[MetricName, Finite] | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="the objective, every limited metric and what else is worth keeping; "
        "`<metric>_low` and `<metric>_high` are ends of an interval",
        examples=[{"loss": 0.31, "size_bytes": 120000}],
    )
    failure: TellFailure | None = None

    @model_validator(mode="after")
    def _is_one(self) -> TellIn:
        if (self.metrics is None) == (self.failure is None):
            raise ValueError("wanted metrics or a failure, one of them")
        return self


class ExtendIn(In):
    """A trial goes on."""

    token: str = Field(min_length=1, max_length=200)
    lease_s: float = _LEASE
    progress: dict[str, Any] = Field(
        default_factory=dict, max_length=20, description="for who watches: `epoch`, `epochs`, ..."
    )


class Extended(Out):
    """How long an asked trial is its asker's now."""

    expires_at: datetime
    is_cancelled: bool = Field(description="nobody wants its result any more: stop")
