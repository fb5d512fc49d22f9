"""The errors of compression: one root, and the problems a schedule may have.

CompressionError
├── ScheduleError      a schedule that cannot run; carries every problem at once
├── SettingsError      training settings that cannot be used; carries every problem at once
├── TrainingDiverged   weights or loss turned into NaN
├── EngineError        Intel's Distiller is not here, or failed
├── ThinningError      zero filters that cannot be cut out of this network
├── ExportError        a network that does not become the ONNX graph it should
└── Cancelled          somebody asked for the end; no failure

Depends on: the standard library.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


class CompressionError(Exception):
    """Root of every error that compression raises on purpose.

    Attributes:
        failure_class: The word under which a failed trial is counted.
    """

    failure_class: ClassVar[str] = "compression"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a document.

    Attributes:
        path: YAML path of the place, e.g. ``pruners.stage1.final_sparsity`` or
            ``policies[2].pruner.instance_name``; empty for the whole document.
        message: What was found, what is allowed, and the nearest valid name.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ScheduleError(CompressionError):
    """A schedule that cannot run.

    Attributes:
        problems: Everything that is wrong with it, in document order.
        filename: The file it was read from, or None.
    """

    failure_class = "schedule"

    def __init__(self, problems: Sequence[Problem], filename: str | None = None) -> None:
        self.problems = tuple(problems)
        self.filename = filename
        where = f"{filename}: " if filename else ""
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{where}{count} in the schedule{lines}")


class SettingsError(CompressionError):
    """Training settings that cannot be used.

    Attributes:
        problems: Everything that is wrong with them, in document order.
    """

    failure_class = "settings"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class TrainingDiverged(CompressionError):
    """Weights or loss became NaN or infinite: a mask made from them would mean nothing."""

    failure_class = "diverged"


class EngineError(CompressionError):
    """Intel's Distiller, asked for as the engine, is not here or failed."""

    failure_class = "engine"


class ThinningError(CompressionError):
    """Zero filters cannot be cut out of this network; it is unchanged."""

    failure_class = "thinning"


class ExportError(CompressionError):
    """A network does not become the ONNX graph it should."""

    failure_class = "export"


class SurvivalError(CompressionError):
    """The exported graph is not the network it was made from: a wrong one gets no number."""

    failure_class = "mismatch"


class Cancelled(CompressionError):
    """Somebody asked for the end: not a failure of what ran."""

    failure_class = "cancelled"


def nearest(name: object, allowed: Iterable[str]) -> str:
    """The hint that ends a message about an unknown name.

    Args:
        name: What was found.
        allowed: The names that would have been right.

    Returns:
        ``"; did you mean 'x'?"``, or an empty string when nothing is near.
    """
    names = {candidate.lower(): candidate for candidate in allowed}
    close = difflib.get_close_matches(str(name).lower(), list(names), n=1, cutoff=0.5)
    return f"; did you mean {names[close[0]]!r}?" if close else ""


def shown(value: object, limit: int = 60) -> str:
    """``value`` as a message may show it: on one line, shortened."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
