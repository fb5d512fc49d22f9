"""A study's rungs as its spec names them: how far each trains, what it is judged on, how it ends.

Depends on: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

JUDGED_ON = "judged_on"  # in a compression's order: the images that a low rung is judged on


def epochs_of(spec: Mapping[str, Any]) -> Sequence[int] | None:
    """Give the recovery epochs of each rung, the lowest first; none: the study has no rungs."""
    fidelity = spec.get("fidelity")
    return None if fidelity is None else fidelity["recovery_epochs"]


def images_of(spec: Mapping[str, Any], rung: int) -> int | None:
    """Give how many validation images a rung is judged on; none: on all of them."""
    of_low_rungs = (spec.get("fidelity") or {}).get("validation_images") or ()
    return int(of_low_rungs[rung]) if rung < len(of_low_rungs) else None


def at(spec: Mapping[str, Any], rung: int, order: Mapping[str, Any]) -> dict[str, Any]:
    """Make a compression's order that of a rung."""
    epochs = epochs_of(spec)
    assert epochs is not None
    training = {**order["training"], "recovery_epochs": epochs[rung]}
    found = {**order, "training": training, "keeps_checkpoint": rung < len(epochs) - 1}
    n_images = images_of(spec, rung)
    if n_images is not None:
        # One seed for all trials: they are compared on the same images.
        found[JUDGED_ON] = {"n_images": n_images, "seed": int(spec["seed"])}
    return found


def low_end(spec: Mapping[str, Any], rung: int | None) -> dict[str, Any] | None:
    """Say how a trial ends that was measured at a low rung; none: at the top, or without rungs."""
    epochs = epochs_of(spec)
    if rung is None or epochs is None or rung >= len(epochs) - 1:
        return None
    n_images = images_of(spec, rung)
    judged = "" if n_images is None else f", judged on {n_images} of the validation images"
    reason = (
        f"rung {rung} of {len(epochs) - 1}: {epochs[rung]} of {epochs[-1]} recovery epochs"
        f"{judged}; the best go on"
    )
    return {"stage": "stopped", "by": "rung", "rung": rung, "reason": reason}
