"""When a study has had enough, and why.

Depends on: the standard library, spec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.parameter import read_number
from stillhouse_optimizer.spec import Proposal

_FIELDS = ("trials", "wall_s", "compute_s", "min_gain")


@dataclass(frozen=True)
class Budget:
    """What a study may spend; None is no limit.

    Attributes:
        trials: Finished trials.
        wall_s: Seconds since the study started.
        compute_s: Seconds of compression and training, summed over workers.
        min_gain: Stop when the next proposal promises less than this fraction of the objective.
    """

    trials: int | None = None
    wall_s: float | None = None
    compute_s: float | None = None
    min_gain: float | None = None

    @classmethod
    def from_mapping(cls, data: object, where: str = "budget") -> Budget:
        """Read the JSON form.

        Raises:
            ProblemError: starts with the path of the field that is wrong.
        """
        if not isinstance(data, Mapping):
            raise ProblemError(where, f"wanted an object, got {type(data).__name__}")
        values: dict[str, float] = {}
        for key, value in data.items():
            if key not in _FIELDS:
                known = ", ".join(_FIELDS)
                raise ProblemError(f"{where}.{key}", f"unknown field; there are {known}")
            if value is None:
                continue
            values[key] = read_number(value, f"{where}.{key}", whole=key == "trials")
            if values[key] <= 0:
                raise ProblemError(f"{where}.{key}", f"must be above 0, got {value}")
        trials = values.get("trials")
        return cls(
            None if trials is None else int(trials),
            values.get("wall_s"),
            values.get("compute_s"),
            values.get("min_gain"),
        )


def stop_reason(
    budget: Budget,
    n_finished: int,
    wall_s: float,
    compute_s: float,
    proposal: Proposal | None = None,
) -> str | None:
    """Say why a study should stop, or None when it should go on.

    Args:
        budget: Its limits.
        n_finished: Trials that are complete, failed or unsupported.
        wall_s: Seconds since the study started.
        compute_s: Seconds of compute spent.
        proposal: The next one; what it promises is only judged when a model proposed it and some
            trial is feasible. For an objective modelled on a log scale expected improvement is a
            relative gain already, so this is meant for latencies and ratios.

    Returns:
        One plain sentence without a full stop.
    """
    if budget.trials is not None and n_finished >= budget.trials:
        return f"all {budget.trials} trials are finished"
    if budget.wall_s is not None and wall_s >= budget.wall_s:
        return f"{wall_s:.0f} s have passed, {budget.wall_s:.0f} s were allowed"
    if budget.compute_s is not None and compute_s >= budget.compute_s:
        return f"{compute_s:.0f} s of compute are used, {budget.compute_s:.0f} s were allowed"
    if budget.min_gain is None or proposal is None:
        return None
    gain = promised_gain(proposal.prediction)
    if gain is None:
        return None
    if gain >= budget.min_gain:
        return None
    return f"the best next trial promises {gain:.2%} on average, less than {budget.min_gain:.2%}"


def promised_gain(prediction: Mapping[str, float]) -> float | None:
    """What a proposal promises on average: a fraction of the objective, or of the hypervolume.

    Args:
        prediction: ``Proposal.prediction``.

    Returns:
        None where no model proposed it, or no trial was feasible yet.
    """
    p_feasible = prediction.get("p_feasible", 1.0)
    if "log_ei" in prediction:
        return math.exp(prediction["log_ei"]) * p_feasible
    if prediction.get("hypervolume", 0.0) > 0.0:
        return math.exp(prediction["log_ehvi"]) / prediction["hypervolume"] * p_feasible
    return None
