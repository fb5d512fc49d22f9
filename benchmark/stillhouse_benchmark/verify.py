"""Do a device's outputs agree with torch's?

Depends on: numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import numpy as np

from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.protocol import Agreement

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

# Share of the largest reference output that each precision may be off by. Measured: f32 about
# 1e-5, f16 about 2e-3 on networks of 20 to 50 layers; the limits leave a decade.
LIMITS = {"f32": 1e-3, "f16": 3e-2, "bf16": 1e-1, "i8": 3e-1}
SMALLEST_SCALE = 1e-6


def agreement(outputs: Array, reference: Array) -> Agreement:
    """Compare outputs of shape (n, classes) with torch's of the same shape."""
    difference = np.abs(outputs.astype(np.float64) - reference.astype(np.float64))
    max_abs = float(difference.max())
    scale = max(float(np.abs(reference).max()), SMALLEST_SCALE)
    same = outputs.argmax(axis=1) == reference.argmax(axis=1)
    return Agreement(max_abs, max_abs / scale, float(same.mean()))


def verify(
    name: str,
    run: Callable[[Array], Array],
    inputs: Array,
    reference: Array,
    precision: str,
    limit: float | None,
) -> Agreement:
    """Run the probe batch image by image and refuse a network that computes something else.

    Args:
        name: ``candidate`` or ``baseline``, for the message.
        run: One image of shape (1, channels, height, width) -> outputs, flat.
        inputs: (n, channels, height, width), normalised.
        reference: Torch's outputs, (n, classes).
        precision: Chooses the limit where ``limit`` is None.
        limit: Of ``Agreement.max_rel``.

    Raises:
        JobFailed: ``mismatch``, or ``bad-artifact`` where the probe's own shapes do not fit.
    """
    if len(inputs) != len(reference) or not len(inputs) or reference.ndim != 2:
        raise JobFailed(
            "bad-artifact",
            "verify",
            f"the probe's inputs {inputs.shape} and {name} outputs {reference.shape} do not fit",
        )
    outputs = np.stack([run(inputs[i : i + 1]) for i in range(len(inputs))])
    if outputs.shape != reference.shape:
        raise JobFailed(
            "mismatch",
            "verify",
            f"the {name} gives {outputs.shape[1]} outputs an image, torch gave "
            f"{reference.shape[1]}",
        )
    if not np.isfinite(outputs).all():
        raise JobFailed("mismatch", "verify", f"the {name} gives outputs that are not finite")
    found = agreement(outputs, reference)
    allowed = LIMITS[precision] if limit is None else limit
    if found.max_rel > allowed:
        raise JobFailed(
            "mismatch",
            "verify",
            f"the {name}'s outputs differ from torch's by up to {found.max_abs:.3g}, "
            f"{found.max_rel:.3g} of the largest output where {allowed:g} is allowed in "
            f"{precision}; Top-1 agrees on {found.top1_agreement:.1%} of the probe",
        )
    return found
