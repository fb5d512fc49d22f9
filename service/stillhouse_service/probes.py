"""Cheap first: the untrained network on the device, before hours of training are spent on it.

With `probe: on` compute makes a trial's network without training it (`sketch`), the device times it
(`probe`), and a trial that cannot be faster than the best one ends there as `stopped`. A probe is
worth its while only once there is a best one that keeps the limits for certain.

Depends on: the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_service import incumbents, known_latency, measurements, outcomes
from stillhouse_service.objectives import TIMED
from stillhouse_service.states import TrialState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import StageRow, StudyRow, TrialRow

SKETCH, PROBE = "sketch", "probe"  # kinds of stages: on compute, on the device
_TRAINING = "training_order"  # in a probe's order: what to do if the trial goes on


def begin(work: UnitOfWork, study: StudyRow, trial: TrialRow, order: Mapping[str, Any]) -> None:
    """Give a trial its first stage: a sketch of its network, or its training at once."""
    # What a user asks for is run, whether or not it could be the best.
    is_probed = bool(study.spec.get("probe")) and trial.origin != "enqueued"
    is_probed = is_probed and _best(work, study) is not None
    outcomes.new_stage(work, SKETCH if is_probed else "compress", order=order, trial=trial)


def files_of(artifacts: Mapping[str, str]) -> dict[str, str]:
    """Name the untrained network's files as a job wants them."""
    return {
        "onnx": artifacts.get("untrained", ""),
        "probe_outputs": artifacts.get("untrained_outputs", ""),
    }


def made(work: UnitOfWork, stage: StageRow, outcome: Mapping[str, Any]) -> None:
    """The untrained network is there: the device times it, unless its latency is known."""
    assert stage.trial_id is not None
    trial = work.trials.named(stage.trial_id)
    study = work.studies.named(trial.study_id)
    trial.artifacts = outcomes.register(work, outcome["artifacts"])
    trial.metrics, trial.built = dict(outcome["metrics"]), outcome["built"]
    trial.progress = {"stage": "probing"}
    if not outcome["details"]["is_decided"]:
        reason = "not probed: its schedule waits for training to make weights small"
        work.note(trial, outcomes.SERVER, kind=PROBE, reason=reason)
        _train(work, trial, stage.order)
        return
    if (times := _known(work, study, trial)) is not None:
        _decide(work, study, trial, times, stage.order)
        return
    order = {
        "split": "validation",
        "settings": study.spec["timing"],
        _TRAINING: dict(stage.order),
    }
    outcomes.new_stage(work, PROBE, order=order, trial=trial, device=study.spec["device"])


def measured(work: UnitOfWork, stage: StageRow) -> None:
    """The device has timed the untrained network: train it, or leave it."""
    assert stage.trial_id is not None
    trial = work.trials.named(stage.trial_id)
    study = work.studies.named(trial.study_id)
    times = work.trials.measurements_of(trial.id)[-1].metrics
    _decide(work, study, trial, times, stage.order[_TRAINING])


def cannot_beat(
    objective: str, times: Mapping[str, float], best: Mapping[str, float]
) -> str | None:
    """Say why a network cannot be faster than the best trial; none: it might be.

    Even the favourable end of its interval is no better than what the best was measured at. The
    best is measured again before it is announced; if it was lucky, no more than its luck is lost.

    Args:
        objective: Of `objectives.TIMED`.
        times: Metrics of the network's timing.
        best: Metrics of the best trial.
    """
    is_less_better = TIMED[objective]
    (low, high), reached = _ends(objective, times), best[objective]
    is_worse = low >= reached if is_less_better else high <= reached
    if not is_worse:
        return None
    return (
        f"{objective} {times[objective]:.4g} ({low:.4g} to {high:.4g}) of its untrained network, "
        f"and the best trial has {reached:.4g}"
    )


def _decide(
    work: UnitOfWork,
    study: StudyRow,
    trial: TrialRow,
    times: Mapping[str, float],
    order: Mapping[str, Any],
) -> None:
    best = _best(work, study)
    objective = str(study.spec["objectives"][0])
    trial.details = {**trial.details, "probe": {"metrics": dict(times)}}
    why = None if best is None else cannot_beat(objective, times, best.metrics or {})
    if why is None:
        _train(work, trial, order)
        return
    trial.metrics = {**(trial.metrics or {}), **times}
    stop(work, trial, PROBE, f"not trained: {why}", work.stages.mean_s(study.id, "compress"))


def stop(
    work: UnitOfWork, trial: TrialRow, by: str, reason: str, saved_s: float, **more: Any
) -> None:
    """End a trial early on purpose; `saved_s` seconds of compute are spared."""
    trial.progress = {
        "stage": "stopped",
        "by": by,
        "reason": reason,
        "saved_s": round(saved_s, 3),
        **more,
    }
    work.move(trial, TrialState.STOPPED, who=outcomes.SERVER, reason=reason)


def _train(work: UnitOfWork, trial: TrialRow, order: Mapping[str, Any]) -> None:
    outcomes.new_stage(work, "compress", order=order, trial=trial)


def _best(work: UnitOfWork, study: StudyRow) -> TrialRow | None:
    """Give the best trial, if it keeps the limits for certain: else a slower one may replace it."""
    best = work.trials.find(study.incumbent_id) if study.incumbent_id else None
    if best is None or not incumbents.holds_for_certain(study, best):
        return None
    return best


def _known(work: UnitOfWork, study: StudyRow, trial: TrialRow) -> Mapping[str, float] | None:
    """Look up the times of the same network on the device that checked the baseline."""
    check = work.log.check_of(study.id)
    if check is None or not study.spec.get("reuse", True):
        return None
    host, precision = check.result.get("host") or {}, check.result.get(known_latency.PRECISION)
    source = known_latency.timed_before(work, trial, check.device_id, host, precision)
    if source is None:
        return None
    return measurements.metrics_of({**source.result, "accuracy": None})


def _ends(objective: str, metrics: Mapping[str, float]) -> tuple[float, float]:
    """The interval of an objective; one without its own has that of the latency ratio, in parts."""
    value, ratio = metrics[objective], metrics["latency_ratio"]
    low, high = metrics["latency_ratio_low"] / ratio, metrics["latency_ratio_high"] / ratio
    return (value * low, value * high) if TIMED[objective] else (value / high, value / low)
