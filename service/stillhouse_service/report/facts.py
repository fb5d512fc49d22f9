"""What a study found, read from the API's JSON: the winner, what it is compared with, what failed.

Depends on: objectives. Report, demo and CLI all read a study through this module.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse_service.objectives import OF_BASELINE

Json = Mapping[str, Any]

_CONSTRAINT = re.compile(r"^\s*(\w+)\s*(<=|>=|<|>)\s*([^\s*]+)\s*(\*\s*baseline)?\s*$")


@dataclass(frozen=True)
class Constraint:
    """A limit that a feasible trial keeps."""

    metric: str
    operator: str
    bound: float


@dataclass(frozen=True)
class Row:
    """One line of the comparison of baseline and winner.

    Attributes:
        metric: What is compared.
        split: `validation` (the trials were chosen on it), `test` (used once, at the end), or
            empty where no images are involved.
        baseline: The baseline's value; None if unknown.
        best: The winner's.
        low: Lower end of the winner's 95 % interval; None if it has none.
        high: Upper end.
    """

    metric: str
    split: str
    baseline: float | None
    best: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Facts:
    """A study, its trials and its baseline, with the questions a report asks of them.

    Attributes:
        study: A Study of docs/api.md.
        trials: Its Trials in `number` order; the winner may come as a Trial with details.
        baseline: Its Baseline.
        front: Its Front, of several objectives.
        transfer: Its Transfer, of one that learns from other studies.
        contradictions: `number` and `reason` of trials whose probe said another latency than their
            measurement.
    """

    study: Json
    trials: Sequence[Json]
    baseline: Json
    front: Json | None = None
    transfer: Json | None = None
    contradictions: Sequence[Json] = ()

    @property
    def complete(self) -> list[Json]:
        """Trials whose objective was measured, as a number."""
        return [
            t
            for t in self.trials
            if t["state"] == "complete" and (t["metrics"] or {}).get(self.objective) is not None
        ]

    @property
    def feasible(self) -> list[Json]:
        """Measured trials that keep every constraint."""
        return [t for t in self.complete if t["is_feasible"]]

    @property
    def infeasible(self) -> list[Json]:
        """Measured trials that break one."""
        return [t for t in self.complete if t["is_feasible"] is False]

    @property
    def failed(self) -> list[Json]:
        """Trials that ended without a measurement, through no wish of the user."""
        return [t for t in self.trials if t["state"] in ("failed", "unsupported")]

    @property
    def is_over(self) -> bool:
        """Whether the study has ended."""
        return self.study["state"] in ("finished", "cancelled", "rejected", "failed")

    @property
    def objective(self) -> str:
        """The metric that is minimised."""
        return str(self.study["spec"].get("objectives", ["latency_ratio"])[0])

    @property
    def constraints(self) -> list[Constraint]:
        """The study's limits, in its own order."""
        found = [_CONSTRAINT.match(text) for text in self.study["spec"].get("constraints", [])]
        measured: Json = self.study.get("baseline_measurement") or {}
        limits = []
        for m in found:
            # A relative one is told as what it means; before the device's check nothing is.
            share = measured.get(OF_BASELINE.get(m[1], "")) if m is not None and m[4] else 1.0
            if m is not None and share is not None:
                limits.append(Constraint(m[1], m[2], float(m[3]) * share))
        return limits

    @property
    def accuracy_constraint(self) -> Constraint | None:
        """The limit on accuracy, if there is one."""
        return next((c for c in self.constraints if c.metric.startswith("top")), None)

    @property
    def share_infeasible(self) -> float | None:
        """Share of measured trials that break a constraint; None if none was measured."""
        return len(self.infeasible) / len(self.complete) if self.complete else None

    @property
    def winner(self) -> Json | None:
        """The best feasible trial; None if there is none."""
        incumbent = self.study["incumbent"]
        if incumbent is None:
            return None
        return next((t for t in self.trials if t["id"] == incumbent["trial_id"]), None)

    @property
    def nearest(self) -> Json | None:
        """Of the infeasible trials the one that misses by the least; None if there is none."""
        return min(
            self.infeasible, key=lambda t: max(t["violations"].values(), default=0.0), default=None
        )

    @property
    def failures_by_cause(self) -> list[tuple[str, str, str, list[int]]]:
        """Stage, class, first reason and trial numbers of each kind of failure, commonest first."""
        causes = Counter(
            (str((t["failure"] or {}).get("stage", "?")), _failure_class(t)) for t in self.failed
        )
        groups = []
        for (stage, kind), _ in causes.most_common():
            of_kind = [
                t
                for t in self.failed
                if str((t["failure"] or {}).get("stage", "?")) == stage
                and _failure_class(t) == kind
            ]
            reason = str((of_kind[0]["failure"] or {}).get("reason", "no reason was kept"))
            groups.append((stage, kind, reason, [int(t["number"]) for t in of_kind]))
        return groups

    def measurement(self, purpose: str) -> Json | None:
        """The winner's last device job of a purpose, if its details are here.

        Purposes are `trial`, `confirm` (its latency measured again) and `final` (test split).
        """
        winner = self.winner or {}
        found = [m for m in winner.get("measurements", ()) if m["purpose"] == purpose]
        return found[-1] if found else None

    def baseline_p50_ms(self) -> float | None:
        """The baseline's latency, from the winner's own job where that is known."""
        return self._baseline_timing("p50_ms")

    def comparison(self) -> list[Row]:
        """Compare the winner with the baseline; empty if there is no winner."""
        winner = self.winner
        if winner is None:
            return []
        m: Json = winner["metrics"]
        of_baseline: Json = self.baseline.get("metrics") or {}
        final: Json = self.study["final"] or {}
        rows = [
            Row("latency_p50_ms", "", self.baseline_p50_ms(), m.get("latency_p50_ms")),
            Row("latency_p95_ms", "", self._baseline_timing("p95_ms"), m.get("latency_p95_ms")),
            _ratio_row("", m),
            Row("top1", "validation", _baseline_top1(m), m.get("top1")),
        ]
        if final.get("latency_ratio") is not None:
            rows.insert(3, _ratio_row("test", final))
        if final.get("top1") is not None:
            rows.append(Row("top1", "test", final.get("baseline_top1"), final["top1"]))
        rows += [
            Row("params", "", of_baseline.get("params"), m.get("params")),
            Row("macs", "", of_baseline.get("macs"), m.get("macs")),
            Row("model_bytes", "", of_baseline.get("onnx_bytes"), m.get("model_bytes")),
        ]
        return rows

    def summary(self) -> list[Row]:
        """Compare the finalised winner with the baseline; empty unless it was finalised."""
        found: Json = self.study.get("finalized") or {}
        if found.get("latency_ratio") is None:
            return []
        of_baseline: Json = self.baseline.get("metrics") or {}
        names = {"params": "params", "macs": "macs", "model_bytes": "onnx_bytes"}
        return [
            Row(
                "latency_p50_ms", "test", found.get("baseline_p50_ms"), found.get("latency_p50_ms")
            ),
            _ratio_row("test", found),
            Row("top1", "test", found.get("baseline_top1"), found.get("top1")),
            *(Row(ours, "", of_baseline.get(of), found.get(ours)) for ours, of in names.items()),
        ]

    @property
    def noise_floor(self) -> list[float]:
        """What identical networks differed by: |A/A ratio - 1| of every job that told it."""
        ratios = [t["metrics"].get("aa_ratio") for t in self.complete]
        if not any(ratio is not None for ratio in ratios):
            jobs = (self.winner or {}).get("measurements", ())
            ratios = [m["result"].get("aa_ratio") for m in jobs]
        return [abs(ratio - 1) for ratio in ratios if ratio is not None]

    def _baseline_timing(self, name: str) -> float | None:
        job = self.measurement("confirm") or self.measurement("trial")
        source: Json = (
            job["result"]["baseline"] if job else (self.study["baseline_measurement"] or {})
        )
        return source.get(name)


def _failure_class(trial: Json) -> str:
    return str((trial["failure"] or {}).get("class", trial["state"]))


def _ratio_row(split: str, metrics: Json) -> Row:
    return Row(
        "latency_ratio",
        split,
        1.0,
        metrics.get("latency_ratio"),
        metrics.get("latency_ratio_low"),
        metrics.get("latency_ratio_high"),
    )


def _baseline_top1(metrics: Json) -> float | None:
    """The baseline's accuracy on the same images: what the winner has and what it lost."""
    if metrics.get("top1") is None or metrics.get("top1_drop") is None:
        return None
    return float(metrics["top1"]) + float(metrics["top1_drop"])
