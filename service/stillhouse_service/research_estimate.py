"""How long the whole research plan will take on this machine, before anything is started.

Depends on: torch, by way of stillhouse_compression.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch.nn import functional

from stillhouse_compression import datasets, models
from stillhouse_compression.sweep import Entry, sweep_cases
from stillhouse_compression.training import Recipe, TrainingSettings
from stillhouse_service.research_file import ResearchPlan

_N_STEPS = 3  # timed after one that is not
_BATCH = 32
_OVERHEAD_S = 3.0  # of a trial: network built, exported, its graph checked
_JOB_S = 6.0  # of a device job, beside the timing itself
_TIMING_S = 10.0
_N_VERIFY, _N_ENDS, _N_COMBINED = 4, 4, 5  # trials; the ends of study and finalisation; at most


@dataclass(frozen=True)
class StageEstimate:
    """One stage of the plan.

    Attributes:
        stage: Its name.
        n_trials: How many trials it has, at most.
        seconds: How long they take one after another.
    """

    stage: str
    n_trials: int
    seconds: float


def estimate(plan: ResearchPlan) -> list[StageEstimate]:
    """Count the trials of each stage and time a few training steps of the network.

    Raises:
        CompressionError: No such network, data set or algorithm; what it says names the place.
    """
    info = datasets.dataset_info(str(plan.baseline["dataset"]))
    network = models.build(str(plan.baseline["model"]), info.n_classes)
    network.train()
    images = torch.zeros(_BATCH, *info.shape)
    labels = torch.zeros(_BATCH, dtype=torch.long)
    began = 0.0
    for step in range(_N_STEPS + 1):
        if step == 1:
            began = time.monotonic()
        functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    epoch_s = (time.monotonic() - began) / (_N_STEPS * _BATCH) * info.splits["train"]
    recipe = Recipe.from_mapping(plan.baseline.get("recipe", {}), "recipe")
    settings = TrainingSettings.from_mapping(plan.training)
    entries = [
        Entry(
            one["algorithm"],
            tuple(one.get("layers", ("all", "stage"))),
            tuple(one["levels"]) if one.get("levels") else None,
        )
        for one in plan.grid
    ]
    n_sweep = 1 + len(sweep_cases(network, info.shape, entries, settings.epochs)) + len(plan.cases)
    job_s = _JOB_S + float(plan.shared["timing"].get("time_limit_s") or _TIMING_S)
    trial_s = settings.total_epochs * settings.effective_train_size * epoch_s + _OVERHEAD_S + job_s
    full_s = recipe.epochs * recipe.effective_train_size * epoch_s
    n_study = int(plan.study["budget"]["trials"])
    return [
        StageEstimate("train", 0, full_s),
        StageEstimate("verify", _N_VERIFY, _N_VERIFY * (_OVERHEAD_S + job_s)),
        StageEstimate("baseline", 1, 2 * job_s),
        StageEstimate("sweep", n_sweep, n_sweep * trial_s),
        StageEstimate("combine", _N_COMBINED, _N_COMBINED * trial_s),
        StageEstimate("study", n_study, n_study * trial_s + _N_ENDS * job_s),
        StageEstimate("finalize", 1, full_s + _OVERHEAD_S + _N_ENDS * job_s),
    ]
