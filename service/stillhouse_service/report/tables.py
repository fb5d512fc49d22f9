"""The report's tables: rows of text from a study's facts.

Depends on: pyyaml, for the schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import yaml

from stillhouse_service.report import wording
from stillhouse_service.report.facts import Facts, Row
from stillhouse_service.report.importance_csv import ranked

Json = Mapping[str, Any]


def cards(facts: Facts) -> list[dict[str, str]]:
    """The headline figures: what changed, and from what to what."""
    chosen = {("latency_ratio", ""), ("latency_p50_ms", ""), ("params", ""), ("macs", "")}
    tests = [row for row in facts.comparison() if row.split == "test" and row.metric == "top1"]
    wanted = "test" if tests else "validation"
    cards = []
    for row in facts.comparison():
        if (row.metric, row.split) not in chosen | {("top1", wanted)}:
            continue
        name = wording.label(row.metric) + (f", {row.split} split" if row.split else "")
        note = f"baseline {wording.value(row.metric, row.baseline)}"
        if row.metric == "latency_ratio":
            note = (
                f"95 % interval {wording.value(row.metric, row.low)} to "
                f"{wording.value(row.metric, row.high)}"
                if row.low is not None
                else "baseline 1"
            )
        cards.append({"name": name, "value": wording.value(row.metric, row.best), "note": note})
    order = ["Latency ratio", "Latency p50", "Top-1", "MACs", "Parameters"]
    return sorted(cards, key=lambda card: order.index(card["name"].split(",")[0]))


def comparison_cells(row: Row) -> dict[str, str]:
    """One line of the comparison, as text."""
    split = {"validation": "validation split (selection)", "test": "test split (report)"}
    name = wording.label(row.metric)
    if row.metric == "latency_ratio":
        best = wording.interval(
            {row.metric: row.best, f"{row.metric}_low": row.low, f"{row.metric}_high": row.high},
            row.metric,
        )
        job = "again, in the test split's job" if row.split else "in the trial's job"
        return {"name": f"{name} {job}", "baseline": "1", "best": best, "change": ""}
    if row.split:
        name = f"{name}, {split[row.split]}"
    change = ""
    if row.baseline and row.best is not None:
        if row.metric.startswith("top"):
            change = f"{100 * (row.best - row.baseline):+.2f} points"
        else:
            change = f"{100 * (row.best / row.baseline - 1):+.0f} %"
    return {
        "name": name,
        "baseline": wording.value(row.metric, row.baseline),
        "best": wording.value(row.metric, row.best),
        "change": change.replace("-", "−"),
    }


def verdict_badge(of_metric: Json) -> str:
    """Name the verdict and the fit that it stands on."""
    fit = of_metric.get("r2_oob")
    text = wording.verdict(of_metric["verdict"])
    return text if fit is None else f"{text} · R² {fit:.2f}"


def importance_rows(of_metric: Json) -> list[dict[str, str]]:
    """Each parameter's share and direction, most important first."""
    return [
        {
            "name": entry["name"],
            "share": wording.share(entry),
            "direction": wording.direction(entry),
            "correlation": wording.correlation(entry),
            "active": wording.activity(entry),
            "recommendation": str(entry.get("recommendation") or ""),
        }
        for entry in ranked(of_metric)
    ]


def layer_rows(facts: Facts) -> list[dict[str, Any]]:
    """Shape, sparsity and MACs of each of the winner's layers."""
    rows = (facts.winner or {}).get("sparsity") or []
    times = {row["layer"]: row for row in (facts.winner or {}).get("layers") or []}
    return [
        {
            "layer": row["layer"],
            "type": row.get("type", ""),
            "before": "×".join(map(str, row.get("dense_shape", ()))),
            "after": "×".join(map(str, row.get("shape", ()))),
            "is_cut": row.get("dense_shape") != row.get("shape"),
            "sparsity": f"{100 * row['sparsity']:.0f} %" if "sparsity" in row else "",
            "macs": f"{100 * row['macs'] / row['dense_macs']:.0f} %"
            if row.get("dense_macs")
            else "",
            "baseline_ms": _ms(times.get(row["layer"], {}).get("baseline_ms")),
            "candidate_ms": _ms(times.get(row["layer"], {}).get("candidate_ms")),
        }
        for row in rows
    ]


def _ms(number: float | None) -> str:
    return wording.NOTHING if number is None else f"{number:.4f}"


def settings(facts: Facts) -> list[dict[str, str]]:
    """The winner's parameters beside what they might have been."""
    winner = facts.winner
    if winner is None:
        return []
    rows = []
    for parameter in facts.study["parameters"]:
        name = parameter["name"]
        if parameter["kind"] in ("float", "int"):
            scale = ", log" if parameter.get("log") else ""
            low, high = wording.plain(parameter["low"]), wording.plain(parameter["high"])
            span = f"{low} to {high}{scale}"
        else:
            span = ", ".join(wording.plain(choice) for choice in parameter["choices"])
        span += _expected(parameter)
        chosen = winner["config"].get(name)
        shown = "not active" if name not in winner["config"] else wording.plain(chosen)
        default = parameter.get("default")
        rows.append(
            {
                "name": name,
                "value": shown,
                "span": span,
                "default": "" if default is None else wording.plain(default),
            }
        )
    return rows


def _expected(parameter: Json) -> str:
    """What the user believed of a parameter; empty where nothing."""
    prior = parameter.get("prior")
    if not prior:
        return ""
    if "weights" in prior:
        weights = zip(parameter["choices"], prior["weights"], strict=True)
        told = ", ".join(f"{wording.plain(c)} {wording.plain(w)}" for c, w in weights)
        return f"; prior: weights {told}"
    sign = "×/÷" if parameter.get("log") else "±"
    center, width = wording.plain(prior["center"]), wording.plain(prior["width"])
    return f"; prior: {center} {sign} {width}"


def schedule(winner: Json | None) -> str | None:
    """The plain schedule that the winner ran, as YAML; None without its details."""
    schedule = (winner or {}).get("schedule")
    if not schedule:
        return None
    text: str = yaml.safe_dump(schedule, sort_keys=False, allow_unicode=True)
    return text


def environment_rows(facts: Facts, environment: Json) -> list[tuple[str, str]]:
    """Everything needed to believe or repeat the figures, as name and text."""
    study, spec = facts.study, facts.study["spec"]
    host: Json = {}
    for purpose in ("final", "confirm", "trial"):
        job = facts.measurement(purpose)
        host = host or ((job or {}).get("result") or {}).get("host") or {}
    rows = [
        ("Study", f"{study['name']} ({study['id']})"),
        ("Created", study["created_at"]),
        ("Network, data set", f"{facts.baseline['model']}, {facts.baseline['dataset']}"),
        ("Baseline", f"{facts.baseline['id']}, seed {facts.baseline['seed']}"),
        ("Baseline's recipe", _pairs(facts.baseline["recipe"])),
        ("Study's seed", str(spec.get("seed", 0))),
        ("Surrogate", str(spec.get("surrogate", ""))),
        ("Device", str(spec["device"])),
        *((f"Device host: {key}", wording.plain(v)) for key, v in host.items() if v is not None),
    ]
    if facts.winner is not None:
        rows.append(("Winner's seed", str(facts.winner["seed"])))
    for key, item in environment.items():
        text = _pairs(item) if isinstance(item, Mapping) else str(item)
        rows.append((f"Server: {key}", text))
    return [(name, text) for name, text in rows if text]


def _pairs(mapping: Json) -> str:
    return ", ".join(f"{key} {wording.plain(item)}" for key, item in mapping.items())


def study_duration(study: Json) -> str:
    """How long the study took; empty while it runs."""
    if not study["started_at"] or not study["finished_at"]:
        return ""
    start, end = (datetime.fromisoformat(study[key]) for key in ("started_at", "finished_at"))
    return wording.duration((end - start).total_seconds())
