"""What a study found, in whole sentences; the degenerate cases included.

Depends on: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_service.report import wording
from stillhouse_service.report.facts import Facts

Json = Mapping[str, Any]

_MIN_PAIR, _N_PAIRS = 0.02, 3


def outcome(facts: Facts) -> list[str]:
    """Say how the study ended, the most important sentence first."""
    said = [_state(facts)] if not facts.is_over or facts.study["state"] != "finished" else []
    winner = facts.winner
    if winner is not None:
        said[:0] = _winner(facts, winner)
    elif facts.complete:
        said[:0] = _no_winner(facts)
    elif facts.failed:
        said.insert(0, f"None of the {len(facts.failed)} trials that ended gave a measurement.")
    else:
        said.insert(0, "No trial has been measured.")
    return said


def split_note(facts: Facts) -> str:
    """Say which images the choice was made on and which ones judge it."""
    if facts.winner is None:
        return ""
    chosen = "Trials were compared, and the winner chosen, on the validation split"
    if facts.study["final"] is None:
        return f"{chosen}; the test split has not been used, so expect a little less elsewhere."
    return (
        f"{chosen}. The test split was used once, at the end, for the winner alone: its figures "
        "are the ones to expect elsewhere."
    )


def finalized_note(facts: Facts) -> str:
    """Say whether the winner was trained at full length, and what became of its limits."""
    found: Json | None = facts.study.get("finalized")
    if facts.winner is None:
        return ""
    if found is None:
        return (
            "The winner has had a trial's short fine-tuning only, so there is nothing to sum up "
            f"yet: `stillhouse study finalize {facts.study['id']}` trains it at full length and "
            "measures it on the whole test split."
        )
    if found.get("latency_ratio") is None:
        return f"The winner's full-length training, {found['experiment_id']}, is {found['state']}."
    n_epochs = int(found["training"]["epochs"]) + int(found["training"]["recovery_epochs"])
    kept = "keeps the limits"
    if not found["is_feasible"]:
        broken = ", ".join(wording.label(metric) for metric in found["violations"])
        kept = f"breaks the limit of {broken}"
    return (
        f"Trained anew for {n_epochs} epochs with a seed of its own, {found['seed']}, and measured "
        f"on the {found['n_images']} images of the test split, the winner {kept}."
    )


def threshold_note(facts: Facts) -> str:
    """Say how much the constraints bind."""
    if not facts.constraints or facts.share_infeasible is None:
        return ""
    limits = ", ".join(wording.constraint(c.metric, c.operator, c.bound) for c in facts.constraints)
    n_bad, n_all = len(facts.infeasible), len(facts.complete)
    return f"Limit: {limits}. {n_bad} of {n_all} measured trials break it."


def saved_note(facts: Facts) -> str:
    """Say what did not have to be computed; empty where everything was."""
    saved: Json = facts.study.get("saved") or {}
    parts = [
        f"{n} {what}"
        for name, what in (
            ("n_twins", "took the result of a trial that comes to the same"),
            ("n_not_trained", "not trained, as the untrained network was too slow to win"),
            ("n_ended_early", "ended early, as the limit on accuracy was out of reach"),
        )
        if (n := int(saved.get(name, 0)))
    ]
    if not parts:
        return ""
    hours = float(saved["compute_s"]) / 3600
    return f"Spared trials: {'; '.join(parts)}. That saved about {hours:.2g} hours of compute."


def probe_note(facts: Facts) -> str:
    """Say which probes the later measurement contradicted; empty where none."""
    told = [f"trial {one['number']}: {one['reason']}" for one in facts.contradictions]
    return f"Probes that were contradicted: {'. '.join(told)}." if told else ""


def noise_note(facts: Facts) -> str:
    """Say how far apart identical networks were measured on this device."""
    floor = facts.noise_floor
    if not floor:
        return "No A/A measurement of this device is at hand, so its noise floor is unknown."
    return (
        f"Noise floor: the baseline against itself differed by at most {100 * max(floor):.1f} % "
        f"in {len(floor)} {_plural(len(floor), 'job')}; smaller differences mean nothing."
    )


def importance_note(of_metric: Json) -> str:
    """Say how far the importance of a metric's parameters may be believed."""
    said = str(of_metric.get("explanation") or wording.verdict(str(of_metric["verdict"])))
    said = f"{said[0].upper()}{said[1:].rstrip('.')}."
    if of_metric["verdict"] == "not_enough":
        said += " No ranking is shown."
    return said


def interaction_note(of_metric: Json) -> str:
    """Name the strongest interactions; empty where none explains anything worth naming."""
    if of_metric["verdict"] == "not_enough":
        return ""
    strong = [p for p in of_metric.get("pairs") or () if p["importance"] >= _MIN_PAIR]
    if not strong:
        return ""
    pairs = [
        f"{' and '.join(pair['names'])} ({100 * pair['importance']:.0f} %)"
        for pair in strong[:_N_PAIRS]
    ]
    return f"What two parameters do only together: {'; '.join(pairs)}."


def _winner(facts: Facts, winner: Json) -> list[str]:
    metrics: Json = winner["metrics"]
    baseline_ms = facts.baseline_p50_ms()
    than = f" where the baseline takes {baseline_ms:.3f} ms" if baseline_ms is not None else ""
    ratio = wording.interval(metrics, "latency_ratio")
    latency = wording.value("latency_p50_ms", metrics.get("latency_p50_ms"))
    said = [f"Trial {winner['number']} runs in {latency}{than}: latency ratio {ratio}."]
    high = metrics.get("latency_ratio_high")
    if high is not None and high >= 1.0:
        said.append("Its interval holds 1: this measurement cannot tell it from the baseline.")
    drop = metrics.get("top1_drop")
    if drop is not None:
        high = metrics.get("top1_drop_high")
        lost = f"On the validation split it {_lost(drop)}"
        at_most = "" if high is None else f"; at 90 % confidence at most {wording.points(high)}"
        said.append(f"{lost}{at_most if drop >= 0 else ''}.")
    incumbent: Json = facts.study["incumbent"]
    if not incumbent.get("is_certain", True):
        said.append(
            "It is not certain to keep the limit: no trial does at the unfavourable end of its "
            "interval. More images in the validation split narrow it."
        )
    if facts.is_over and not incumbent.get("is_confirmed", True):
        said.append("Its latency was not measured again, so chance may have favoured it.")
    final: Json = facts.study["final"] or {}
    if final.get("top1_drop") is not None:
        test_ratio = wording.interval(final, "latency_ratio")
        said.append(f"On the test split it {_lost(final['top1_drop'])}, at ratio {test_ratio}.")
    if final.get("violations"):
        broken = ", ".join(wording.label(metric) for metric in final["violations"])
        said.append(f"On the test split it breaks the limit of {broken}: do not ship it.")
    return said


def _lost(drop: float) -> str:
    if drop > 0:
        return f"loses {wording.points(drop)} of Top-1"
    if drop < 0:
        return f"gains {wording.points(-drop)} of Top-1"
    return "loses no Top-1"


def _no_winner(facts: Facts) -> list[str]:
    limits = ", ".join(wording.constraint(c.metric, c.operator, c.bound) for c in facts.constraints)
    n = len(facts.complete)
    said = [f"No trial is feasible: none of {n} measured {_plural(n, 'trial')} keeps {limits}."]
    nearest = facts.nearest
    if nearest is not None and nearest["violations"]:
        metric, miss = max(nearest["violations"].items(), key=lambda item: item[1])
        by = wording.points(miss) if metric.startswith("top") else wording.value(metric, miss)
        said.append(
            f"The nearest is trial {nearest['number']}, whose {wording.label(metric)} misses the "
            f"limit by {by}."
        )
    said.append("Widen the template towards less compression, train longer, or relax the limit.")
    return said


def _state(facts: Facts) -> str:
    study = facts.study
    reason = f": {study['reason']}" if study["reason"] else ""
    state = str(study["state"])
    words = {
        "checking": "The device has not checked the baseline yet",
        "running": "The study is still running; this report is a snapshot",
        "paused": "The study is paused",
        "cancelled": "The study was cancelled before its budget was used",
        "rejected": "The study was rejected by the device's check",
        "failed": "The study failed",
    }
    return f"{words.get(state, f'The study is {state}')}{reason}."


def _plural(n: int, noun: str) -> str:
    return noun if n == 1 else f"{noun}s"
