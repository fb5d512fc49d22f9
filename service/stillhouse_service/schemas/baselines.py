"""Baselines.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from stillhouse_service.schemas.parts import In, Out, Resources
from stillhouse_service.states import BaselineState


class BaselineIn(In):
    """A network to train; studies compress it and compare with it."""

    model: str = Field(examples=["resnet20_cifar"])
    dataset: str = Field(examples=["digits"])
    recipe: dict[str, Any] = Field(default_factory=dict, examples=[{"epochs": 8, "lr": 0.1}])
    seed: int = Field(default=0, ge=0, lt=2**31)
    resources: Resources = Field(default_factory=dict)


class Baseline(Out):
    """A trained network, or one on its way."""

    id: str
    model: str
    dataset: str
    recipe: dict[str, Any]
    seed: int
    state: BaselineState
    progress: dict[str, Any]
    metrics: dict[str, int | float] = Field(
        description="`validation_top1`, `test_top1` (fractions), `params`, `macs`, `onnx_bytes`"
    )
    error: str | None
    artifacts: dict[str, str] = Field(description="`weights`, `onnx`: sha256")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Baselines(Out):
    """A page of baselines, newest first."""

    items: list[Baseline]
    next_page_token: str | None = None
