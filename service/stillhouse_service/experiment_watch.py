"""A running experiment for somebody who watches: a line for each trial that ends.

Depends on: the client; how trials are told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from stillhouse import Client, Experiment, StillhouseError, Trial
from stillhouse_service import watch
from stillhouse_service.report import wording

_PATIENCE_S = 30.0


def watch_experiment(
    client: Client,
    experiment_id: str,
    console: Console,
    poll_s: float = 1.0,
    on_poll: Callable[[], None] = lambda: None,
) -> Experiment:
    """Tell of an experiment until it is over or paused.

    Args:
        client: Where it runs.
        experiment_id: Which one.
        console: Where to tell.
        poll_s: Seconds between two looks.
        on_poll: Called at each look; what it raises ends the watch.

    Returns:
        The experiment as it was last seen.

    Raises:
        ConnectionFailed: The server was silent for half a minute.
        ProblemError: There is no such experiment.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    told: set[str] = set()
    last, silent_since = ("", ""), None
    while True:
        on_poll()
        try:
            experiment = client.experiments.get(experiment_id)
            trials = [
                trial
                for study in experiment.studies
                for trial in client.studies.trials(study["id"])
            ]
        except StillhouseError as error:
            silent_since = silent_since or time.monotonic()
            if not error.is_passing or time.monotonic() - silent_since > _PATIENCE_S:
                raise
        else:
            silent_since = None
            news = [trial for trial in trials if trial.is_over and trial.id not in told]
            for trial in news:
                told.add(trial.id)
                say(outcome(trial))
            standing = experiment.state, _reasons(experiment.studies)
            if news or standing != last:
                say(summary(experiment))
            last = standing
            if experiment.is_over or experiment.state == "paused":
                return experiment
        time.sleep(poll_s)


def outcome(trial: Trial) -> str:
    """Tell how a trial ended: its case first."""
    return f"{trial.config.get('case', '')}: {watch.outcome(trial)}"


def summary(experiment: Experiment) -> str:
    """Count an experiment's trials and tell the time left, in one line."""
    text = f"{experiment.stage} {experiment.id} {experiment.state}: "
    text += f"{experiment.n_ended} of {experiment.n_trials} trials"
    if not experiment.is_over and experiment.eta_s is not None:
        text += f", about {wording.duration(experiment.eta_s)} left"
    reasons = _reasons(experiment.studies)
    return f"{text} ({reasons})" if reasons else text


def _reasons(studies: Any) -> str:
    named: dict[str, None] = {}
    study: Mapping[str, Any]
    for study in studies:
        if study["reason"] and study["state"] != "finished":
            named[f"{study['device']}: {study['reason']}"] = None
    return "; ".join(named)
