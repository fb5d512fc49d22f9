"""Is the network on the device the one that was compressed? One table from torch to the device.

Depends on: the standard library. Stages come from compression (torch, ONNX) and from the device
host (the runtime's own forms, the device), all in the shape of docs/protocol.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Stage = Mapping[str, Any]

# A compressed network's answers may be off by so many times what the dense one's are: its layers
# are fewer and narrower, its largest answer may be smaller.
_MARGIN = 10.0
# Whatever the dense network showed, no less than the first and no more than the second: rounding
# differs from network to network, and beyond the second a network computes something else.
_RANGES = {"f32": (1e-4, 1e-3), "f16": (5e-3, 3e-2), "bf16": (3e-2, 1e-1), "i8": (1e-1, 3e-1)}
_PREFIX = "max_output_error_"


@dataclass(frozen=True)
class Loss:
    """The first stage where something was lost.

    Attributes:
        stage: Its name.
        layer: Torch name of the layer; none where the answers alone tell.
        reason: What was lost, for the user.
    """

    stage: str
    layer: str | None
    reason: str


def tolerances(stages: Sequence[Stage]) -> dict[str, float]:
    """Calibrate on the dense baseline how far each stage's answers may be off.

    Args:
        stages: The baseline's, of its check on the study's device.

    Returns:
        `max_output_error_<stage>`, a share of the largest answer of torch, for each stage that has
        answers.
    """
    found = {}
    for stage in stages:
        agreed = stage.get("agreement")
        if agreed is not None:
            low, high = _RANGES[_precision(stage)]
            found[_key(stage["name"])] = min(high, max(low, _MARGIN * agreed["max_rel"]))
    return found


def of_device(measured: Mapping[str, float] | None) -> float | None:
    """Look up the device stage's tolerance among a study's figures of its baseline."""
    return (measured or {}).get(_key("device"))


def first_loss(stages: Sequence[Stage], limits: Mapping[str, float]) -> Loss | None:
    """Find the first stage where zeros, a layer or the answers were lost; none: nothing was.

    Zeros may become more on the way (half precision rounds the smallest weights to zero), never
    fewer.

    Args:
        stages: In order, torch first.
        limits: From `tolerances`; a stage without one takes its precision's widest.

    A form in half precision is not on the way to a device that computes in f32: its answers are
    shown, not judged.
    """
    before: Stage | None = None
    device = next((_precision(stage) for stage in stages if stage["name"] == "device"), "f16")
    for stage in stages:
        if stage["layers"]:
            loss = None if before is None else _weights_lost(before, stage)
            if loss is not None:
                return loss
            before = stage
        agreed = stage.get("agreement")
        if _precision(stage) == "f16" and device != "f16":
            continue
        limit = limits.get(_key(stage["name"]), _RANGES[_precision(stage)][1])
        if agreed is not None and not agreed["max_rel"] <= limit:  # NaN as well
            reason = (
                f"outputs differ from torch's by up to {agreed['max_abs']:.3g}, "
                f"{agreed['max_rel']:.3g} of the largest output where {limit:.3g} is allowed; "
                f"Top-1 agrees on {agreed['top1_agreement']:.1%} of the probe"
            )
            return Loss(stage["name"], None, reason)
    return None


def rows(stages: Sequence[Stage]) -> Iterator[tuple[str, tuple[int, ...], list[float | None]]]:
    """Put the stages side by side.

    Yields:
        Layer, shape in the first stage that has it, and sparsity in each stage; none: that stage's
        weights cannot be read.
    """
    tables = [{row["layer"]: row for row in stage["layers"]} for stage in stages]
    names = dict.fromkeys(name for table in tables for name in table)
    for name in names:
        there = [table.get(name) for table in tables]
        shape = next(tuple(row["shape"]) for row in there if row is not None)
        yield name, shape, [None if row is None else row["sparsity"] for row in there]


def _weights_lost(before: Stage, stage: Stage) -> Loss | None:
    now = {row["layer"]: row for row in stage["layers"]}
    for row in before["layers"]:
        found = now.get(row["layer"])
        if found is None:
            return Loss(stage["name"], row["layer"], f"{row['layer']} is missing")
        # A grouped convolution's weight has a dimension more in some forms.
        if _bare(found["shape"]) != _bare(row["shape"]):
            shapes = f"{tuple(found['shape'])}, {tuple(row['shape'])} in stage {before['name']}"
            return Loss(stage["name"], row["layer"], f"{row['layer']} has shape {shapes}")
        if found["n_nonzero"] > row["n_nonzero"]:
            reason = (
                f"{row['layer']} has {found['n_nonzero']} weights that are not zero, "
                f"{row['n_nonzero']} in stage {before['name']}"
            )
            return Loss(stage["name"], row["layer"], reason)
    return None


def _bare(shape: Sequence[int]) -> tuple[int, ...]:
    return (math.prod(shape), *(size for size in shape if size != 1))


def _precision(stage: Stage) -> str:
    """Read off a stage what it computes in: weights of its name, or what the device was told."""
    if stage["name"] == "device":
        told = str(stage["made_by"]).rpartition(" in ")[2]
        return told if told in _RANGES else "f32"
    return "f16" if stage["name"].endswith("f16") else "f32"


def _key(stage: str) -> str:
    return _PREFIX + stage.replace(" ", "_")
