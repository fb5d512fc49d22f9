"""One line on stderr that says how far a study is.

Depends on: the standard library.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from stillhouse.study import Study

_OVER = ("complete", "failed", "unsupported", "cancelled", "stopped")


class ProgressLine:
    """Written over itself on a terminal and in a notebook; elsewhere a line a change."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to `stream`; None: stderr."""
        self._stream = stream or sys.stderr
        self._is_live = self._stream.isatty() or "ipykernel" in sys.modules
        self._last = ""

    def show(self, study: Study) -> None:
        """Say where `study` stands, if that is news."""
        text = told(study)
        if text == self._last:
            return
        if self._is_live:
            self._stream.write(f"\r{text.ljust(len(self._last))}")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()
        self._last = text

    def close(self) -> None:
        """End the line."""
        if self._is_live and self._last:
            self._stream.write("\n")
            self._stream.flush()


def told(study: Study) -> str:
    """Say where a study stands: `digits: running, 12 of 20 trials, best 0.673 (trial 7)`."""
    n_over = sum(study.counts.get(state, 0) for state in _OVER)
    parts = [f"{study.name}: {study.state}", f"{n_over} of {study.spec['budget']['trials']} trials"]
    if study.incumbent is not None:
        objective = study.spec["objectives"][0]
        value = study.incumbent.get(objective)
        shown = f"{value:.3f}" if isinstance(value, int | float) else "unknown"
        parts.append(f"best {objective} {shown} (trial {study.incumbent['number']})")
    if study.eta_s is not None:
        parts.append(f"about {max(1, round(study.eta_s / 60))} min left")
    if study.reason and study.state != "running":
        parts.append(study.reason)
    return ", ".join(parts)
