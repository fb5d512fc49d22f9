"""Trials that were run elsewhere, brought into a study.

Depends on: pydantic.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from stillhouse_service.schemas.parts import In, Out, Scalar

MOST_TRIALS = 10_000


class ImportedTrial(In):
    """A trial that was run elsewhere."""

    config: dict[str, Scalar] = Field(description="value of every active parameter")
    # Checked by us and not by the schema, so that one answer names every problem of a file.
    metrics: dict[str, Any] = Field(
        default_factory=dict, description="numbers: the objective, every limited metric, others"
    )
    state: Literal["complete", "failed", "unsupported"] = "complete"


class ImportIn(In):
    """Trials to bring into a study, as JSON or as a table; all of them or none."""

    trials: list[ImportedTrial] | None = Field(default=None, min_length=1, max_length=MOST_TRIALS)
    csv: str | None = Field(
        default=None,
        max_length=10_000_000,
        description="a table with a header: columns named after parameters and metrics, and "
        "`state` if some failed; an empty cell is an inactive parameter, or no value",
    )

    @model_validator(mode="after")
    def _is_one(self) -> ImportIn:
        if (self.trials is None) == (self.csv is None):
            raise ValueError("wanted trials or csv, one of them")
        return self


class Imported(Out):
    """What was brought into a study."""

    n: int
    trial_ids: list[str]
