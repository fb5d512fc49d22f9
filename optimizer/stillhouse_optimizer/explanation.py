"""What a study has taught: importance for every metric, and what made its best trial good.

Depends on: the importance of one metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse_optimizer.basis import spans
from stillhouse_optimizer.importance import Groups, Importance, ParameterImportance, importance
from stillhouse_optimizer.incumbent import incumbent
from stillhouse_optimizer.local import Ablation, LocalImportance, ablate, local_importance
from stillhouse_optimizer.space import Space
from stillhouse_optimizer.spec import Observation, Problem, is_maximised


@dataclass(frozen=True)
class Explanation:
    """Everything the forests say.

    Attributes:
        metrics: The objective first, then every limited metric.
        incumbent: Place of the best trial in the history; None where none meets the limits.
        local: For each metric with a ranking what its parameters do around that trial.
        ablation: The way from the default to that trial; None without it or without a ranking of
            the objective.
        note: Why there is no ablation, in a plain sentence; None where there is one.
    """

    metrics: Mapping[str, Importance]
    incumbent: int | None
    local: Mapping[str, tuple[LocalImportance, ...]]
    ablation: Ablation | None
    note: str | None

    def to_json(self, numbers: Sequence[int] | None = None) -> dict[str, Any]:
        """``metrics``, ``incumbent`` and ``ablation`` of docs/reports.md's Importance; no NaN.

        Args:
            numbers: Number of each trial of the history, ascending; without, its place.
        """

        def told(indices: Sequence[int]) -> list[list[int]]:
            return spans(indices if numbers is None else [numbers[i] for i in indices])

        best = self.incumbent
        return {
            "metrics": {
                metric: {
                    "n_trials": one.n_trials,
                    "n_left_out": one.n_left_out,
                    "trials": told(one.used),
                    "left_out": [
                        {"why": out.why, "n_trials": len(out.indices), "trials": told(out.indices)}
                        for out in one.left_out
                    ],
                    "r2_oob": one.r2_oob,
                    "verdict": one.verdict,
                    "explanation": one.explanation,
                    "parameters": [_parameter(p) for p in one.parameters],
                    "pairs": [{"names": [a, b], "importance": share} for a, b, share in one.pairs],
                    "groups": [
                        {
                            "kind": group.kind,
                            "name": group.name,
                            "parameters": list(group.parameters),
                            "importance": group.importance,
                            "importance_low": group.low,
                            "importance_high": group.high,
                        }
                        for group in one.groups
                    ],
                    "local": [_local(turn) for turn in self.local.get(metric, ())],
                }
                for metric, one in self.metrics.items()
            },
            "incumbent": None if best is None else numbers[best] if numbers else best,
            "ablation": None if self.ablation is None else _ablation(self.ablation),
            "ablation_note": self.note,
        }


def explain(
    problem: Problem,
    history: Sequence[Observation],
    seed: int,
    metrics: Sequence[str] | None = None,
    groups: Groups | None = None,
    best: int | None = None,
) -> Explanation:
    """Explain each objective and every limited metric, and the best trial of the first one.

    Args:
        problem: Whose parameters and limits.
        history: Finished trials.
        seed: Of the forests.
        metrics: Names; without, each objective and every limited metric.
        groups: As for ``importance``.
        best: Place of the best trial in the history; None chooses it (``incumbent``).

    Raises:
        ProblemError: the space makes no sense.
    """
    names = metrics or [*problem.objectives, *(c.metric for c in problem.constraints)]
    found = {m: importance(problem, history, m, seed, groups=groups) for m in dict.fromkeys(names)}
    if best is None and (chosen := incumbent(problem, history)) is not None:
        best = chosen.index
    if best is None:
        note = "No trial meets the limits, so there is no best one to look at."
        return Explanation(found, None, {}, None, note)
    space = Space(problem)
    row = space.encode(history[best].config)
    groves = {metric: one.grove for metric, one in found.items() if one.grove is not None}
    local = {metric: local_importance(space, grove, row) for metric, grove in groves.items()}
    if problem.objective not in groves:
        note = (
            f"There is not enough data on {problem.objective} to say what made the best trial good."
        )
        return Explanation(found, best, local, None, note)
    maximised = is_maximised(problem.objective)
    ablation = ablate(space, groves, problem.objective, maximised, row)
    if not ablation.steps:
        return Explanation(found, best, local, None, "The best trial is the default itself.")
    return Explanation(found, best, local, ablation, None)


def _parameter(p: ParameterImportance) -> dict[str, Any]:
    return {
        "name": p.name,
        "importance": p.importance,
        "importance_low": p.low,
        "importance_high": p.high,
        "direction": p.direction,
        "strength": p.strength,
        "recommendation": p.recommendation.text,
        "recommended": list(p.recommendation.values),
        "recommended_by": p.recommendation.n_trials,
        "rank_correlation": p.rank_correlation,
        "active_share": p.active_share,
        "active_importance": p.active_importance,
        "curve": {"x": list(p.curve.x), "mean": list(p.curve.mean), "sd": list(p.curve.sd)},
    }


def _local(turn: LocalImportance) -> dict[str, Any]:
    return {
        "name": turn.name,
        "value": turn.value,
        "importance": turn.importance,
        "low": turn.low,
        "high": turn.high,
        "at_low": turn.at_low,
        "at_high": turn.at_high,
    }


def _ablation(ablation: Ablation) -> dict[str, Any]:
    return {
        "start": dict(ablation.start),
        "steps": [
            {
                "changes": [{"name": n, "from": old, "to": new} for n, old, new in step.changes],
                "metrics": dict(step.metrics),
            }
            for step in ablation.steps
        ],
    }
