"""A study's rungs as its spec names them: how far each trains, and how a trial of a low one ends.

Depends on: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def epochs_of(spec: Mapping[str, Any]) -> Sequence[int] | None:
    """Give the recovery epochs of each rung, the lowest first; none: the study has no rungs."""
    fidelity = spec.get("fidelity")
    return None if fidelity is None else fidelity["recovery_epochs"]


def at(spec: Mapping[str, Any], rung: int, order: Mapping[str, Any]) -> dict[str, Any]:
    """Make a compression's order that of a rung."""
    epochs = epochs_of(spec)
    assert epochs is not None
    training = {**order["training"], "recovery_epochs": epochs[rung]}
    return {**order, "training": training, "keeps_checkpoint": rung < len(epochs) - 1}


def low_end(spec: Mapping[str, Any], rung: int | None) -> dict[str, Any] | None:
    """Say how a trial ends that was measured at a low rung; none: at the top, or without rungs."""
    epochs = epochs_of(spec)
    if rung is None or epochs is None or rung >= len(epochs) - 1:
        return None
    reason = (
        f"rung {rung} of {len(epochs) - 1}: {epochs[rung]} of {epochs[-1]} recovery epochs; the "
        "best go on"
    )
    return {"stage": "stopped", "by": "rung", "rung": rung, "reason": reason}
