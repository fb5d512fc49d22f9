"""The front of several objectives as the HTTP contract has it.

Depends on: pydantic.
"""

from __future__ import annotations

from pydantic import Field

from stillhouse_service.schemas.parts import Out


class FrontPoint(Out):
    """A measured trial as it stands against the others."""

    trial_id: str
    number: int
    values: dict[str, float] = Field(description="objective -> what was measured")
    is_feasible: bool = Field(description="its measured values keep the limits")
    is_certain: bool = Field(
        description="they keep them at the unfavourable ends of their intervals too"
    )
    is_dominated: bool = Field(
        description="a feasible trial is no worse in any objective and better in one; of one that "
        "breaks a limit always true"
    )


class Volume(Out):
    """What the front had come to when a trial had ended."""

    number: int
    hypervolume: float


class Front(Out):
    """Which trials no other beats in all objectives, by measured values within the limits."""

    study_id: str
    objectives: list[str]
    reference: dict[str, float] = Field(
        description="objective -> where the volume is measured from; known before the first trial"
    )
    n_on_front: int
    points: list[FrontPoint] = Field(
        description="the front first, the best of the first objective leading, then the other "
        "measured trials by number"
    )
    hypervolume: list[Volume] = Field(
        description="after each ended trial, by number, in the product of the objectives' units"
    )
    constant: list[str] = Field(
        description="objectives that are the same in every feasible trial, and so order none"
    )
