"""What a study learns from others, as the HTTP contract has it.

Depends on: pydantic.
"""

from __future__ import annotations

from pydantic import Field

from stillhouse_service.schemas.parts import Out

Weights = dict[str, float]


class TransferSource(Out):
    """An earlier study, and how much it counts now."""

    study_id: str
    name: str
    n_trials: int
    n_within: int | None = Field(
        description="trials that lie within this study's space; null before its baseline is "
        "measured"
    )
    shared: list[str] = Field(description="parameters that both have")
    only_here: list[str] = Field(
        description="parameters of this study alone: its default stands for them"
    )
    weights: Weights = Field(
        description="metric -> its share in the last proposal, 0..1; empty before a model proposed"
    )
    agreement: Weights = Field(
        description="metric -> Kendall's rank correlation, -1..1, of what the source by itself "
        "predicted of the trials before the last proposal with what was measured"
    )


class TransferWeights(Out):
    """How much each source counted when a trial was proposed."""

    number: int
    weights: dict[str, Weights] = Field(description="study -> metric -> share, 0..1")
    agreement: dict[str, Weights] = Field(
        description="study -> metric -> rank correlation, -1..1, see a source's; empty of trials "
        "proposed before it was kept"
    )


class Transfer(Out):
    """What a study learns from; what is left to 1 of every metric is its own trials' share."""

    study_id: str
    sources: list[TransferSource]
    history: list[TransferWeights] = Field(description="proposals of the model, by trial number")
