"""Every single time of a job as one file, for who wants to judge for himself.

Depends on: numpy.
"""

from __future__ import annotations

import base64
import io
from typing import Sequence

import numpy as np

from stillhouse_benchmark.timing import NAMES, Round


def pack_times(rounds: Sequence[Round]) -> str:
    """Base64 of a compressed ``.npz``; see ``Result.raw_times``.

    Rounds may differ in runs a block: shorter ones are filled up with NaN.
    """
    n_blocks = max(r.wall_ms[name].shape[0] for r in rounds for name in NAMES)
    n_runs = max(r.wall_ms[name].shape[1] for r in rounds for name in NAMES)
    arrays = {}
    for name in NAMES:
        for kind in ("wall_ms", "cpu_ms"):
            filled = np.full((len(rounds), n_blocks, n_runs), np.nan, dtype=np.float32)
            for index, one in enumerate(rounds):
                times = getattr(one, kind)[name]
                filled[index, : times.shape[0], : times.shape[1]] = times
            arrays[f"{name.replace(' ', '_')}_{kind}"] = filled
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub wants a bool
    return base64.b64encode(stream.getvalue()).decode("ascii")
