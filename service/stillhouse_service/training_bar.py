"""How far a baseline's training is, as a bar.

Depends on: rich; the client.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from stillhouse import Baseline
from stillhouse_service.report import wording
from stillhouse_service.training_line import TrainingLine


class TrainingBar:
    """A bar of epochs on a terminal, lines elsewhere; use it in a `with`."""

    def __init__(self, console: Console) -> None:
        self._line = TrainingLine(console)
        self._is_bar = console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[news]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("waiting", total=None, news="")

    def tell(self, baseline: Baseline) -> None:
        """Show how far it is."""
        if not self._is_bar or baseline.is_over:
            self._line.tell(baseline)
            return
        progress = baseline.progress
        news = ""
        if progress.get("top1") is not None:
            top1 = wording.value("top1", progress["top1"])
            news = f"loss {progress.get('loss', 0.0):.3f}, validation Top-1 {top1}"
        self._bar.update(
            self._task,
            description=baseline.state,
            completed=progress.get("epoch", 0),
            total=progress.get("epochs"),
            news=news,
        )

    def __enter__(self) -> Self:
        if self._is_bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_bar:
            self._bar.stop()
