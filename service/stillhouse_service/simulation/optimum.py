"""The best config there is, found on the law itself: no noise, no devices, no limit of trials.

Depends on: stillhouse_optimizer, stillhouse_compression.template, law.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stillhouse_compression.template import parse_template
from stillhouse_compression.template.errors import TemplateErrors
from stillhouse_optimizer.feasibility import is_feasible
from stillhouse_optimizer.space import Space
from stillhouse_optimizer.spec import Problem, is_maximised
from stillhouse_service.checks import search_problem
from stillhouse_service.objectives import constraints_of
from stillhouse_service.simulation.law import Law, Truth, truth

_N_RANDOM = 1500
_N_STEPS = 1500
_STEP = 0.1  # of a range, at first; halved while nothing better comes


@dataclass(frozen=True)
class Best:
    """The best of a study's space.

    Attributes:
        config: Values of its active parameters.
        value: Of the objective, without noise.
        metrics: All of them.
        n_looked_at: Configs that were looked at.
    """

    config: Mapping[str, Any]
    value: float
    metrics: Mapping[str, float]
    n_looked_at: int


class TrueStudy:
    """A study's space under a law: what every config truly is."""

    def __init__(
        self,
        law: Law,
        spec: Mapping[str, Any],
        search: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        """Read a study.

        Args:
            law: The world.
            spec: As stored.
            search: Its parameters and forbidden combinations.
            shapes: Of its network's parameters.
        """
        self._law, self._shapes = law, shapes
        dense = truth(law, {}, {}, shapes).metrics(law)
        self._baseline = {
            "p50_ms": dense["latency_p50_ms"],
            "p95_ms": dense["latency_p95_ms"],
            "throughput_per_s": dense["throughput_per_s"],
            "validation_top1": dense["top1"],
            "validation_top5": dense["top5"],
            **{name: dense[name] for name in ("params", "macs", "model_bytes")},
        }
        self._limits = constraints_of(spec, self._baseline)
        self._template = parse_template(spec["template"], spec["training"])
        self._space = Space(Problem.from_mapping(search_problem(spec, search, self._baseline)))
        self.objective = str(spec["objectives"][0])
        self._sign = -1.0 if is_maximised(self.objective) else 1.0

    def of(self, config: Mapping[str, Any]) -> Truth | None:
        """Say what a config truly is; none: no schedule comes of it."""
        try:
            rendered = self._template.render(config, self._shapes)
        except TemplateErrors:
            return None
        return truth(self._law, rendered.schedule, rendered.training, self._shapes)

    def value(self, config: Mapping[str, Any]) -> float | None:
        """Give a config's objective without noise; none: it breaks a limit, or does not run."""
        found = self.of(config)
        if found is None or found.unsupported is not None:
            return None
        metrics = found.metrics(self._law)
        return metrics[self.objective] if is_feasible(metrics, self._limits)[0] else None

    def best(
        self, seed: int = 0, n_random: int = _N_RANDOM, n_steps: int = _N_STEPS
    ) -> Best | None:
        """Find the best config: at random, then in ever smaller steps from the best one.

        Args:
            seed: Of both.
            n_random: Configs looked at, at random.
            n_steps: Steps from there.

        Returns:
            The best found; none: no config that was looked at keeps the limits.
        """
        rng = np.random.default_rng(seed)
        kept: tuple[float, Any] | None = None
        for row in self._space.sample(n_random, rng):
            kept = self._better(kept, row)
        step, n_in_vain = _STEP, 0
        for _ in range(n_steps if kept is not None else 0):
            assert kept is not None
            found = self._better(kept, self._neighbour(kept[1], step, rng))
            n_in_vain = 0 if found is not kept else n_in_vain + 1
            kept = found
            if n_in_vain == 100:
                step, n_in_vain = step / 2, 0
        if kept is None:
            return None
        config = self._space.decode(kept[1])
        found_truth = self.of(config)
        assert found_truth is not None
        metrics = found_truth.metrics(self._law)
        return Best(config, metrics[self.objective], metrics, n_random + n_steps)

    def _better(self, kept: tuple[float, Any] | None, row: Any) -> tuple[float, Any] | None:
        value = self.value(self._space.decode(row))
        if value is None or (kept is not None and self._sign * value >= kept[0]):
            return kept
        return self._sign * value, row

    def _neighbour(self, row: Any, step: float, rng: np.random.Generator) -> Any:
        """Move some parameters: a range by a step, a choice to any value; snapped and legal."""
        fresh = self._space.sample(1, rng)[0]
        moved = row.copy()
        chosen = rng.random(len(row)) < max(0.3, 1.5 / len(row))
        for j in np.flatnonzero(chosen):
            if self._space.is_listed[j] or math.isnan(row[j]):
                moved[j] = fresh[j]
            else:
                moved[j] = min(1.0, max(0.0, row[j] + step * rng.standard_normal()))
        rows = self._space.activate(self._space.snap(moved[None, :]), fresh[None, :])
        return rows[0] if self._space.is_legal(rows)[0] else fresh
