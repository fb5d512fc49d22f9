"""A running study for somebody who watches: a live panel on a terminal, plain lines elsewhere.

Depends on: rich; the client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stillhouse import Client, StillhouseError, Study, Trial
from stillhouse_service.report import wording

_N_SHOWN = 6
_PATIENCE_S = 30.0
_PAUSED = "paused"
_NONE_YET = "best feasible: none yet"


def watch_study(
    client: Client,
    study_id: str,
    console: Console,
    poll_s: float = 1.0,
    on_poll: Callable[[], None] = lambda: None,
) -> Study:
    """Show a study until it is over or paused.

    Args:
        client: Where it runs.
        study_id: Which one.
        console: Where to show it; lines instead of a panel where that is no terminal.
        poll_s: Seconds between two looks.
        on_poll: Called at each look; what it raises ends the watch.

    Returns:
        The study as it was last seen.

    Raises:
        ConnectionFailed: The server was silent for half a minute.
        ProblemError: There is no such study.
    """
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            return _follow(
                client,
                study_id,
                poll_s,
                on_poll,
                lambda study, trials: live.update(panel(study, trials), refresh=True),
            )
    lines = Lines(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
    return _follow(client, study_id, poll_s, on_poll, lines.tell)


def panel(study: Study, trials: Sequence[Trial]) -> RenderableType:
    """Draw a study as it stands: counts, best feasible, time left, what runs, what ended last."""
    n_all = int(study.spec["budget"]["trials"])
    ended = [t for t in trials if t.is_over]
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        Text(study.name, style="bold"),
        ProgressBar(total=n_all, completed=len(ended), width=40),
        Text(study.state),
    )
    parts: list[RenderableType] = [bar, Text(summary(study, trials)), Text(best(study)), Text("")]
    parts += [Text(f"  {line}", style="cyan") for line in _now(study, trials)]
    if ended:
        last = sorted(ended, key=lambda t: t.json.get("finished_at") or "")[-_N_SHOWN:]
        parts.append(_table(last))
    return Group(*parts)


def summary(study: Study, trials: Sequence[Trial]) -> str:
    """Count trials and tell the time left, in one line."""
    n_all = int(study.spec["budget"]["trials"])
    n_done = sum(t.state == "complete" for t in trials)
    n_failed = sum(t.state in ("failed", "unsupported") for t in trials)
    n_running = sum(not t.is_over for t in trials)
    text = f"{n_done} of {n_all} done, {n_running} running, {n_failed} failed"
    if not study.is_over and study.eta_s is not None:
        text += f", about {wording.duration(study.eta_s)} left"
    return text


def best(study: Study) -> str:
    """Tell the best feasible trial so far, in one line."""
    if study.incumbent is None:
        return _NONE_YET
    text = f"best feasible: trial {study.incumbent['number']}, {_figures(study.incumbent)}"
    if study.incumbent.get("is_confirmed"):
        text += ", measured again"
    return (
        text
        if study.incumbent.get("is_certain", True)
        else f"{text}; not certain to keep the limits"
    )


def doing(trial: Trial) -> str:
    """Tell what a running trial does now: `trial 4: compressing, fine-tuning, epoch 2 of 3`."""
    progress = trial.progress
    text = f"trial {trial.number}: {trial.state}"
    stage = progress.get("stage")
    if stage and stage != trial.state:
        text += f", {stage}"
    if progress.get("epoch") is not None and progress.get("epochs"):
        text += f", epoch {progress['epoch']} of {progress['epochs']}"
    elif progress.get("fraction") is not None:
        text += f", {100 * float(progress['fraction']):.0f} %"
    return text


def outcome(trial: Trial) -> str:
    """Tell how a trial ended, in one line."""
    if trial.state == "complete" and trial.metrics is not None:
        kept = {True: "feasible", False: "breaks the limit", None: "not judged"}[trial.is_feasible]
        return f"trial {trial.number}: {_figures(trial.metrics)}, {kept}"
    if trial.state == "stopped":
        return f"trial {trial.number}: {trial.progress.get('reason', trial.state)}"
    failure = trial.failure or {}
    reason = f": {failure['reason']}" if failure.get("reason") else ""
    stage = f" in {failure['stage']}" if failure.get("stage") else ""
    return f"trial {trial.number}: {trial.state}{stage}{reason}"


class Lines:
    """Prints a line whenever something changed that a reader of a log would want to know."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print = print_line
        self._state = ""
        self._ended: set[str] = set()
        self._incumbent = _NONE_YET

    def tell(self, study: Study, trials: Sequence[Trial]) -> None:
        """Print what is new since the last call."""
        if study.state != self._state:
            self._state = study.state
            self._print(
                f"study {study.id} {study.state}" + (f": {study.reason}" if study.reason else "")
            )
        news = [t for t in trials if t.is_over and t.id not in self._ended]
        for trial in news:
            self._ended.add(trial.id)
            self._print(outcome(trial))
        if news:
            self._print(summary(study, trials))
        incumbent = best(study)
        if incumbent != self._incumbent:
            self._incumbent = incumbent
            self._print(incumbent)


def _follow(
    client: Client,
    study_id: str,
    poll_s: float,
    on_poll: Callable[[], None],
    show: Callable[[Study, Sequence[Trial]], None],
) -> Study:
    silent_since: float | None = None
    while True:
        on_poll()
        try:
            study = client.studies.get(study_id)
            trials = client.studies.trials(study_id)
        except StillhouseError as error:
            silent_since = silent_since or time.monotonic()
            if not error.is_passing or time.monotonic() - silent_since > _PATIENCE_S:
                raise
        else:
            silent_since = None
            show(study, trials)
            if study.is_over or study.state == _PAUSED:
                return study
        time.sleep(poll_s)


def _now(study: Study, trials: Sequence[Trial]) -> list[str]:
    lines = [doing(t) for t in trials if not t.is_over]
    if lines or study.is_over:
        return lines
    if study.state == "checking":
        return ["checking the baseline on the device" + _why(study)]
    if len(trials) == int(study.spec["budget"]["trials"]):
        is_confirmed = study.incumbent is None or study.incumbent.get("is_confirmed")
        how = "on the test split" if is_confirmed else "again"
        return [f"measuring the best feasible trial {how}" + _why(study)]
    return ["choosing the next trial" + _why(study)]


def _why(study: Study) -> str:
    return f" ({study.reason})" if study.reason else ""


def _figures(metrics: object) -> str:
    assert isinstance(metrics, dict)
    known = ("latency_p50_ms", "latency_ratio", "top1")
    if not any(metrics.get(name) is not None for name in known):
        # Of a study that is run outside: its own metrics, as they were told.
        own = [k for k, v in metrics.items() if isinstance(v, float)]
        return ", ".join(f"{name} {metrics[name]:g}" for name in own[:4])
    names = {"latency_p50_ms": "", "latency_ratio": "ratio ", "top1": "Top-1 "}
    return ", ".join(
        f"{names[name]}{wording.value(name, metrics[name])}"
        for name in known
        if metrics.get(name) is not None
    )


def _table(trials: Sequence[Trial]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim", expand=True)
    for name, width in (("trial", 5), ("p50", 9), ("ratio", 5), ("Top-1", 8)):
        table.add_column(name, justify="right", min_width=width)
    table.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
    for trial in trials:
        metrics = trial.metrics or {}
        if trial.state == "complete":
            kept = "feasible" if trial.is_feasible else "breaks the limit"
            style = "green" if trial.is_feasible else "yellow"
        else:
            reason = str((trial.failure or {}).get("reason", ""))
            kept, style = f"{trial.state}: {reason}", "red"
        table.add_row(
            str(trial.number),
            wording.value("latency_p50_ms", metrics.get("latency_p50_ms")),
            wording.value("latency_ratio", metrics.get("latency_ratio")),
            wording.value("top1", metrics.get("top1")),
            Text(kept, style=style),
        )
    return table
