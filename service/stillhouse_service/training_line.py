"""How far a baseline's training is, a line for each piece of news.

Depends on: rich; the client.
"""

from __future__ import annotations

from rich.console import Console

from stillhouse import Baseline
from stillhouse_service.report import wording


class TrainingLine:
    """Prints a line for each epoch of a baseline's training."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""

    def tell(self, baseline: Baseline) -> None:
        """Print how far it is, if that has changed."""
        said = training_line(baseline)
        if said != self._said:
            self._said = said
            self._console.print(said, markup=False, highlight=False, soft_wrap=True)


def training_line(baseline: Baseline) -> str:
    """Tell how far a baseline's training is, in one line."""
    progress = baseline.progress
    text = f"baseline {baseline.id}: {baseline.state}"
    if baseline.state == "training" and progress.get("epoch") is not None:
        text += f", epoch {progress['epoch']}"
        if progress.get("epochs"):
            text += f" of {progress['epochs']}"
    if baseline.state == "complete":
        for split in ("validation", "test"):
            top1 = baseline.metrics.get(f"{split}_top1")
            text += f", {split} Top-1 {wording.value('top1', top1)}"
    if baseline.error:
        text += f": {baseline.error}"
    return text
