"""What several objectives have come to, as the client shows it.

Depends on: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stillhouse.shapes import Json, Shape


@dataclass(frozen=True, kw_only=True)
class Front(Shape):
    """Which trials of a study no other beats in all objectives.

    Attributes:
        objectives: Their metrics.
        reference: Objective -> the value that the hypervolume is measured from.
        hypervolume: `number` and `hypervolume` after each ended trial.
        constant: Objectives that are the same in every feasible trial.
    """

    study_id: str
    objectives: Sequence[str]
    reference: Mapping[str, float]
    hypervolume: Sequence[Json]
    constant: Sequence[str]

    @property
    def points(self) -> Sequence[Json]:
        """The front, the best of the first objective first.

        Each has `trial_id`, `number`, `values` and `is_certain`; `json["points"]` has the other
        measured trials as well.
        """
        return [point for point in self.json["points"] if not point["is_dominated"]]
