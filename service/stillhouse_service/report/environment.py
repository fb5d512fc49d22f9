"""What a server runs on, for the reader of a report who wants to repeat it.

Depends on: the standard library.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# Whatever may change a figure: training, export, search, timing.
_PACKAGES = (
    "torch",
    "torch-pruning",
    "onnx",
    "openvino",
    "smac",
    "ConfigSpace",
    "scikit-learn",
    "numpy",
    "scipy",
)


def describe_environment() -> dict[str, Any]:
    """Give versions of Stillhouse, Python, the system and the packages that matter.

    Returns:
        Names and texts, ready for `render_html`; packages that are not installed are left out.
    """
    return {
        "stillhouse": version("stillhouse"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count() or 1,
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
