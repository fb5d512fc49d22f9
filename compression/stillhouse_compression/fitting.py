"""Whether a schedule and a training fit each other.

Depends on: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_compression.errors import Problem, SettingsError
from stillhouse_compression.training import TrainingSettings


def fit_problems(schedule: Mapping[str, Any], settings: TrainingSettings) -> list[Problem]:
    """Find pruning policies that reach into the recovery epochs.

    After thinning a share such as 50 % is a share of what is left: a pruner that went on would
    prune twice.

    Args:
        schedule: A plain schedule; what is wrong with itself is not looked for here.
        settings: The training it shall run in.

    Returns:
        Problems at paths of the schedule, e.g. ``policies[1].ending_epoch``.
    """
    if settings.recovery_epochs == 0:
        return []
    policies = schedule.get("policies")
    problems = []
    for number, policy in enumerate(policies if isinstance(policies, list | tuple) else ()):
        if not isinstance(policy, Mapping) or "pruner" not in policy:
            continue
        key, end = _end(policy)
        if end is not None and end > settings.epochs:
            problems.append(
                Problem(
                    f"policies[{number}].{key}",
                    f"prunes until epoch {end}, but the network is thinned after training.epochs "
                    f"= {settings.epochs} and recovers then; end the policy earlier "
                    "(e.g. !ref training.epochs) or raise training.epochs",
                )
            )
    return problems


def check_fit(schedule: Mapping[str, Any], settings: TrainingSettings) -> None:
    """Refuse a schedule and a training that do not fit each other.

    Raises:
        SettingsError: With every problem of `fit_problems`.
    """
    problems = fit_problems(schedule, settings)
    if problems:
        raise SettingsError(problems)


def _end(policy: Mapping[str, Any]) -> tuple[str, int | None]:
    """One past the last epoch of a policy, and the key that says so."""
    epochs = policy.get("epochs")
    if isinstance(epochs, list | tuple) and all(isinstance(epoch, int) for epoch in epochs):
        return "epochs", max(epochs, default=-1) + 1
    end = policy.get("ending_epoch")
    return "ending_epoch", end if isinstance(end, int) else None
