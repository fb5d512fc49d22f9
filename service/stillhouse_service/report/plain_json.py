"""JSON that every reader takes: no NaN, no infinity.

Depends on: the standard library.
"""

from __future__ import annotations

import math
from typing import Any


def finite(data: Any) -> Any:
    """Turn NaN and infinity, which JSON cannot say, into null."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: finite(item) for key, item in data.items()}
    if isinstance(data, list | tuple):
        return [finite(item) for item in data]
    return data
